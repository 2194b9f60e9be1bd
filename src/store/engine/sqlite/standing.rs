//! Reads a store as it stands, where SQLite cannot create its log and its index beside it.
//!
//! To read a database with a write-ahead log, SQLite creates both files when they are missing. That fails on a
//! read-only file system, or for a user who may only read. Then no other process shares an index with this one, so
//! SQLite is told to share none: without a log the database is complete by itself, and a log is read with an index in
//! memory (<https://www.sqlite.org/wal.html>, sections 5 and 8). Other processes may be allowed to write all the same,
//! so the files are compared before and after each read.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::files::{beside, index_path, log_path};

/// SQLite's file system without locks, which is in every build for Unix (<https://www.sqlite.org/vfs.html>).
const VFS_WITHOUT_LOCKS: &str = "unix-none";

/// The versions of a database and its log when they were opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StandingFiles {
    path: PathBuf,
    database: Option<Version>,
    log: Option<Version>,
}

/// What changes when a file is written to or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl StandingFiles {
    /// The files at this path, when they can be read alone: no process shares an index, and no transaction was cut off
    /// that would have to be rolled back first.
    pub(super) fn at(path: &Path) -> Option<StandingFiles> {
        let standing = StandingFiles {
            path: path.to_owned(),
            database: Version::of(path),
            log: Version::of(&log_path(path)).filter(|log| log.bytes > 0),
        };
        let is_shared = standing.log.is_some() && index_path(path).exists();
        let journal = Version::of(&beside(path, "-journal"));
        (!is_shared && journal.is_none_or(|journal| journal.bytes == 0)).then_some(standing)
    }

    /// Whether no process has the database open in the way that kv has.
    pub(super) fn is_idle(&self) -> bool {
        !index_path(&self.path).exists()
    }

    /// Whether the files are unchanged since.
    pub(super) fn holds(&self) -> bool {
        StandingFiles::at(&self.path).as_ref() == Some(self)
    }

    /// The URI that makes SQLite open these files as they stand.
    pub(super) fn parameter(&self) -> String {
        match self.log {
            None => "immutable=1".to_owned(),
            Some(_) => format!("vfs={VFS_WITHOUT_LOCKS}"),
        }
    }
}

impl Version {
    fn of(path: &Path) -> Option<Version> {
        let metadata = path.metadata().ok()?;
        Some(Version {
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        })
    }
}
