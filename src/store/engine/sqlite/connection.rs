//! How a connection to a database file is opened.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::standing::StandingFiles;
use crate::limits;
use crate::store::open::Address;

/// What a connection may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// Opens a file that must exist.
pub(super) fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    // Without SQLITE_OPEN_URI a path is taken literally.
    with_pragmas(Connection::open_with_flags(path, flags(access))?)
}

/// Opens the files at a path as they are, without locks that other processes could see.
pub(super) fn connect_standing(path: &Path, standing: &StandingFiles) -> rusqlite::Result<Connection> {
    let connection = open_uri(path, &standing.parameter())?;
    // Must come before the first read: it keeps the index of the log in memory.
    connection.execute_batch("pragma locking_mode = exclusive")?;
    with_pragmas(connection)
}

/// Opens a database file alone, as if it had no log and no process wrote to it.
pub(super) fn connect_immutable(path: &Path) -> rusqlite::Result<Connection> {
    with_pragmas(open_uri(path, "immutable=1")?)
}

/// A database that only this connection can reach.
pub(super) fn in_memory() -> rusqlite::Result<Connection> {
    with_pragmas(Connection::open_in_memory_with_flags(flags(Access::Write) | OpenFlags::SQLITE_OPEN_CREATE)?)
}

fn open_uri(path: &Path, parameter: &str) -> rusqlite::Result<Connection> {
    let uri = format!("{}&{parameter}", Address::of_file(path, true).connection());
    Connection::open_with_flags(uri, flags(Access::Read) | OpenFlags::SQLITE_OPEN_URI)
}

fn flags(access: Access) -> OpenFlags {
    let mode = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    // Each connection is used by one thread at a time.
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn with_pragmas(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(limits::SQLITE_BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(limits::SQLITE_STATEMENTS);
    connection.execute_batch(&format!(
        // A database file may come from an attacker (https://www.sqlite.org/security.html).
        "pragma trusted_schema = off; pragma cell_size_check = on;
        -- With mmap a read could see pages of a commit that is not synced yet.
        pragma mmap_size = 0;
        pragma synchronous = full;
        -- Only macOS knows a sync that reaches the platter; elsewhere the pragma does nothing.
        pragma fullfsync = on;
        pragma temp_store = file;
        -- A log that a reader or a large batch made long shrinks to this when it begins anew.
        pragma journal_size_limit = {}",
        limits::SQLITE_LOG_BYTES
    ))?;
    Ok(connection)
}
