//! The identity of the file at a path.

use std::fmt;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD};

/// The device and inode of a file: two paths that lead to the same ones lead to one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// The file at this path; links are followed.
    ///
    /// It is read by the path: opening and closing a database file would drop SQLite's POSIX locks on it.
    ///
    /// # Errors
    /// As stat(2): of kind `NotFound` when there is no file.
    pub(crate) fn of(path: &Path) -> io::Result<FileId> {
        FileId::ask(path, AtFlags::empty())
    }

    /// The file at this path itself; links are not followed. None when there is no file.
    ///
    /// # Errors
    /// As lstat(2), except `NotFound`.
    pub(crate) fn at(path: &Path) -> io::Result<Option<FileId>> {
        match FileId::ask(path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The file that this metadata describes.
    pub(crate) fn of_metadata(metadata: &std::fs::Metadata) -> FileId {
        use std::os::unix::fs::MetadataExt as _;
        FileId { device: metadata.dev(), inode: metadata.ino() }
    }

    /// Reads the inode only. Since Linux 6.13, reading the times of a file makes its next write set them again
    /// (<https://docs.kernel.org/filesystems/multigrain-ts.html>), and each sync of the log then writes its inode too:
    /// a lone put took a fifth longer.
    #[cfg(target_os = "linux")]
    fn ask(path: &Path, flags: AtFlags) -> io::Result<FileId> {
        use rustix::fs::{StatxFlags, statx};
        Ok(FileId::of_statx(&statx(CWD, path, flags, StatxFlags::INO)?))
    }

    /// The file that this describes; its inode must have been read.
    #[cfg(target_os = "linux")]
    pub(crate) fn of_statx(found: &rustix::fs::Statx) -> FileId {
        let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
        FileId { device, inode: found.stx_ino }
    }

    #[cfg(not(target_os = "linux"))]
    fn ask(path: &Path, flags: AtFlags) -> io::Result<FileId> {
        let found = rustix::fs::statat(CWD, path, flags)?;
        Ok(FileId { device: found.st_dev as u64, inode: found.st_ino as u64 })
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.device, self.inode)
    }
}
