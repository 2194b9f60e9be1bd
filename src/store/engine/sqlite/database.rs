//! The connections to one open store, and how they are closed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::error::{describe, in_use};
use super::files::{Files, length_bytes, log_path};
use super::history::History;
use super::left_log;
use super::readers::Readers;
use super::standing::StandingFiles;
use crate::limits;
use crate::store::error::Result;
use crate::store::open::SqlitePlace;

/// The part of an open store that all its users share.
pub(super) struct Database {
    pub(super) place: SqlitePlace,
    /// None for a memory store, whose one connection reads too.
    pub(super) readers: Option<Readers>,
    /// The versions of the files, when they are read as they stand.
    pub(super) standing: Option<StandingFiles>,
    /// None for a memory store.
    pub(super) files: Option<Files>,
    /// The number of this opening within the process.
    pub(super) opened: u64,
    /// None for a store that is not written to. Declared last, so that the descriptor is closed last.
    pub(super) history: Option<History>,
}

/// Whether the files of an open store are still those that were opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuity {
    Certain,
    Broken,
    /// The file was written to: the writing connection can tell by SQLite's counters whether by SQLite.
    Doubtful,
}

impl Database {
    /// A store that only one connection can reach.
    pub(super) fn in_memory() -> Database {
        Database {
            place: SqlitePlace::Memory,
            readers: None,
            standing: None,
            files: None,
            opened: next_opening(),
            history: None,
        }
    }

    /// A store in files, with readers that are opened when they are first needed.
    pub(super) fn in_files(
        place: SqlitePlace,
        path: &Path,
        standing: Option<StandingFiles>,
        files: Option<Files>,
        history: Option<History>,
    ) -> Database {
        let readers = Some(Readers::new(path, standing.clone()));
        Database { place, readers, standing, files, opened: next_opening(), history }
    }

    /// Whether files that are read as they stand are unchanged, and a file that is written to is still the one that was
    /// opened.
    pub(super) fn continuity(&self) -> Continuity {
        if !self.standing.as_ref().is_none_or(StandingFiles::holds) {
            return Continuity::Broken;
        }
        match &self.history {
            Some(history) if history.is_broken() => Continuity::Broken,
            Some(history) if !history.is_unchanged() => Continuity::Doubtful,
            _ => Continuity::Certain,
        }
    }

    /// Whether the file was written over while it was open.
    pub(super) fn is_written_over(&self) -> bool {
        self.history.as_ref().is_some_and(History::is_broken)
    }

    /// Whether the database file lacks pages that it should have.
    pub(super) fn is_cut_off(&self) -> bool {
        let SqlitePlace::File { path, .. } = &self.place else { return false };
        let log = log_path(path);
        self.history.as_ref().is_some_and(|history| left_log::is_cut_off(history.main(), &log))
    }

    /// Whether the log was left larger than it should stay.
    pub(super) fn has_long_log(&self) -> bool {
        let SqlitePlace::File { path, .. } = &self.place else { return false };
        length_bytes(&log_path(path)) > limits::SQLITE_LOG_BYTES
    }

    /// Whether the database file has no name any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.main().is_deleted())
    }
}

/// An open store, with the connection that writes.
pub(super) struct Open {
    pub(super) database: Arc<Database>,
    pub(super) writer: Connection,
    /// A connection that only reads. When it is the last one to close, nothing is written back.
    pub(super) keeper: Option<Connection>,
}

impl Open {
    /// Whether the files are still those that were opened.
    pub(super) fn goes_on(&self) -> bool {
        match (self.database.continuity(), &self.database.history) {
            (Continuity::Certain, _) => true,
            (Continuity::Doubtful, Some(history)) => history.goes_on(&self.writer),
            _ => false,
        }
    }

    /// Writes the whole log back into the database file. After an error the log is as it was.
    pub(super) fn write_log_back(&self) -> Result<()> {
        let place = &self.database.place;
        let busy = self.writer.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
        match busy.map_err(|error| describe(&error, place))? {
            0 => Ok(()),
            _ => Err(in_use(place)),
        }
    }

    /// Shrinks a log that was left large. It stays large while other processes read it.
    pub(super) fn shrink_log(&self) {
        if self.database.has_long_log() {
            self.database.shorten_log(&self.writer, Duration::ZERO);
        }
    }

    /// Closes every connection. The last one to close writes the log back and removes it, so that a copy of the file is
    /// complete; nothing is written into a file that was written over or cut off. Answers the store itself while it is
    /// still being read.
    pub(super) fn close(self) -> Option<Open> {
        let Open { database, writer, keeper } = self;
        let database = match Arc::try_unwrap(database) {
            Ok(database) => database,
            Err(database) => return Some(Open { database, writer, keeper }),
        };
        let is_foreign = database.is_written_over() || database.is_cut_off();
        let Database { readers, history, .. } = database;
        drop(readers);
        let (writer, keeper) = (Some(writer), keeper);
        let order = if is_foreign { [writer, keeper] } else { [keeper, writer] };
        for connection in order.into_iter().flatten() {
            if let Err((_, error)) = connection.close() {
                tracing::warn!(%error, "closing the database");
            }
        }
        drop(history);
        None
    }
}

fn next_opening() -> u64 {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    OPENED.fetch_add(1, Ordering::SeqCst)
}
