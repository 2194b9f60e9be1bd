//! Files that are locked with flock(2): opened without following links, and never unlinked.
//!
//! The kernel frees such a lock when its holder dies, so nothing here reads a pid to find out which process is alive. If
//! a lock file were unlinked, one process could hold the old file and the next one create and lock a new one, and both
//! would be "the only one": that is why it stays.

use std::fs::{File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::limits;
use crate::store::file_id::FileId;

/// An exclusive lock on a file, held until this value is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct LockFile {
    file: File,
}

impl LockFile {
    /// Takes the lock; none when another open file holds it. Creates the file, never its directory.
    ///
    /// # Errors
    /// As [`open_own`]; of kind `Other` when another program replaces the file again and again.
    pub(crate) fn try_lock(path: &Path) -> io::Result<Option<LockFile>> {
        for _ in 0..limits::LOCK_FILE_TRIES {
            let file = open_own(path, OFlags::RDWR | OFlags::CREATE)?;
            // A umask may have taken away even what its owner needs to open it again.
            if file.metadata()?.mode() & 0o600 != 0o600 {
                file.set_permissions(std::fs::Permissions::from_mode(0o600))?;
            }
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            // Another program may have removed the file between open and flock; the lock on a file that no path leads to
            // would exclude no other process.
            if FileId::at(path)? == Some(FileId::of_metadata(&file.metadata()?)) {
                return Ok(Some(LockFile { file }));
            }
        }
        Err(io::Error::other("the file is being replaced again and again"))
    }

    /// As [`try_lock`](Self::try_lock), but tries again until `patience` is over: [`is_held`] takes a lock for a moment.
    /// Blocks the thread.
    ///
    /// # Errors
    /// As [`try_lock`](Self::try_lock).
    pub(crate) fn try_lock_for(path: &Path, patience: Duration) -> io::Result<Option<LockFile>> {
        let mut left = patience;
        loop {
            let lock = LockFile::try_lock(path)?;
            if lock.is_some() || left.is_zero() {
                return Ok(lock);
            }
            thread::sleep(limits::LOCK_FILE_PAUSE);
            left = left.saturating_sub(limits::LOCK_FILE_PAUSE);
        }
    }

    /// Whether the path still leads to this file. If the file was removed, or moved together with what stands beside it,
    /// the lock excludes no process at that path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        let held = self.file.metadata().map(|metadata| FileId::of_metadata(&metadata)).ok();
        held.is_some() && FileId::at(path).is_ok_and(|found| found == held)
    }

    /// Replaces the content, which names the holder of the lock and counts only while the lock is held.
    ///
    /// # Errors
    /// As write(2).
    pub(crate) fn write(&self, content: &[u8]) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        // One write, so that a reader sees nothing or all of it.
        file.write_all(content)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Closing would unlock too, but not while a child of another thread stands between fork and exec with a
        // copy of the descriptor.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(%error, "a lock file could not be unlocked; closing it does");
        }
    }
}

/// Whether a process holds the lock. Creates nothing; to find out, takes a shared lock for a moment.
///
/// # Errors
/// As [`open_own`]; a file that does not exist is not held.
pub(crate) fn is_held(path: &Path) -> io::Result<bool> {
    let file = match open_own(path, OFlags::RDWR) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => {
            file.unlock()?;
            Ok(false)
        }
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The pid of the process that holds the lock, where the system tells that (`/proc/locks`, proc(5)).
pub(crate) fn holder(path: &Path) -> Option<u32> {
    let inode = path.symlink_metadata().ok()?.ino().to_string();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // 1: FLOCK  ADVISORY  WRITE 4711 fe:00:123456 0 EOF
    locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (kind, pid, file) = (words.next()?, words.nth(2)?, words.next()?);
        (kind == "FLOCK" && file.rsplit(':').next() == Some(&inode)).then(|| pid.parse().ok())?
    })
}

/// The first [`limits::LOCK_FILE_BYTES`] bytes of a lock file, which another process may be writing at this moment.
///
/// # Errors
/// As [`open_own`], also when the file does not exist.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open_own(path, OFlags::RDONLY)?.take(limits::LOCK_FILE_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

/// Opens a file that must be a regular file and belong to this user alone: another user may have planted a different
/// one.
///
/// # Errors
/// As open(2). An error of kind `PermissionDenied` also says that the file is another user's, a link or a special file, or
/// has a second name.
pub(crate) fn open_own(path: &Path, flags: OFlags) -> io::Result<File> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    // NONBLOCK and NOCTTY matter only for what is refused below: a pipe must not block this call, nor a terminal become
    // that of this process.
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::LOOP) => return refuse("it is a symbolic link".to_owned()),
        Err(errno) => return Err(errno.into()),
    };
    let metadata = file.metadata()?;
    let own_uid = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return refuse("it is not a regular file".to_owned());
    }
    if metadata.uid() != own_uid {
        return refuse(format!("it belongs to user {}, not to user {own_uid}", metadata.uid()));
    }
    // The other name could be that of a file of this user which another user linked here to have it overwritten.
    if metadata.nlink() > 1 {
        return refuse("it has other names (hard links)".to_owned());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_descriptors_exclude_each_other_until_the_first_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let first = LockFile::try_lock(&path).unwrap().unwrap();
        first.write(b"first").unwrap();
        assert!(LockFile::try_lock(&path).unwrap().is_none());
        assert!(is_held(&path).unwrap());
        assert_eq!(read(&path).unwrap(), b"first");
        drop(first);
        assert!(!is_held(&path).unwrap());
        assert!(LockFile::try_lock(&path).unwrap().is_some());
        assert!(path.exists(), "a lock file is never unlinked");
    }

    #[test]
    fn the_content_is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let lock = LockFile::try_lock(&path).unwrap().unwrap();
        lock.write(b"a long first content").unwrap();
        lock.write(b"short").unwrap();
        assert_eq!(read(&path).unwrap(), b"short");
    }

    #[test]
    fn is_held_creates_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(!is_held(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn links_and_special_files_are_refused_untouched() {
        let directory = tempfile::tempdir().unwrap();
        let victim = directory.path().join("victim");
        std::fs::write(&victim, "precious").unwrap();
        let link = directory.path().join("symlink");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let hard = directory.path().join("hard");
        std::fs::hard_link(&victim, &hard).unwrap();
        let socket = directory.path().join("directory");
        std::fs::create_dir(&socket).unwrap();
        for path in [link, hard] {
            let error = LockFile::try_lock(&path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied, "{error}");
        }
        LockFile::try_lock(&socket).unwrap_err();
        assert_eq!(std::fs::read(&victim).unwrap(), b"precious");
    }

    #[test]
    fn a_lock_file_that_was_removed_is_made_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let gone = LockFile::try_lock(&path).unwrap().unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(LockFile::try_lock(&path).unwrap().is_some());
        drop(gone);
    }
}
