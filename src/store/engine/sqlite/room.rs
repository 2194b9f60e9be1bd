//! Space on the disk. Deletes and trims write before they free anything, so some space is reserved for them. And the
//! log never grows so far that it could not be written back: then nothing could be written any more.

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

/// The space that a batch may use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// The free bytes on the disk, without those that the log needs to be written back and those that are reserved.
    spare: u64,
    /// The size of the database in bytes.
    database: u64,
}

impl Room {
    /// No limit: the free space is not known, or the store is not on a disk.
    const UNKNOWN: Room = Room { spare: u64::MAX, database: 0 };

    pub(super) fn is_short(self) -> bool {
        self.spare == 0
    }

    /// Whether a delete could need more than there is: it copies the records to the stream, in the log and in the
    /// database.
    pub(super) fn is_to_be_watched(self, plan: &Plan) -> bool {
        plan.deletes_records() && self.spare < self.database.saturating_mul(2)
    }
}

impl Database {
    /// Measures the space, and shortens the log when it is scarce.
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

    /// Writes the log back and empties it, unless it is being read: its space is then free on the disk.
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

    /// Whether the transaction so far, and the log before it, can be written back once it is committed.
    pub(super) fn fits(&self, writer: &Connection) -> bool {
        let SqlitePlace::File { path, .. } = &self.place else { return true };
        let (Some(free), Some((_, whole))) = (free_bytes(path), pages_bytes(writer)) else {
            return true;
        };
        let grown = whole.saturating_sub(length_bytes(path));
        grown == 0 || free >= grown.saturating_mul(2).saturating_add(limits::GROWTH_MARGIN_BYTES)
    }
}

/// The bytes by which the database may grow: the free space of the disk for this user, or the rest of the file-size
/// limit of the process. None when the file system does not tell.
fn free_bytes(path: &Path) -> Option<u64> {
    let disk = statvfs(path).ok().filter(|disk| disk.f_blocks > 0)?;
    let on_disk = disk.f_bavail.saturating_mul(disk.f_frsize);
    let limit = getrlimit(Resource::Fsize).current.unwrap_or(u64::MAX);
    Some(on_disk.min(limit.saturating_sub(length_bytes(path))))
}

/// The bytes of the pages in use, and of all pages; free pages are used again before the file grows.
fn pages_bytes(writer: &Connection) -> Option<(u64, u64)> {
    // When even these cannot be read, the batch meets the same error when it reads its rows.
    let [freed, all, size] = ["pragma freelist_count", "pragma page_count", "pragma page_size"]
        .map(|pragma| number(writer, pragma, &[]).ok().and_then(|number| u64::try_from(number).ok()));
    Some((all?.saturating_sub(freed?).saturating_mul(size?), all?.saturating_mul(size?)))
}

impl Room {
    /// Refuses a batch that only makes the store grow, when it could use the reserved space.
    pub(super) fn check(self, plan: &Plan, place: &SqlitePlace) -> Result<(), Error> {
        let frees = plan.deletes_records() || plan.trims();
        // Its pages are in the log first.
        if frees || plan.grown_bytes().saturating_mul(2) <= self.spare {
            return Ok(());
        }
        Err(no_room(place))
    }
}

/// The error for a full disk, or a file at its size limit.
pub(super) fn no_room(place: &SqlitePlace) -> Error {
    Error::new(Code::StoreFull, format!("no space is left for {place}")).hint(
        "reads and deletes go on; kv stream trim makes room in the store, and kv compact gives it back to the disk; \
         or free space on the disk, or raise the file-size limit (ulimit -f)",
    )
}
