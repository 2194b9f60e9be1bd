//! Connections of the calling thread, for work on whole files: what runs for long must not keep the connections of the
//! engine.

use std::path::Path;

use rusqlite::Connection;
use rustix::fs::{Access as Permission, access};
use rustix::io::Errno;

use super::connection::{Access, connect, connect_standing};
use super::error::{describe, in_use, is_denied, unrecovered};
use super::header::MainFile;
use super::place::{denial, is_file_at};
use super::standing::Standing;
use super::{left_log, migrate};
use crate::quote::shown;
use crate::store::engine::migrations::{self, not_initialized, pending};
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// A store that is read: what the connection sees is one snapshot.
pub(super) struct Snapshot {
    pub(super) connection: Connection,
    /// The files as they stood, where nobody is told that they are read.
    standing: Option<Standing>,
    place: SqlitePlace,
    /// Declared last, so that it is closed last: a descriptor of this process that others share.
    _main: Option<MainFile>,
}

impl Snapshot {
    /// Whether what was read is one instant of the store.
    ///
    /// # Errors
    /// `busy` when others wrote to files that could not be shared with them.
    pub(super) fn check(&self) -> Result<()> {
        if self.standing.as_ref().is_none_or(Standing::holds) { Ok(()) } else { Err(in_use(&self.place)) }
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
    // Where SQLite cannot make its log and its index beside the file.
    let standing = Standing::at(path).ok_or_else(|| unrecovered(&error, place))?;
    let connection = connect_standing(path, &standing).and_then(begin);
    Ok(snapshot(connection.map_err(|error| describe(&error, place))?, Some(standing)))
}

fn begin(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch("pragma query_only = on; begin; select count(*) from sqlite_schema")?;
    Ok(connection)
}

/// Says whose right is missing: who may use the daemon need not be able to read its file.
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

/// The numbers of the steps that the schema of a store has.
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
