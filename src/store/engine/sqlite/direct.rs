//! Connections of the calling thread, for work on whole files: what runs for long must not keep the connections of the
//! engine.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use super::error::{describe, in_use, is_denied, unrecovered};
use super::header::MainFile;
use super::left_log;
use super::place::{denial, is_file_at};
use super::standing::Standing;
use crate::limits;
use crate::quote::shown;
use crate::store::engine::migrations::{self, not_initialized, pending};
use crate::store::error::{Code, Error, Result};
use crate::store::open::{Address, SqlitePlace};

/// Opens a file that must be there.
pub(super) fn connect(path: &Path, read_only: bool) -> rusqlite::Result<Connection> {
    let mode = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let connection = Connection::open_with_flags(path, mode | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    with_pragmas(connection)
}

fn with_pragmas(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(limits::SQLITE_BUSY_TIMEOUT)?;
    // A database file may come from a hostile hand (https://www.sqlite.org/security.html).
    connection.execute_batch(
        "pragma trusted_schema = off; pragma cell_size_check = on; pragma mmap_size = 0;
        pragma synchronous = full; pragma fullfsync = on; pragma temp_store = file",
    )?;
    Ok(connection)
}

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
    let error = match connect(path, *read_only).and_then(begin) {
        Ok(connection) => return Ok(snapshot(connection, None)),
        Err(error) => error,
    };
    if !is_denied(&error) {
        return Err(describe(&error, place));
    }
    // Where SQLite cannot make its log and its index beside the file.
    let standing = Standing::at(path).ok_or_else(|| unrecovered(&error, place))?;
    let uri = format!("{}&{}", Address::of_file(path, true).connection(), standing.parameter());
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags).and_then(with_pragmas).and_then(|connection| {
        connection.execute_batch("pragma locking_mode = exclusive")?;
        begin(connection)
    });
    Ok(snapshot(connection.map_err(|error| describe(&error, place))?, Some(standing)))
}

fn begin(connection: Connection) -> rusqlite::Result<Connection> {
    connection.execute_batch("pragma query_only = on; begin; select count(*) from sqlite_schema")?;
    Ok(connection)
}

/// Says whose right is missing: who may use the daemon need not be able to read its file.
fn may_read(path: &Path, found: Result<bool>) -> Result<bool> {
    if access(path, Access::READ_OK) != Err(Errno::ACCESS) {
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
    let numbers = connection
        .prepare("select number from kv_migration order by number")
        .and_then(|mut select| {
            select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<i64>>>()
        })
        .map_err(described)?;
    pending(migrations::SQLITE, &numbers)?;
    Ok(numbers)
}
