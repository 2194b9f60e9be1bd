//! Room on the disk. Deletes and trims write before they free anything, so some is kept for them. And the log is never let
//! grow so far that what it holds could not be written back: then nothing could be written any more.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use rustix::fs::statvfs;
use rustix::process::{Resource, getrlimit};

use super::database::Database;
use super::files::{length_bytes, log_path};
use super::statement::number;
use crate::limits;
use crate::store::error::{Code, Error};
use crate::store::open::SqlitePlace;
use crate::store::plan::Plan;

/// What room there is for a batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// The bytes on the disk that neither what the log holds nor what is kept may need.
    spare: u64,
    /// The bytes of the database.
    database: u64,
}

impl Room {
    /// Where nothing is known of a disk, or nothing is on one.
    const UNKNOWN: Room = Room { spare: u64::MAX, database: 0 };

    pub(super) fn is_short(self) -> bool {
        self.spare == 0
    }

    /// Whether a delete could need more than there is: what it moves to the stream stands in the log and in the database.
    pub(super) fn is_to_be_watched(self, plan: &Plan) -> bool {
        plan.deletes_records() && self.spare < self.database.saturating_mul(2)
    }
}

impl Database {
    /// Looks how much room there is, and shortens the log when that is little.
    pub(super) fn room(&self, writer: &Connection) -> Room {
        let SqlitePlace::File { path, .. } = &self.place else { return Room::UNKNOWN };
        let Some(free) = free_bytes(path) else { return Room::UNKNOWN };
        let log = || length_bytes(&log_path(path));
        let room = |free: u64, log: u64, kept: u64| Room {
            spare: free.saturating_sub(log.saturating_add(kept)),
            database: length_bytes(path),
        };
        let first = room(free, log(), limits::KEPT_BYTES);
        if !first.is_short() {
            return first;
        }
        let Some((used, _)) = pages_bytes(writer) else { return first };
        let kept = used.min(limits::KEPT_BYTES);
        let second = room(free, log(), kept);
        if !second.is_short() {
            return second;
        }
        self.shorten_log(writer, limits::LOG_READERS_TIMEOUT);
        free_bytes(path).map_or(second, |free| room(free, log(), kept))
    }

    /// Writes the log back and empties it, as far as nobody reads it: what it held is then free on the disk.
    pub(super) fn shorten_log(&self, writer: &Connection, patience: Duration) {
        if let Some(history) = &self.history
            && (!history.goes_on(writer) || self.is_cut_off())
        {
            return;
        }
        let shortened = writer
            .busy_timeout(patience)
            .and_then(|()| writer.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())));
        if let Err(error) = writer.busy_timeout(limits::SQLITE_BUSY_TIMEOUT).and(shortened) {
            tracing::debug!(%error, place = %self.place, "the log could not be written back");
        }
        if let Some(history) = &self.history {
            history.goes_on(writer);
        }
    }

    /// Whether what a transaction has done so far, and the log before it, can be written back once it is committed.
    pub(super) fn fits(&self, writer: &Connection) -> bool {
        let SqlitePlace::File { path, .. } = &self.place else { return true };
        let (Some(free), Some((_, whole))) = (free_bytes(path), pages_bytes(writer)) else {
            return true;
        };
        let grown = whole.saturating_sub(length_bytes(path));
        grown == 0 || free >= grown.saturating_mul(2).saturating_add(limits::GROWTH_MARGIN_BYTES)
    }
}

/// What the database may grow by: what is free on the disk for this user, or what the file-size limit of the process leaves.
/// None where the file system does not tell.
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok().filter(|disk| disk.f_blocks > 0)?;
    let on_disk = disk.f_bavail.saturating_mul(disk.f_frsize);
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    Some(on_disk.min(limit.saturating_sub(length_bytes(path))))
}

/// The bytes of the pages that hold something, and of all; those that were freed are used again before there are more.
fn pages_bytes(writer: &Connection) -> Option<(u64, u64)> {
    // Where even these cannot be read, the batch is told so when it reads its rows.
    let [freed, all, size] = ["pragma freelist_count", "pragma page_count", "pragma page_size"]
        .map(|pragma| number(writer, pragma, &[]).ok().and_then(|number| u64::try_from(number).ok()));
    Some((all?.saturating_sub(freed?).saturating_mul(size?), all?.saturating_mul(size?)))
}

impl Room {
    /// Refuses what only grows the store when that could need what is kept.
    pub(super) fn check(self, plan: &Plan, place: &SqlitePlace) -> Result<(), Error> {
        let frees = plan.deletes_records() || plan.trims();
        // It stands in the log first.
        if frees || plan.grown_bytes().saturating_mul(2) <= self.spare {
            return Ok(());
        }
        Err(no_room(place))
    }
}

/// The error for a store whose disk, or whose largest allowed file, is full.
pub(super) fn no_room(place: &SqlitePlace) -> Error {
    Error::new(Code::StoreFull, format!("no space is left for {place}")).hint(
        "reads and deletes go on; kv stream trim makes room in the store, and kv compact gives it back to the disk; \
         or free space on the disk, or raise the file-size limit (ulimit -f)",
    )
}
