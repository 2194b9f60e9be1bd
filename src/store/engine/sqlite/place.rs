//! What is at the path of a store, checked before SQLite is asked: SQLite tells of any file that it cannot open only
//! that it cannot, and would wait for a pipe.

use std::fs::{Metadata, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, access};

use super::files::{index_path, log_path};
use crate::quote::{shell_word, shown};
use crate::store::engine::migrations::not_initialized;
use crate::store::error::{Code, Error, Result};

/// A new store belongs to its owner alone.
const MODE: u32 = 0o600;

/// In a directory that a group shares, the group may use the store too.
const SHARED_MODE: u32 = 0o660;

/// Set-group-ID and writable by the group: a directory whose files are meant for a group.
const SHARED_DIRECTORY: u32 = 0o2020;

/// Whether there is a file at a path.
///
/// # Errors
/// `not_initialized` when its directory does not exist, `unavailable` when something else than a file is there, or the
/// path cannot be followed.
pub(super) fn is_file_at(path: &Path) -> Result<bool> {
    match path.metadata() {
        Ok(metadata) if metadata.is_file() => return Ok(true),
        Ok(metadata) => return Err(not_a_file(path, &metadata)),
        Err(_) => {}
    }
    // Checked from the root on: the first part that is not as it should be is the reason.
    let parts: Vec<&Path> = path.ancestors().collect();
    for part in parts.into_iter().rev() {
        match part.metadata() {
            Ok(metadata) if metadata.is_dir() && part != path => {}
            // It has just been created.
            Ok(metadata) if metadata.is_file() && part == path => return Ok(true),
            Ok(_) if part != path => {
                return Err(unavailable(format!("{} is not a directory, so it holds no store", shown(part)))
                    .hint("check the path"));
            }
            Ok(metadata) => return Err(not_a_file(path, &metadata)),
            Err(error) => return not_reached(path, part, &error),
        }
    }
    Ok(false)
}

/// Says why a part of a path cannot be reached; a file that does not exist is not a reason.
fn not_reached(path: &Path, part: &Path, error: &std::io::Error) -> Result<bool> {
    Err(match error.kind() {
        ErrorKind::NotFound => match part.read_link() {
            Ok(target) => {
                let target = part.parent().unwrap_or(part).join(target);
                unavailable(format!(
                    "{} is a symbolic link to {}, and nothing is there",
                    shown(part),
                    shown(&target)
                ))
                .hint("mount or make what it leads to, or name the store by its own path")
            }
            Err(_) if part == path => return Ok(false),
            Err(_) => missing_directory(path, part),
        },
        ErrorKind::PermissionDenied => {
            let directory = part.parent().unwrap_or(part);
            unavailable(format!("{} cannot be looked into: {}", shown(directory), denied_by(directory)))
                .hint(format!("check the permissions of {}", shown(directory)))
        }
        _ if rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::LOOP) => {
            unavailable(format!("{} is a symbolic link that leads back to itself", shown(part)))
                .hint("look where it leads with: ls -l")
        }
        _ => unavailable(format!("{} cannot be reached: {error}", shown(part))).hint("check the path"),
    })
}

fn missing_directory(path: &Path, part: &Path) -> Error {
    let directory = path.parent().unwrap_or(part);
    let error =
        not_initialized(format!("there is no directory {}, so there is no store in it", shown(directory)));
    match part.file_name().and_then(|name| name.to_str()).filter(|name| name.starts_with('~')) {
        Some(name) => error.hint(format!(
            "a shell replaces {name:?} only at the beginning of a word and without quotes: write \"$HOME\" instead"
        )),
        None => error.hint(format!("make it with: mkdir -p {}", shell_word(directory))),
    }
}

fn not_a_file(path: &Path, metadata: &Metadata) -> Error {
    let file_type = metadata.file_type();
    let what = match file_type {
        _ if file_type.is_dir() => "a directory",
        _ if file_type.is_fifo() => "a pipe",
        _ if file_type.is_socket() => "a socket",
        _ => "a device",
    };
    unavailable(format!("{} is {what}, and a store is a file", shown(path)))
        .hint("name a file with --connection")
}

/// Which right to the files of a store this user lacks, for reading or also for writing; none when it lacks none.
pub(super) fn denial(path: &Path, writes: bool) -> Option<String> {
    let asked = if writes { Access::READ_OK | Access::WRITE_OK } else { Access::READ_OK };
    let files = [path.to_owned(), log_path(path), index_path(path)];
    let denied = files.iter().find(|file| file.exists() && access(file.as_path(), asked).is_err());
    let directory = path.parent().filter(|directory| writes && access(*directory, Access::WRITE_OK).is_err());
    let denied = denied.map(|file| file.as_path()).or(directory)?;
    Some(format!("{}: {}", shown(denied), denied_by(denied)))
}

/// The owner of a file, for a user who may not use it.
fn denied_by(path: &Path) -> String {
    let user = rustix::process::geteuid().as_raw();
    path.metadata().map_or_else(
        |error| error.to_string(),
        |metadata| {
            let (owner, mode) = (metadata.uid(), metadata.mode() & 0o7777);
            format!("it belongs to user {owner} with mode {mode:04o}, and this is user {user}")
        },
    )
}

/// Makes an empty file for a new store, unless there is a file, and answers whether it did. Its mode does not depend on
/// a wide umask; SQLite gives the files beside a database the mode of the database.
pub(super) fn make_file(path: &Path) -> Result<bool> {
    /// Held until the new file is closed: closing a file drops the locks that SQLite has on it in the same process, so no
    /// other thread may open the file before.
    static MAKING: Mutex<()> = Mutex::new(());
    let _making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    if is_file_at(path)? {
        return Ok(false);
    }
    let mode = mode_of_new(path);
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    // The umask may have removed some bits.
    match made.and_then(|file| file.set_permissions(std::fs::Permissions::from_mode(mode))) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(not_made(path, &error)),
    }
}

/// The mode for a new store at this path.
pub(crate) fn mode_of_new(path: &Path) -> u32 {
    let directory = path.parent().and_then(|directory| directory.metadata().ok());
    let is_shared = directory.is_some_and(|found| found.mode() & SHARED_DIRECTORY == SHARED_DIRECTORY);
    if is_shared { SHARED_MODE } else { MODE }
}

fn not_made(path: &Path, error: &std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            let why = denial(path, true).unwrap_or_else(|| error.to_string());
            unavailable(format!("{} cannot be made: {why}", shown(path)))
                .hint("check the permissions of its directory")
        }
        ErrorKind::ReadOnlyFilesystem => {
            Error::new(Code::ReadOnly, format!("{} cannot be made: {error}", shown(path)))
                .hint("choose another place with --connection")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Error::new(Code::StoreFull, format!("{} cannot be made: {error}", shown(path)))
                .hint("free some space")
        }
        _ => unavailable(format!("{} cannot be made: {error}", shown(path)))
            .hint("check the disk and the permissions of the directory"),
    }
}

/// The error `unavailable` for an obstacle that does not pass by itself.
fn unavailable(message: String) -> Error {
    let mut error = Error::new(Code::Unavailable, message);
    error.retry = false;
    error
}
