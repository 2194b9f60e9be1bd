//! The files of a SQLite store, and operations on whole files.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::time::Timestamp;

const STAGED: &str = ".kv-restore";

/// Where SQLite keeps the write-ahead log of a file.
pub(crate) fn log_path(file: &Path) -> PathBuf {
    beside(file, "-wal")
}

/// Where SQLite keeps the index of that log, which all processes that have the file open share.
pub(crate) fn index_path(file: &Path) -> PathBuf {
    beside(file, "-shm")
}

/// Where SQLite keeps the pages that a transaction overwrites in a file without a write-ahead log.
pub(crate) fn journal_path(file: &Path) -> PathBuf {
    beside(file, "-journal")
}

/// A path with a suffix.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// All files that belong to the store in this file, whether or not they exist.
pub(crate) fn of_store(file: &Path) -> Vec<PathBuf> {
    let suffixes = ["", "-wal", "-shm", "-journal", ".kv-lock", STAGED];
    suffixes.iter().map(|suffix| beside(file, suffix)).collect()
}

/// Where a store is staged until it takes the place of the one in this file.
pub(crate) fn staged_path(file: &Path) -> PathBuf {
    beside(file, STAGED)
}

/// A free name beside a store, with the reason and the time.
pub(crate) fn aside_name(file: &Path, reason: &str, now_ms: i64) -> PathBuf {
    // 2026-11-25T06:27:42.123Z without the punctuation in its numbers, and without its fraction.
    let mut time: String = Timestamp::from_unix_ms(now_ms).to_string();
    time.retain(|character| !matches!(character, '-' | ':'));
    let time = time.split('.').next().unwrap_or_default();
    let name = format!(".{reason}-{time}Z");
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let later = (2_u64..).map(|number| beside(file, &format!("{name}-{number}")));
    let plain = beside(file, &name);
    std::iter::once(plain.clone()).chain(later).find(is_free).unwrap_or(plain)
}

/// Exchanges the files at two paths in one step; false when the file system cannot.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Renames a file to a free name.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system has no such rename: a hard link replaces no file either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        outcome => Ok(outcome?),
    }
}

/// Syncs the directory of a file, so that the names in it are as durable as the file.
pub(crate) fn sync_directory_of(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
