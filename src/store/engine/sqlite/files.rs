//! The files of a store that are now at their paths.

use std::io;
use std::path::{Path, PathBuf};

use super::{Core, place};
use crate::quote::shell_word;
use crate::store::engine::migrations::not_initialized;
use crate::store::error::{Code, Error, Result};
use crate::store::file_id::FileId;
pub(super) use crate::store::files::{beside, index_path, log_path};
use crate::store::open::SqlitePlace;

/// The files of a store. SQLite goes on using the files that it has open, whatever happens to their paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) database: FileId,
    pub(super) log: Option<FileId>,
    pub(super) index: Option<FileId>,
}

impl Files {
    fn of(path: &Path, database: FileId) -> Files {
        let beside = |path: PathBuf| FileId::of(&path).ok();
        Files { database, log: beside(log_path(path)), index: beside(index_path(path)) }
    }
}

/// Why the file at a path cannot be a store.
enum UnfitFile {
    /// It has several names. SQLite looks for the log beside the name that it was given, so each name would have a log
    /// of its own (<https://www.sqlite.org/howtocorrupt.html>, section 2.5).
    Linked(u32),
    /// The file alone is mounted there, and its log is not.
    Mounted,
}

/// Moves the log of a database that is gone aside, to a name that no file has, and removes its index, which is of no
/// use any more.
pub(super) fn lay_log_aside(path: &Path) {
    let names = (1..).map(|number| match number {
        1 => path.with_extension("replaced-wal"),
        _ => path.with_extension(format!("replaced-wal-{number}")),
    });
    // Every name that is taken belongs to a log that was moved aside before, so some name is free.
    let Some(aside) = names.into_iter().find(|name| !name.exists()) else { return };
    match std::fs::rename(log_path(path), &aside) {
        Ok(()) => {
            tracing::warn!(aside = %aside.display(), "the log of the replaced database was moved aside")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::error!(%error, "the log of the replaced database cannot be moved aside"),
    }
    let _ = std::fs::remove_file(index_path(path));
}

impl Core {
    /// The files at the path of the store; none for a memory store.
    ///
    /// # Errors
    /// The reason why no store can be there.
    pub(super) fn files(&self) -> Result<Option<Files>> {
        let SqlitePlace::File { path, .. } = &self.place else { return Ok(None) };
        match database_at(path) {
            Ok(Ok(database)) => Ok(Some(Files::of(path, database))),
            Ok(Err(unfit)) => Err(self.unfit(path, &unfit)),
            Err(_) => Err(place::is_file_at(path).err().unwrap_or_else(|| self.absent())),
        }
    }

    /// The error for a store that does not exist.
    pub(super) fn absent(&self) -> Error {
        let error = not_initialized(format!("there is no store at {}", self.place));
        match &self.place {
            SqlitePlace::File { path, .. } if path.to_string_lossy().contains("?mode=") => {
                error.hint("?mode= is a part of the name here: it is a parameter only behind file:PATH")
            }
            _ => error,
        }
    }

    fn unfit(&self, path: &Path, unfit: &UnfitFile) -> Error {
        let (why, hint) = match unfit {
            UnfitFile::Linked(names) => (
                format!("has {names} names (hard links), and its log would stand beside one of them only"),
                format!(
                    "find the others with find DIRECTORY -samefile {}, and leave one; kv backup makes a copy",
                    shell_word(path)
                ),
            ),
            UnfitFile::Mounted => (
                "is mounted as a file of its own, and its log would not be beside it".to_owned(),
                "mount its directory instead".to_owned(),
            ),
        };
        Error::new(Code::Unsupported, format!("{} {why}", self.place)).hint(hint)
    }
}

/// The database at a path. Its times are not read, see [`FileId`].
#[cfg(target_os = "linux")]
fn database_at(path: &Path) -> io::Result<std::result::Result<FileId, UnfitFile>> {
    use rustix::fs::{AtFlags, CWD, FileType, StatxAttributes, StatxFlags, statx};
    let asked = StatxFlags::INO | StatxFlags::TYPE | StatxFlags::NLINK;
    let found = statx(CWD, path, AtFlags::empty(), asked)?;
    if FileType::from_raw_mode(found.stx_mode.into()) != FileType::RegularFile {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(match found.stx_nlink {
        0 | 1 if found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT) => Err(UnfitFile::Mounted),
        0 | 1 => Ok(FileId::of_statx(&found)),
        names => Err(UnfitFile::Linked(names)),
    })
}

/// The database at a path.
#[cfg(not(target_os = "linux"))]
fn database_at(path: &Path) -> io::Result<std::result::Result<FileId, UnfitFile>> {
    use std::os::unix::fs::MetadataExt as _;
    let found = path.metadata()?;
    if !found.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let names = u32::try_from(found.nlink()).unwrap_or(u32::MAX);
    Ok(if names > 1 { Err(UnfitFile::Linked(names)) } else { Ok(FileId::of_metadata(&found)) })
}

/// The length of a file in bytes, 0 when there is none. Its times are not read, see [`FileId`].
pub(super) fn length_bytes(path: &Path) -> u64 {
    #[cfg(target_os = "linux")]
    let found = {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        statx(CWD, path, AtFlags::empty(), StatxFlags::SIZE).map(|found| found.stx_size)
    };
    #[cfg(not(target_os = "linux"))]
    let found = path.metadata().map(|metadata| metadata.len());
    found.unwrap_or(0)
}
