//! Reads a store as it stands, where SQLite cannot make its log and its index beside it.
//!
//! To read a database with a write-ahead log, SQLite makes both files when they are not there. On a read-only file
//! system, or for somebody who may only read, it fails. Then nobody shares an index with this process, so it is told
//! to share none: without a log the database is all there is, and a log is read with an index in memory
//! (<https://www.sqlite.org/wal.html>, sections 5 and 8). Others may be allowed to write all the same, so the files are
//! compared before and after each read.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::files::{beside, index_path, log_path};

/// SQLite's file system without locks, which is in every build for Unix (<https://www.sqlite.org/vfs.html>).
const VFS_WITHOUT_LOCKS: &str = "unix-none";

/// A database and its log, as they were when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Standing {
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

impl Standing {
    /// The files at this path, when they are all that there is to know: nobody shares an index, and no transaction was
    /// cut off that is to be rolled back first.
    pub(super) fn at(path: &Path) -> Option<Standing> {
        let standing = Standing {
            path: path.to_owned(),
            database: Version::of(path),
            log: Version::of(&log_path(path)).filter(|log| log.bytes > 0),
        };
        let is_shared = standing.log.is_some() && index_path(path).exists();
        let journal = Version::of(&beside(path, "-journal"));
        (!is_shared && journal.is_none_or(|journal| journal.bytes == 0)).then_some(standing)
    }

    /// Whether nobody has the database open in the way that kv has.
    pub(super) fn is_idle(&self) -> bool {
        !index_path(&self.path).exists()
    }

    /// Whether nobody has written since.
    pub(super) fn holds(&self) -> bool {
        Standing::at(&self.path).as_ref() == Some(self)
    }

    /// How a URI says to open these files.
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
