//! A file that appears at its path only once it is complete.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::quote::shown;
use crate::store::error::{Code, Error, Result};
use crate::store::file_id::FileId;
use crate::store::files::{self, beside};

/// A file that is written under a temporary name beside its path, which is removed unless the file is published. Its owner
/// alone may read it.
#[derive(Debug)]
#[doc(hidden)]
pub struct NewFile {
    temporary: PathBuf,
    target: PathBuf,
    replace: bool,
    file: File,
}

impl NewFile {
    /// Begins a file for this path, in its directory, so that publishing it is a rename. A file that is there is replaced when
    /// `replace` says so, unless it is one of the store in the file `store`.
    ///
    /// # Errors
    /// `bad_request` when the path cannot be used, `busy` when there is a log of SQLite beside it; `store_full`, `read_only` or
    /// `unavailable` when the system does not allow it.
    pub fn create(target: &Path, replace: bool, store: Option<&Path>) -> Result<NewFile> {
        store.map_or(Ok(()), |store| check_not_of_store(target, store))?;
        let target = check_target(target, replace)?;
        check_no_log(&target)?;
        let temporary = beside(&target, &format!(".partial-{}", uuid::Uuid::new_v4().simple()));
        let file = create_private(&temporary).map_err(|error| unwritable(&target, &error))?;
        Ok(NewFile { temporary, target, replace, file })
    }

    /// Begins a file that never gets a name of its own.
    ///
    /// # Errors
    /// Those of [`unwritable`].
    pub(super) fn create_temporary() -> Result<NewFile> {
        let directory = match std::env::var_os("TMPDIR").filter(|name| !name.is_empty()) {
            Some(directory) => PathBuf::from(directory),
            // Large files belong there: /tmp may be in memory (file-hierarchy(7)).
            None => Some(PathBuf::from("/var/tmp"))
                .filter(|path| path.is_dir())
                .unwrap_or_else(std::env::temp_dir),
        };
        let temporary = directory.join(format!("kv-backup-{}", uuid::Uuid::new_v4().simple()));
        let file = create_private(&temporary).map_err(|error| {
            unwritable(&directory, &error).hint("choose a directory for temporary files with TMPDIR")
        })?;
        Ok(NewFile { target: temporary.clone(), temporary, replace: false, file })
    }

    /// The path under which the file is written.
    pub(super) fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Adds bytes to the file.
    ///
    /// # Errors
    /// `store_full` or `unavailable` when the system does not take them.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| unwritable(&self.target, &error))
    }

    /// Syncs the file, and renames it to its path.
    ///
    /// # Errors
    /// `bad_request` when there is a file by now, `busy` when there is a log of SQLite beside it; `store_full`, `read_only` or
    /// `unavailable` when the system does not allow it.
    pub fn publish(self) -> Result<()> {
        let failed = |error: &io::Error| unwritable(&self.target, error);
        self.file.sync_all().map_err(|error| failed(&error))?;
        check_no_log(&self.target)?;
        let renamed = if self.replace {
            std::fs::rename(&self.temporary, &self.target)
        } else {
            files::rename_new(&self.temporary, &self.target)
        };
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => is_there(&self.target),
            _ => failed(&error),
        })?;
        files::sync_directory_of(&self.target).map_err(|error| failed(&error))
    }

    /// The file alone, without a name.
    ///
    /// # Errors
    /// Those of [`unwritable`].
    pub(super) fn into_file(self) -> Result<File> {
        self.file.try_clone().map_err(|error| unwritable(&self.target, &error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After it was published, no file has this name.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// The path to write to: a link that leads to a file is followed, so that it stays a link.
fn check_target(target: &Path, replace: bool) -> Result<PathBuf> {
    let Ok(metadata) = target.symlink_metadata() else {
        if target.file_name().is_none() {
            return Err(unusable(target, "it has no file name"));
        }
        return Ok(target.to_owned());
    };
    let resolved = match target.canonicalize() {
        Ok(resolved) => resolved,
        Err(_) if metadata.is_symlink() => return Err(unusable(target, "it is a link that leads nowhere")),
        Err(error) => return Err(unwritable(target, &error)),
    };
    let metadata = resolved.metadata().map_err(|error| unwritable(target, &error))?;
    if metadata.is_dir() {
        return Err(unusable(target, "it is a directory").hint("name a file in it"));
    }
    if !metadata.is_file() {
        return Err(unusable(target, "it is not a regular file").hint("- writes to stdout"));
    }
    if replace { Ok(resolved) } else { Err(is_there(target)) }
}

fn check_not_of_store(target: &Path, store: &Path) -> Result<()> {
    let name_and_directory = |path: &Path| {
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        (directory.canonicalize().ok(), path.file_name().map(OsString::from))
    };
    for file in files::of_store(store) {
        let is_same = FileId::of(target).is_ok_and(|id| FileId::of(&file).is_ok_and(|found| found == id));
        if is_same || name_and_directory(target) == name_and_directory(&file) {
            return Err(unusable(target, &format!("it is a file of the store {} itself", shown(store))));
        }
    }
    Ok(())
}

/// Checks that there is no log beside the file, which SQLite would play into it.
fn check_no_log(target: &Path) -> Result<()> {
    let stale = [files::log_path(target), files::journal_path(target)];
    match stale.iter().find(|path| path.symlink_metadata().is_ok()) {
        None => Ok(()),
        Some(log) => {
            let mut error =
                unusable(target, &format!("{} is there: the file is in use, or was not closed", shown(log)));
            error.code = Code::Busy;
            Err(error.hint("end the program that uses it, or choose another name"))
        }
    }
}

fn is_there(target: &Path) -> Error {
    unusable(target, "it exists already").hint("choose another name, or replace it with --force")
}

fn unusable(target: &Path, why: &str) -> Error {
    Error::new(Code::BadRequest, format!("{} cannot be written to: {why}", shown(target)))
}

/// The error for a file that the system does not allow to be written: `store_full`, `bad_request`, `read_only` or
/// `unavailable`.
pub(super) fn unwritable(target: &Path, error: &io::Error) -> Error {
    let target = shown(target);
    let message = format!("{target} cannot be written: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            Error::new(Code::StoreFull, message).hint("free some space, or choose another file system")
        }
        io::ErrorKind::NotFound => Error::new(Code::BadRequest, message).hint("its directory must exist"),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            Error::new(Code::ReadOnly, message).hint("choose a directory that this user may write to")
        }
        _ => {
            let mut error = Error::new(Code::Unavailable, message);
            error.retry = false;
            error
        }
    }
}
