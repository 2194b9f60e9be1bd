//! Prepares a copy to be a store, before the present store is touched.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use crate::store::engine::migrations::{self, pending};
use crate::store::engine::sqlite::connection::{Access, connect};
use crate::store::engine::sqlite::error::{describe, is_full};
use crate::store::engine::sqlite::header::MainFile;
use crate::store::engine::sqlite::{backup, direct, left_log, migrate};
use crate::store::error::{Code, Error, Result};
use crate::store::files::log_path;
use crate::store::maintenance::Watcher;
use crate::store::open::SqlitePlace;

/// The first bytes of every SQLite database (<https://www.sqlite.org/fileformat2.html#magic_header_string>).
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PreparedCopy {
    /// The newest step of the schema that it had, when that was an older one.
    pub(crate) schema_before: Option<i64>,
    /// The head of its stream.
    pub(crate) seq: u64,
}

/// Copies the store in a file, with its log, into an empty file.
pub(crate) fn copy(from: &Path, to: &Path, watcher: &mut Watcher<'_>) -> Result<()> {
    let place = SqlitePlace::File { path: from.to_owned(), read_only: true };
    let snapshot = direct::read(&place)?;
    direct::schema(&snapshot.connection, &place)?;
    backup::pages(&snapshot.connection, &place, to, to, watcher)?;
    snapshot.check()
}

/// Gives a copy the newest schema, and another epoch: a client that knows a position in the stream that was copied is
/// told that this is another stream. Errors call the copy by `name`.
pub(crate) fn prepare(copy: &Path, name: &str, epoch: &str, now_ms: i64) -> Result<PreparedCopy> {
    let place = SqlitePlace::File { path: PathBuf::from(name), read_only: false };
    if !is_database(copy) {
        return Err(Error::new(Code::Unsupported, format!("{name} is not a SQLite database"))
            .hint("kv backup makes what can be restored"));
    }
    if MainFile::open(copy).is_ok_and(|main| left_log::is_cut_off(&main, &log_path(copy))) {
        let mut error =
            Error::new(Code::Unavailable, format!("{name} is damaged: it is shorter than it says"));
        error.retry = false;
        return Err(error.hint("was it sent as a whole? kv backup tells when it was not"));
    }
    let own_place = SqlitePlace::File { path: copy.to_owned(), read_only: false };
    let described = |error: rusqlite::Error| {
        describe(&error, if is_full(&error, &own_place) { &own_place } else { &place })
    };
    backup::finish(copy).map_err(|error| Error::new(Code::Unavailable, format!("{own_place}: {error}")))?;
    let mut connection = connect(copy, Access::Write).map_err(described)?;
    // A preparation that is interrupted here begins again from the backup.
    connection.execute_batch("pragma journal_mode = memory").map_err(described)?;
    let applied = direct::schema(&connection, &place)?;
    let steps = pending(migrations::SQLITE, &applied)?;
    let changed = connection.transaction().and_then(|transaction| {
        migrate::run(&transaction, &steps, now_ms)?;
        transaction.execute("update kv_meta set epoch = ?", [epoch])?;
        let seq = transaction.query_row("select head from kv_meta", [], |row| row.get::<_, i64>(0))?;
        transaction.commit().map(|()| seq)
    });
    let seq = u64::try_from(changed.map_err(described)?).unwrap_or(0);
    Ok(PreparedCopy { schema_before: applied.last().copied().filter(|_| !steps.is_empty()), seq })
}

/// Checks the staged file before it takes the place of a store: it must be complete, and the one that the caller
/// staged.
pub(super) fn verify(connection: &Connection, place: &SqlitePlace, epoch: &str) -> Result<()> {
    let described = |error: rusqlite::Error| describe(&error, place);
    let applied = direct::schema(connection, place)?;
    migrations::check_complete(migrations::SQLITE, &applied, &place.to_string())?;
    let triggers = "select count(*) from sqlite_schema where type = 'trigger' and tbl_name glob 'kv_*'";
    let triggers: i64 = connection.query_row(triggers, [], |row| row.get(0)).map_err(described)?;
    let found: String =
        connection.query_row("select epoch from kv_meta", [], |row| row.get(0)).map_err(described)?;
    if triggers == 0 && found == epoch {
        return Ok(());
    }
    let mut error = Error::new(Code::Unavailable, format!("{place} is not what was to be restored"));
    error.retry = false;
    Err(error.hint("restore the backup again: another restore took its place"))
}

/// SQLite takes an empty file for a database too.
fn is_database(file: &Path) -> bool {
    let mut magic = [0; MAGIC.len()];
    File::open(file).and_then(|file| file.read_exact_at(&mut magic, 0)).is_ok() && &magic == MAGIC
}
