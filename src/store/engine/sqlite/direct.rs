//! Connections of the calling thread, for work on whole files: what runs for long must not occupy the connections of
//! the engine.

use std::path::Path;

use rusqlite::Connection;
use rustix::fs::{Access as Permission, access};
use rustix::io::Errno;

use super::connection::{Access, connect, connect_standing};
use super::error::{describe, in_use, is_denied, unrecovered};
use super::header::MainFile;
use super::place::{denial, is_file_at};
use super::standing::StandingFiles;
use super::{left_log, migrate};
use crate::quote::shown;
use crate::store::engine::migrations::{self, not_initialized, pending};
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// A store that is being read: the connection sees one snapshot.
pub(super) struct Snapshot {
    pub(super) connection: Connection,
    /// The versions of the files, where no other process can see that they are being read.
    standing: Option<StandingFiles>,
    place: SqlitePlace,
    /// Declared last, so that it is closed last: a descriptor that the users of the file in this process share.
    _main: Option<MainFile>,
}

impl Snapshot {
    /// Checks that everything was read from one snapshot of the store.
    ///
    /// # Errors
    /// `busy` when another process wrote to files that could not be shared with it.
    pub(super) fn check(&self) -> Result<()> {
        if self.standing.as_ref().is_none_or(StandingFiles::holds) {
            Ok(())
        } else {
            Err(in_use(&self.place))
        }
    }
}

/// Opens a store and begins to read it.
pub(super) fn read(place: &SqlitePlace) -> Result<Snapshot> {
    let SqlitePlace::File { path, read_only } = place else {
        return Err(not_initialized("a memory store has no file".to_owned()));
    };
    if !may_read(path, is_file_at(path))? {
        return Err(not_initialized(format!("there is no store at {place}")));
    }
    left_log::check(path, place)?;
    let main = MainFile::open(path).ok();
    let snapshot =
        |connection, standing| Snapshot { connection, standing, place: place.clone(), _main: main };
    let mode = if *read_only { Access::Read } else { Access::Write };
    let error = match connect(path, mode).and_then(begin) {
        Ok(connection) => return Ok(snapshot(connection, None)),
        Err(error) => error,
    };
    if !is_denied(&error) {
        return Err(describe(&error, place));
    }
    // Here SQLite cannot create its log and its index beside the file.
    let standing = StandingFiles::at(path).ok_or_else(|| unrecovered(&error, place))?;
    let connection = connect_standing(path, &standing).and_then(begin);
    Ok(snapshot(connection.map_err(|error| describe(&error, place))?, Some(standing)))
}

fn begin(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch("pragma query_only = on; begin; select count(*) from sqlite_schema")?;
    Ok(connection)
}

/// Says which user has no right to read the file: a user of the daemon need not be able to read it.
fn may_read(path: &Path, found: Result<bool>) -> Result<bool> {
    if access(path, Permission::READ_OK) != Err(Errno::ACCESS) {
        return found;
    }
    let mut error = found.err().unwrap_or_else(|| {
        let why = denial(path, false).unwrap_or_default();
        Error::new(Code::Unavailable, format!("{} cannot be read: {why}", shown(path)))
    });
    error.retry = false;
    Err(error.hint(
        "this command reads the file itself, not through the daemon: run it as a user who may read the store",
    ))
}

/// The numbers of the schema steps that a store has.
///
/// # Errors
/// `not_initialized` when the file holds no store, `unsupported` when it has a step that this version does not know.
pub(super) fn schema(connection: &Connection, place: &SqlitePlace) -> Result<Vec<i64>> {
    let described = |error: rusqlite::Error| describe(&error, place);
    if !connection.table_exists(None, "kv_migration").map_err(described)? {
        return Err(not_initialized(format!("{place} holds no store")));
    }
    let numbers = migrate::applied(connection).map_err(described)?;
    pending(migrations::SQLITE, &numbers)?;
    Ok(numbers)
}
