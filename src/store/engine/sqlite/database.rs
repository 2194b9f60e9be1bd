//! The connections to one open store, and how they are closed.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use super::error::{describe, in_use};
use super::files::{Files, length_bytes, log_path};
use super::history::History;
use super::left_log;
use super::standing::Standing;
use crate::limits;
use crate::store::error::Result;
use crate::store::open::SqlitePlace;

/// The connections to one open store.
pub(super) struct Database {
    pub(super) place: SqlitePlace,
    pub(super) writer: Mutex<SqliteConnection>,
    /// None for a memory store, whose one connection reads too.
    pub(super) readers: Option<SqlitePool>,
    /// How a connection is made that reads.
    pub(super) reader: SqliteConnectOptions,
    /// The files as they were, when they are read as they stand.
    pub(super) standing: Option<Standing>,
    /// None for a memory store.
    pub(super) files: Option<Files>,
    /// Counts the openings in this process.
    pub(super) opened: u64,
    /// Sees what others commit: a connection that is opened when somebody first asks, and what it saw last.
    pub(super) lookout: Mutex<Option<(SqliteConnection, Option<i64>)>>,
    /// A connection that only reads. When it is closed last, nothing is written back.
    keeper: Mutex<Option<SqliteConnection>>,
    /// None for a store that is not written to. Declared last, so that the descriptor is closed last.
    pub(super) history: Option<History>,
}

impl Database {
    /// A store that only this one connection can reach.
    pub(super) fn in_memory(writer: SqliteConnection, reader: SqliteConnectOptions) -> Database {
        Database {
            place: SqlitePlace::Memory,
            writer: Mutex::new(writer),
            readers: None,
            reader,
            standing: None,
            files: None,
            opened: next_opening(),
            lookout: Mutex::default(),
            keeper: Mutex::default(),
            history: None,
        }
    }

    /// A store in files, with readers that are opened when they are needed.
    pub(super) fn in_files(
        place: SqlitePlace,
        writer: SqliteConnection,
        reader: SqliteConnectOptions,
        standing: Option<Standing>,
        files: Option<Files>,
        writes: Option<(History, SqliteConnection)>,
    ) -> Database {
        let readers = SqlitePoolOptions::new()
            .max_connections(limits::SQLITE_READERS)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(reader.clone());
        let (history, keeper) = writes.unzip();
        Database {
            place,
            writer: Mutex::new(writer),
            readers: Some(readers),
            reader,
            standing,
            files,
            opened: next_opening(),
            lookout: Mutex::default(),
            keeper: Mutex::new(keeper),
            history,
        }
    }

    /// Whether what is read as it stands still stands so, and a file that is written to goes on as it was opened. While a
    /// batch is under way the batch finds that out by itself.
    pub(super) async fn is_sound(&self) -> bool {
        let stands = self.standing.as_ref().is_none_or(Standing::holds);
        let Some(history) = self.history.as_ref().filter(|history| stands && !history.is_unchanged()) else {
            return stands;
        };
        match self.writer.try_lock() {
            Ok(mut writer) => history.goes_on(&mut writer).await,
            Err(_) => !history.is_broken(),
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

    /// Whether the database file has no name any more.
    pub(super) fn is_deleted(&self) -> bool {
        self.history.as_ref().is_some_and(|history| history.main().is_deleted())
    }

    /// Writes all that the log holds back into the database file. An error leaves the log as it is.
    pub(super) async fn write_log_back(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let pragma = sqlx::query_scalar("pragma wal_checkpoint(truncate)");
        match pragma.fetch_one(&mut *writer).await {
            Ok(0) => Ok(()),
            Ok(_busy @ i64::MIN..) => Err(in_use(&self.place)),
            Err(error) => Err(describe(&error, &self.place)),
        }
    }

    /// Shrinks a log that was left large, in a moment in which nobody writes. Others who read keep it as it is.
    pub(super) async fn shrink_log(&self, path: &Path) {
        if length_bytes(&log_path(path)) <= limits::SQLITE_LOG_BYTES || !self.is_sound().await {
            return;
        }
        if let Ok(mut writer) = self.writer.try_lock() {
            self.shorten_log(&mut writer, Duration::ZERO).await;
        }
    }

    /// Closes every connection. The last one to close writes the log back and removes it, so that a copy of the file is
    /// whole; into a file that was written over, or cut off, nothing is written.
    pub(super) async fn close(self) {
        let is_foreign = self.is_written_over() || self.is_cut_off();
        let Database { writer, readers, lookout, keeper, history, .. } = self;
        if let Some((lookout, _)) = lookout.into_inner() {
            end(lookout).await;
        }
        if let Some(readers) = readers {
            readers.close().await;
        }
        let (writer, keeper) = (Some(writer.into_inner()), keeper.into_inner());
        let order = if is_foreign { [writer, keeper] } else { [keeper, writer] };
        for connection in order.into_iter().flatten() {
            end(connection).await;
        }
        drop(history);
    }
}

async fn end(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "closing the database");
    }
}

fn next_opening() -> u64 {
    static OPENED: AtomicU64 = AtomicU64::new(0);
    OPENED.fetch_add(1, Ordering::SeqCst)
}
