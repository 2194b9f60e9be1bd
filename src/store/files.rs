//! The files of a SQLite store, and what is done with files as a whole.

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

/// Where SQLite keeps the index of that log, which the processes that have the file open share.
pub(crate) fn index_path(file: &Path) -> PathBuf {
    beside(file, "-shm")
}

/// Where SQLite keeps what a transaction overwrites in a file without a write-ahead log.
pub(crate) fn journal_path(file: &Path) -> PathBuf {
    beside(file, "-journal")
}

/// A path with more at its end.
pub(crate) fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(suffix);
    PathBuf::from(path)
}

/// All files that belong to the store in this file, whether they are there or not.
pub(crate) fn of_store(file: &Path) -> Vec<PathBuf> {
    let suffixes = ["", "-wal", "-shm", "-journal", ".kv-lock", STAGED];
    suffixes.iter().map(|suffix| beside(file, suffix)).collect()
}

/// What is to take the place of a store lies here, until it does.
pub(crate) fn staged_path(file: &Path) -> PathBuf {
    beside(file, STAGED)
}

/// A name beside a store that nothing has: with the reason and the time.
pub(crate) fn aside_name(file: &Path, reason: &str, now_ms: i64) -> PathBuf {
    // 2026-11-25T06:27:42.123Z without what stands between its numbers, and without its fraction.
    let mut time: String = Timestamp::from_unix_ms(now_ms).to_string();
    time.retain(|character| !matches!(character, '-' | ':'));
    let time = time.split('.').next().unwrap_or_default();
    let name = format!(".{reason}-{time}Z");
    let is_free = |path: &PathBuf| path.symlink_metadata().is_err();
    let later = (2_u64..).map(|number| beside(file, &format!("{name}-{number}")));
    let plain = beside(file, &name);
    std::iter::once(plain.clone()).chain(later).find(is_free).unwrap_or(plain)
}

/// Exchanges what is at two paths in one step; false where the file system cannot.
pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Renames a file to a name that nothing has.
pub(crate) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // The file system has no such rename: a hard link replaces nothing either.
        Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)
        }
        outcome => Ok(outcome?),
    }
}

/// Makes the names in the directory of a file as lasting as the file.
pub(crate) fn sync_directory_of(file: &Path) -> io::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}
