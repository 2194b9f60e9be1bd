//! From SQLite's result codes (<https://www.sqlite.org/rescode.html>) to the codes of kv.

use rustix::process::{Resource, getrlimit};

use super::files::{index_path, log_path};
use super::place;
use super::room::no_room;
use crate::store::error::{Code, Error};
use crate::store::open::SqlitePlace;

const ERROR: u32 = 1;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NOMEM: u32 = 7;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const PROTOCOL: u32 = 15;
const TOOBIG: u32 = 18;
const CONSTRAINT: u32 = 19;
const MISMATCH: u32 = 20;
const NOTADB: u32 = 26;

const IOERR_WRITE: u32 = IOERR | 3 << 8;
const IOERR_SHMSIZE: u32 = IOERR | 19 << 8;

/// The largest page of SQLite, in bytes: a write that failed at a limit began at most this far before it.
const PAGE_BYTES_MAX: u64 = 65_536;

/// The extended result code; none when the error is not one of SQLite's.
fn code(error: &rusqlite::Error) -> Option<u32> {
    error.sqlite_error().and_then(|error| u32::try_from(error.extended_code).ok())
}

fn primary_code(error: &rusqlite::Error) -> Option<u32> {
    code(error).map(|code| code & 0xff)
}

pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(primary_code(error), Some(BUSY | LOCKED))
}

/// Whether a file could not be opened, created or written to.
pub(super) fn is_denied(error: &rusqlite::Error) -> bool {
    matches!(primary_code(error), Some(READONLY | CANTOPEN))
}

/// Whether there was no space. SQLite has a code for that only when the disk is full and the file is not the index of
/// the log; a file-size limit is an I/O error to it.
pub(super) fn is_full(error: &rusqlite::Error, place: &SqlitePlace) -> bool {
    match code(error) {
        Some(IOERR_WRITE) => is_at_file_size_limit(place),
        Some(IOERR_SHMSIZE) => true,
        Some(code) => code & 0xff == FULL,
        None => false,
    }
}

/// Whether a COMMIT that failed like this has certainly committed nothing, though it was writing the log.
///
/// SQLite writes the frames of a transaction one after the other, the committing one last, then syncs the log, then
/// adds the frames to the index (`walFrames`; it repeats the last frame only with `psow=0`). So when a write found no
/// space, the last frame is missing or cut off, and a recovery drops the frames before it. A sync that fails, or an
/// index that cannot grow, comes after the last frame.
pub(super) fn is_cut_off(error: &rusqlite::Error, place: &SqlitePlace) -> bool {
    code(error) != Some(IOERR_SHMSIZE) && is_full(error, place)
}

fn is_at_file_size_limit(place: &SqlitePlace) -> bool {
    let (Some(limit), SqlitePlace::File { path, .. }) = (getrlimit(Resource::Fsize).current, place) else {
        return false;
    };
    [path.clone(), log_path(path), index_path(path)].iter().any(|path| {
        path.metadata().is_ok_and(|metadata| metadata.len().saturating_add(PAGE_BYTES_MAX) > limit)
    })
}

/// Whether SQLite cannot read the files as a database.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(primary_code(error), Some(CORRUPT | NOTADB))
}

/// Whether a commit that failed like this leaves the content of the files unknown until they are recovered: after a
/// failed sync, for example, the system may have dropped the unsynced pages.
pub(super) fn is_fatal(error: &rusqlite::Error, place: &SqlitePlace) -> bool {
    matches!(primary_code(error), Some(IOERR | CORRUPT | NOTADB)) && !is_full(error, place)
}

/// Whether a request that failed like this will fail alone too.
pub(super) fn is_pointless_alone(error: &rusqlite::Error, place: &SqlitePlace) -> bool {
    is_busy(error) || is_fatal(error, place)
}

/// The error for the caller. It names the place and SQLite's own words, never data.
pub(super) fn describe(error: &rusqlite::Error, place: &SqlitePlace) -> Error {
    let words = error.to_string();
    if is_full(error, place) {
        return no_room(place);
    }
    match primary_code(error) {
        Some(BUSY | LOCKED | PROTOCOL) => in_use(place),
        Some(READONLY) if matches!(place, SqlitePlace::File { read_only: true, .. }) => {
            Error::new(Code::ReadOnly, format!("{place} is opened with mode=ro, so nothing can be written"))
                .hint("leave out mode=ro")
        }
        Some(READONLY) => denied(Code::ReadOnly, format!("{place} cannot be written to"), &words, place),
        // The statements of kv never change. When one does not fit the tables, the tables or rows are not those that kv
        // made.
        Some(CORRUPT | ERROR | TOOBIG | CONSTRAINT | MISMATCH) => damaged(place, &words),
        Some(NOTADB) => Error::new(Code::Unsupported, format!("{place} is not a SQLite database"))
            .hint("check the path, or restore a backup if it was a store; kv has not touched the file"),
        Some(NOMEM) => Error::new(Code::Unavailable, format!("there is not enough memory for {place}"))
            .hint("free some memory and try again"),
        Some(IOERR) => Error::new(Code::Unavailable, format!("{place} cannot be read or written: {words}"))
            .hint("check the disk and the permissions of the directory"),
        Some(CANTOPEN) => denied(Code::Unavailable, format!("{place} cannot be opened"), &words, place),
        _ => Error::new(Code::Internal, format!("{place}: {words}")),
    }
}

/// The error for files that this user may not use in this way; SQLite does not tell which of them it is.
fn denied(code: Code, message: String, words: &str, place: &SqlitePlace) -> Error {
    let SqlitePlace::File { path, read_only } = place else {
        return Error::new(code, format!("{message}: {words}"));
    };
    let why = place::denial(path, !read_only).unwrap_or_else(|| words.to_owned());
    let hint = "check the permissions of the file, of its -wal and -shm and of its directory";
    let error = Error::new(code, format!("{message}: {why}"));
    if *read_only { error.hint(hint) } else { error.hint(format!("{hint}; mode=ro reads without writing")) }
}

/// The error for a store that cannot be read as it stands: a transaction was cut off, or another process has it open in
/// a way that cannot be shared.
pub(super) fn unrecovered(error: &rusqlite::Error, place: &SqlitePlace) -> Error {
    if let SqlitePlace::File { path, .. } = place
        && place::denial(path, false).is_some()
    {
        return denied(Code::Unavailable, format!("{place} cannot be opened"), &error.to_string(), place);
    }
    let message = format!("{place} cannot be read without the right to write: it was not closed");
    Error::new(Code::Unavailable, message)
        .hint("let a command of a user who may write to it recover it, or copy it with the files beside it")
}

/// The error for a store that another process does not release in time.
pub(super) fn in_use(place: &SqlitePlace) -> Error {
    Error::new(Code::Busy, format!("{place} is kept busy by another process"))
        .hint("try again, or look for a program that holds a transaction open")
}

/// The error for files whose content kv did not write.
pub(super) fn damaged(place: &SqlitePlace, what: &str) -> Error {
    let mut error = Error::new(Code::Unavailable, format!("{place} is damaged: {what}"))
        .hint("restore a backup, or save what is left with: sqlite3 FILE .recover");
    error.retry = false;
    error
}
