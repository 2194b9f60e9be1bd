//! Tells whether a log that was left beside a database belongs to it.
//!
//! A process that was killed leaves its log. When the database is then replaced by a backup, SQLite would play the log
//! into the backup: nothing in a log names its database. But kv raises the number of checkpoints in the header with the
//! first commit after each checkpoint, and a log begins anew only after a checkpoint. So in a log that belongs to a
//! database, the first header is the successor of the database's header, or the database already has one of the headers
//! in the log (<https://www.sqlite.org/fileformat2.html>, section 4.1).

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::files::{lay_log_aside, log_path};
use super::header::{Header, MainFile};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// The sizes of the header of a log, and of the header of each page in it, in bytes.
const LOG_HEADER_BYTES: u64 = 32;
const PAGE_HEADER_BYTES: u64 = 24;

/// Refuses a file that is incomplete, and moves a log that another database has left beside it out of the way.
pub(super) fn check(path: &Path, place: &SqlitePlace) -> Result<()> {
    if MainFile::open(path).is_ok_and(|main| is_cut_off(&main, &log_path(path))) {
        let message = format!("{place} is shorter than it says: it is being copied, or was cut off");
        return Err(
            Error::new(Code::Busy, message).hint("try again when the copy is complete, or restore a backup")
        );
    }
    lay_foreign_aside(path, place)
}

/// Moves a log that another database has left out of the way.
///
/// # Errors
/// `unavailable` when it cannot be renamed, or nothing may be written.
pub(super) fn lay_foreign_aside(path: &Path, place: &SqlitePlace) -> Result<()> {
    let log = log_path(path);
    if !MainFile::open(path).is_ok_and(|main| is_foreign(&main, &log)) {
        return Ok(());
    }
    if !matches!(place, SqlitePlace::File { read_only: true, .. }) {
        lay_log_aside(path);
    }
    if !log.exists() {
        return Ok(());
    }
    let message = format!("the log of another database stands beside {place}");
    let mut error = Error::new(Code::Unavailable, message);
    error.retry = false;
    Err(error.hint("check the permissions of its directory, or move the -wal file away"))
}

/// Whether the log at this path belongs to another database than the one in this file.
fn is_foreign(main: &MainFile, log: &Path) -> bool {
    holds_still(|| {
        let (Ok(header), Ok(log)) = (main.header(), File::open(log)) else { return false };
        let headers = headers(&log).unwrap_or_default();
        headers.first().is_some_and(|first| !first.is_next_of(&header)) && !headers.contains(&header)
    })
}

/// Whether a database file lacks pages that its header counts: it was cut off, or is still being copied.
///
/// A process that is killed in the middle of a checkpoint leaves such a file too. It has written the header first, from
/// the log at this path, which still holds the header and all pages after it.
pub(super) fn is_cut_off(main: &MainFile, log: &Path) -> bool {
    holds_still(|| {
        let Some(header) = main.header().ok().filter(Header::is_database) else { return false };
        let is_short = main.size_bytes().is_ok_and(|bytes| bytes < header.size_bytes());
        is_short && !File::open(log).is_ok_and(|log| headers(&log).unwrap_or_default().contains(&header))
    })
}

/// Whether a condition holds repeatedly: in the middle of a checkpoint of another process it may hold for a moment.
fn holds_still(holds: impl Fn() -> bool) -> bool {
    (0..limits::FILE_LOOKS).all(|look| {
        if look > 0 {
            std::thread::sleep(limits::FILE_LOOK_PAUSE);
        }
        holds()
    })
}

/// The headers of the database in a log, in the order of the commits; none when the log is empty.
fn headers(log: &File) -> Option<Vec<Header>> {
    let mut beginning = [0; LOG_HEADER_BYTES as usize];
    log.read_exact_at(&mut beginning, 0).ok()?;
    let page_bytes = u32::from_be_bytes([beginning[8], beginning[9], beginning[10], beginning[11]]);
    let salts = &beginning[16..24];
    let mut headers = Vec::new();
    let mut at = LOG_HEADER_BYTES;
    let mut page = [0; PAGE_HEADER_BYTES as usize];
    // After the last page of the log there may be pages of an earlier use of the file, with other salts.
    while log.read_exact_at(&mut page, at).is_ok() && page[8..16] == *salts {
        if page[..4] == [0, 0, 0, 1] {
            // A process that was killed may have written only a part of its last page.
            let Ok(header) = Header::at(log, at + PAGE_HEADER_BYTES) else { break };
            headers.push(header);
        }
        at += PAGE_HEADER_BYTES + u64::from(page_bytes.max(512));
    }
    Some(headers)
}
