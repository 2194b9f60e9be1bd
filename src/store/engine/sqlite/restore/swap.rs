//! The swap: at every instant there is a complete store at the path, the old one or the staged one.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{prepare, users};
use crate::limits;
use crate::quote::shown;
use crate::store::engine::sqlite::connection::{Access, connect};
use crate::store::engine::sqlite::error::{describe, in_use, is_busy, is_damage};
use crate::store::engine::sqlite::left_log;
use crate::store::error::{Code, Error, Result};
use crate::store::files::{self, aside_name, index_path, journal_path, log_path, staged_path};
use crate::store::open::SqlitePlace;
use crate::store::reply::Restored;

/// Swaps the stores. This process must not have the store open.
pub(super) fn swap(path: &Path, epoch: &str, now_ms: i64) -> Result<Restored> {
    let staged = staged_path(path);
    let place = SqlitePlace::File { path: path.to_owned(), read_only: false };
    let present = PresentStore::hold(path, &place)?;
    if present.as_ref().is_some_and(|present| present.has_epoch(epoch)) {
        // The swap was done before, and the answer was lost; perhaps it was interrupted in its last step.
        return Ok(Restored { replaced: keep(&staged, path, now_ms)? });
    }
    adopt(&staged, epoch, present.as_ref())?;
    let failed = |error: io::Error| {
        let mut error = Error::new(Code::Unavailable, format!("{place} cannot be replaced: {error}"));
        error.retry = false;
        error.hint("check the permissions of its directory; the store is as it was")
    };
    let aside = aside_name(path, "before-restore", now_ms);
    if present.as_ref().is_none_or(|present| present.connection.is_none()) {
        lay_logs_aside(path, &aside).map_err(failed)?;
    }
    let replaced = if present.is_some() {
        exchange(&staged, path, &aside).map_err(failed)?
    } else {
        files::rename_new(&staged, path).map_err(failed)?;
        None
    };
    // From here on the staged store is the present one.
    files::sync_directory_of(path).map_err(|error| failed(error).unknown())?;
    drop(present);
    tracing::warn!(store = %path.display(), epoch, "another store was put in the place of this one");
    Ok(Restored { replaced })
}

/// The present store, which no other process uses.
struct PresentStore {
    /// Excludes every other process while it is open; none when the file is so damaged that SQLite cannot open it.
    connection: Option<Connection>,
}

impl PresentStore {
    /// Waits until no other process has the store open; none when there is no store.
    ///
    /// Its log is written back and removed first, and the file is locked as a whole. So no log is left that could be
    /// played into the next store, and closing it touches nothing beside it.
    fn hold(path: &Path, place: &SqlitePlace) -> Result<Option<PresentStore>> {
        let deadline = Instant::now() + limits::SQLITE_BUSY_TIMEOUT;
        loop {
            if path.symlink_metadata().is_err() {
                return Ok(None);
            }
            left_log::lay_foreign_aside(path, place)?;
            let held = connect(path, Access::Write).and_then(lock_alone);
            let connection = match held {
                Err(error) if !is_busy(&error) && !is_damage(&error) => return Err(describe(&error, place)),
                Err(error) if is_busy(&error) => Err(()),
                Err(_damaged) => Ok(None),
                Ok(connection) => Ok(Some(connection)),
            };
            let others = users::of(path);
            match connection {
                Ok(connection) if others.is_empty() => {
                    connection.as_ref().map_or(Ok(()), |connection| check_no_others(connection, place))?;
                    return Ok(Some(PresentStore { connection }));
                }
                _ if Instant::now() < deadline => {
                    drop(connection);
                    std::thread::sleep(limits::LET_GO_PAUSE);
                }
                _ => return Err(used_by(place, &others)),
            }
        }
    }

    fn has_epoch(&self, epoch: &str) -> bool {
        let found = self.connection.as_ref().and_then(|connection| {
            connection.query_row("select epoch from kv_meta", [], |row| row.get::<_, String>(0)).ok()
        });
        found.as_deref() == Some(epoch)
    }

    /// The last fencing token that it granted, and its count of lock changes; none when they cannot be read.
    fn fences(&self) -> Option<(i64, i64)> {
        let columns = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        self.connection.as_ref()?.query_row("select fence, lock_seq from kv_meta", [], columns).ok()
    }
}

fn lock_alone(connection: Connection) -> rusqlite::Result<Connection> {
    // The caller waits in its loop, and lets other requests finish in the meantime.
    connection.busy_timeout(Duration::ZERO)?;
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(()))?;
    let mode: String = connection.query_row("pragma journal_mode = delete", [], |row| row.get(0))?;
    if mode != "delete" {
        let busy = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
        return Err(rusqlite::Error::SqliteFailure(busy, None));
    }
    connection.execute_batch("begin exclusive")?;
    Ok(connection)
}

/// A user who names the database of another program by mistake wants to keep it where it is.
fn check_no_others(connection: &Connection, place: &SqlitePlace) -> Result<()> {
    let text = "select count(*) > 0 and total(name = 'kv_migration') = 0 from sqlite_schema";
    match connection.query_row(text, [], |row| row.get(0)) {
        Ok(true) => Err(Error::new(
            Code::Unsupported,
            format!("{place} holds no store of kv, but tables of another application"),
        )
        .hint("check the path; a store is restored into a file that holds one, or that is not there")),
        // A file that cannot be read is damaged, and is replaced.
        Ok(false) | Err(_) => Ok(()),
    }
}

fn used_by(place: &SqlitePlace, others: &[String]) -> Error {
    if others.is_empty() {
        return in_use(place);
    }
    let what = if others.len() == 1 { "process" } else { "processes" };
    Error::new(Code::Busy, format!("{place} is in use by {what} {}", others.join(", ")))
        .hint("end what uses the store, and try again; a daemon ends with: kv daemon stop")
}

/// Checks the staged store, and makes it continue the fencing tokens of the old one, so that no token is granted twice.
/// All locks and holds of consumers end: what their holders know of the store is no longer true.
fn adopt(staged: &Path, epoch: &str, present: Option<&PresentStore>) -> Result<()> {
    check_owner(staged)?;
    let place = SqlitePlace::File { path: staged.to_owned(), read_only: false };
    let described = |error: rusqlite::Error| describe(&error, &place);
    let mut connection = connect(staged, Access::Write).map_err(described)?;
    prepare::verify(&connection, &place, epoch)?;
    let (fence, lock_seq) = match present.map(PresentStore::fences) {
        None => (0, 0),
        Some(Some(fences)) => fences,
        Some(None) => {
            let own = "select fence + ? from kv_meta";
            let beyond = connection.query_row(own, [limits::LOST_FENCES], |row| row.get(0));
            (beyond.map_err(described)?, 0)
        }
    };
    let adopted = connection.transaction().and_then(|transaction| {
        let meta = "update kv_meta set fence = max(fence, ?), lock_seq = max(lock_seq, ?) + 1";
        transaction.execute(meta, [fence, lock_seq])?;
        transaction
            .execute_batch("delete from kv_lock; update kv_consumer set holder = null, expires = null")?;
        transaction.commit()
    });
    adopted.map_err(described)
}

/// A file that another process put there is not used.
fn check_owner(staged: &Path) -> Result<()> {
    let metadata = staged.symlink_metadata().map_err(|_| nothing_staged())?;
    let own_uid = rustix::process::geteuid().as_raw();
    if metadata.is_file() && metadata.nlink() == 1 && [0, own_uid].contains(&metadata.uid()) {
        return Ok(());
    }
    Err(refused(format!("{} is not a file of this user alone", shown(staged))))
}

/// The error for a restore when nothing was staged.
pub(super) fn nothing_staged() -> Error {
    refused("nothing was staged to be restored".to_owned())
}

fn refused(why: String) -> Error {
    let mut error = Error::new(Code::Unavailable, why);
    error.retry = false;
    error.hint("restore a backup with: kv restore FILE")
}

/// Removes the log of a store that is gone, or cannot be opened: it would be played into the next store.
fn lay_logs_aside(path: &Path, aside: &Path) -> io::Result<()> {
    for (log, name) in [(log_path(path), log_path(aside)), (journal_path(path), journal_path(aside))] {
        if log.symlink_metadata().is_ok() {
            files::rename_new(&log, &name)?;
        }
    }
    match std::fs::remove_file(index_path(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Puts the staged file at the path, and moves the old store aside. Answers the present name of the old store.
fn exchange(staged: &Path, path: &Path, aside: &Path) -> io::Result<Option<String>> {
    if files::exchange(staged, path)? {
        return Ok(keep_as(staged, aside));
    }
    // The file system cannot exchange names: between the two renames there is no file at the path.
    files::rename_new(path, aside)?;
    if let Err(error) = files::rename_new(staged, path) {
        files::rename_new(aside, path)?;
        return Err(error);
    }
    Ok(name_of(aside))
}

/// Renames the old store from its staged name to the name under which it is kept.
fn keep(staged: &Path, path: &Path, now_ms: i64) -> Result<Option<String>> {
    if staged.symlink_metadata().is_err() {
        return Ok(None);
    }
    Ok(keep_as(staged, &aside_name(path, "before-restore", now_ms)))
}

/// When that fails, the old store keeps its present name: the restore is done.
fn keep_as(staged: &Path, aside: &Path) -> Option<String> {
    match files::rename_new(staged, aside) {
        Ok(()) => name_of(aside),
        Err(error) => {
            tracing::warn!(%error, "the store that was replaced keeps the name {}", staged.display());
            name_of(staged)
        }
    }
}

fn name_of(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}
