//! Work on a whole store: copies, checks, and what is to take its place.
//!
//! These functions open the files of the store themselves, beside whoever else uses it, and block the thread that calls
//! them. Other processes go on reading and writing meanwhile.

#[cfg(feature = "sqlite")]
mod new_file;
#[cfg(feature = "sqlite")]
mod staged;

#[cfg(feature = "sqlite")]
use std::fs::File;
use std::ops::ControlFlow;
#[cfg(feature = "sqlite")]
use std::path::Path;

use serde::Serialize;

#[cfg(feature = "sqlite")]
pub use self::new_file::NewFile;
#[cfg(feature = "sqlite")]
pub use self::staged::{HandedOver, Source, Staged, stage};
#[cfg(feature = "sqlite")]
use super::engine::sqlite;
use super::error::{Code, Error, Result};
use super::open::Address;
#[cfg(feature = "sqlite")]
use super::open::EngineKind;
#[cfg(feature = "sqlite")]
use super::open::SqlitePlace;

/// How far a piece of work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What was dealt with.
    pub done: u64,
    /// What there is; 0 while that is not known.
    pub total: u64,
}

/// Is told of progress, and says whether to go on. Whoever breaks gets the error `cancelled`.
pub type Watcher<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backup {
    /// Its size.
    pub bytes: u64,
    /// The head of the stream in it.
    pub seq: u64,
}

/// What is wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The table, or `database` for what SQLite itself finds.
    pub table: &'static str,
    /// Which row: its seq, key or name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// How many records.
    pub records: u64,
    /// How many changes of the stream.
    pub changes: u64,
    /// How many findings.
    pub findings: u64,
}

/// Copies the store into a new file, as it is at one instant, with all that its log holds.
///
/// The file is complete and synced when this returns, and not there before: it is written under another name beside it.
/// It needs nothing beside itself, and its owner alone may read it.
///
/// # Errors
/// `bad_request` when the file is there and `replace` is not set, or when it is one of the store itself;
/// `not_initialized` without a store; `store_full` without room for it; `cancelled` by the watcher; `unsupported` for a
/// memory store.
#[cfg(feature = "sqlite")]
pub fn backup(address: &Address, to: &Path, replace: bool, watcher: &mut Watcher<'_>) -> Result<Backup> {
    let (place, store) = file_of(address)?;
    let new = NewFile::create(to, replace, Some(store))?;
    let backup = sqlite::backup::copy(place, new.temporary(), to, watcher)?;
    new.publish()?;
    Ok(backup)
}

/// Copies the store into a file that has no name any more, for who sends it elsewhere. It lies in the directory for
/// temporary files: `TMPDIR`, or `/var/tmp`.
///
/// # Errors
/// As [`backup`].
#[cfg(feature = "sqlite")]
pub fn backup_unnamed(address: &Address, watcher: &mut Watcher<'_>) -> Result<(File, Backup)> {
    let (place, _) = file_of(address)?;
    let new = NewFile::create_temporary()?;
    let backup = sqlite::backup::copy(place, new.temporary(), new.temporary(), watcher)?;
    Ok((new.into_file()?, backup))
}

/// Checks the store at one instant, and tells each finding: what SQLite's own check finds, and whatever contradicts the
/// rules of kv, as a hole in the stream or a record that is not as its last change says. On a server it must not be called
/// on a thread that runs tasks of tokio.
///
/// # Errors
/// `not_initialized` when there is no store, `unsupported` when the file is not a database or the schema is a newer one,
/// `unavailable` when it cannot be read.
pub fn check(
    address: &Address,
    finding: &mut dyn FnMut(Finding),
    watcher: &mut Watcher<'_>,
) -> Result<Checked> {
    address.place().check_store(finding, watcher)
}

/// The place of a store that is a file, and the file.
#[cfg(feature = "sqlite")]
fn file_of(address: &Address) -> Result<(&SqlitePlace, &Path)> {
    match address.place().sqlite() {
        Some(place) => Ok((place, place.file()?)),
        None => Err(Error::new(
            Code::Unsupported,
            format!("a store on {} has no file that could be copied", address.kind().as_str()),
        )
        .hint(match address.kind() {
            EngineKind::Rqlite => "copy it from a node: curl --output FILE http://HOST:PORT/db/backup",
            _ => "back the server up by its own tools, as pg_dump",
        })),
    }
}

/// The error of work that was given up.
pub(crate) fn cancelled() -> Error {
    Error::new(Code::Cancelled, "the work was given up: nothing was changed")
}
