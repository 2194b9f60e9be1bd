//! A copy of a store by SQLite's online backup (<https://www.sqlite.org/backup.html>).

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rusqlite::backup::{Backup as Pages, StepResult};
use rusqlite::{Connection, OpenFlags};

use super::direct;
use super::error::{describe, is_full};
use crate::limits;
use crate::quote::shown;
use crate::store::error::{Code, Error, Result};
use crate::store::maintenance::{Backup, Progress, Watcher, cancelled};
use crate::store::open::SqlitePlace;

/// Where the header of a database says how it is written and read
/// (<https://www.sqlite.org/fileformat2.html#file_format_version_numbers>).
const FORMAT_VERSIONS: u64 = 18;

/// Both for a file that has no write-ahead log.
const WITHOUT_LOG: [u8; 2] = [1, 1];

/// Copies a store into an empty file, and reports progress under `name`.
///
/// The copy needs no file beside it, so it opens anywhere, also where nothing can be written.
pub(crate) fn copy(place: &SqlitePlace, to: &Path, name: &Path, watcher: &mut Watcher<'_>) -> Result<Backup> {
    let snapshot = direct::read(place)?;
    let source = &snapshot.connection;
    direct::schema(source, place)?;
    let seq = source
        .query_row("select head from kv_meta", [], |row| row.get::<_, i64>(0))
        .map_err(|error| describe(&error, place))?;
    pages(source, place, to, name, watcher)?;
    snapshot.check()?;
    let bytes = finish(to).map_err(|error| unwritten(name, &error))?;
    Ok(Backup { bytes, seq: u64::try_from(seq).unwrap_or(0) })
}

/// Copies page by page. The source is in a transaction, so writes in the meantime do not make the copy begin again.
pub(super) fn pages(
    source: &Connection,
    place: &SqlitePlace,
    to: &Path,
    name: &Path,
    watcher: &mut Watcher<'_>,
) -> Result<()> {
    let target = SqlitePlace::File { path: to.to_owned(), read_only: false };
    let failed = |error: &rusqlite::Error| {
        if is_full(error, &target) {
            Error::new(Code::StoreFull, format!("no space is left for {}", shown(name)))
                .hint("free some space, or choose another file system")
        } else {
            describe(error, place)
        }
    };
    // An unfinished copy is worthless after a crash, so no journal is kept, and the file is synced once, at the end.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut target_connection = Connection::open_with_flags(to, flags)
        .and_then(|connection| {
            connection
                .execute_batch("pragma journal_mode = off; pragma synchronous = off")
                .map(|()| connection)
        })
        .map_err(|error| failed(&error))?;
    let pages = Pages::new(source, &mut target_connection).map_err(|error| failed(&error))?;
    loop {
        let step = pages.step(limits::BACKUP_STEP_PAGES).map_err(|error| failed(&error))?;
        let (total, left) = (pages.progress().pagecount, pages.progress().remaining);
        let count = |pages: i32| u64::try_from(pages).unwrap_or(0);
        if watcher(Progress { done: count(total - left), total: count(total) }).is_break() {
            return Err(cancelled());
        }
        match step {
            StepResult::Done => return Ok(()),
            StepResult::More => {}
            _ => std::thread::sleep(limits::BACKUP_PAUSE),
        }
    }
}

/// Completes the copy so that it needs no file beside it, and answers its size in bytes.
///
/// To change two bytes of the header, SQLite would create a log and an index beside the file. The file is not in use
/// yet, so the bytes are written directly.
pub(super) fn finish(copy: &Path) -> io::Result<u64> {
    let file = OpenOptions::new().read(true).write(true).open(copy)?;
    file.write_all_at(&WITHOUT_LOG, FORMAT_VERSIONS)?;
    Ok(file.metadata()?.len())
}

fn unwritten(name: &Path, error: &io::Error) -> Error {
    let mut error = Error::new(Code::Unavailable, format!("{} cannot be written: {error}", shown(name)));
    error.retry = false;
    error
}
