//! From SQLite's result codes (<https://www.sqlite.org/rescode.html>) to the codes of kv.

use crate::store::error::{Code, Error};

const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
const NOTADB: u32 = 26;

/// The primary result code, when the error is one of SQLite's.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(BUSY | LOCKED))
}

pub(super) fn is_io(error: &sqlx::Error) -> bool {
    matches!(primary_code(error), Some(IOERR))
}

/// The error that a caller sees. Only the place and SQLite's own words are told, never data.
pub(super) fn describe(error: &sqlx::Error, place: &str) -> Error {
    let words = match error.as_database_error() {
        Some(database) => database.message().to_owned(),
        None => error.to_string(),
    };
    match primary_code(error) {
        Some(BUSY | LOCKED) => Error::new(Code::Busy, format!("{place} is kept busy by another process"))
            .hint("try again, or look for a program that holds a transaction open"),
        Some(READONLY) => Error::new(Code::ReadOnly, format!("{place} cannot be written to: {words}"))
            .hint("check the permissions of the file and of its directory"),
        Some(FULL) => Error::new(Code::StoreFull, format!("no space is left for {place}"))
            .hint("free some space; reads go on meanwhile"),
        Some(CORRUPT) => Error::new(Code::Unavailable, format!("{place} is damaged: {words}"))
            .hint("restore a backup, or save what is left with: sqlite3 FILE .recover"),
        Some(NOTADB) => Error::new(Code::Unsupported, format!("{place} is no SQLite database"))
            .hint("check the path; kv has not touched the file"),
        Some(IOERR) => Error::new(Code::Unavailable, format!("{place} cannot be read or written: {words}"))
            .hint("check the disk and the permissions of the directory"),
        Some(CANTOPEN) => Error::new(Code::Unavailable, format!("{place} cannot be opened: {words}"))
            .hint("check the permissions of the file and of its directory"),
        _ => Error::new(Code::Internal, format!("{place}: {words}")),
    }
}
