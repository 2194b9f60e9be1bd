//! SQLite: one connection that writes, and readers of their own that never wait behind a commit.
//!
//! WAL with `synchronous=FULL`: an acknowledged commit survives power loss, as far as the disk keeps its word
//! (<https://www.sqlite.org/pragma.html#pragma_synchronous>).
//!
//! A batch runs as a whole on one thread, which owns the connection that writes. Point reads run on the thread of the
//! caller, because they take a few microseconds and a change of threads takes more; every other read runs on a thread
//! that may block.

mod apply;
mod attempt;
pub(crate) mod backup;
mod cache;
pub(crate) mod check;
mod compact;
mod connection;
mod contents;
mod database;
mod direct;
mod error;
#[cfg(test)]
pub(super) mod explained;
#[cfg(test)]
pub(crate) mod fake;
mod files;
mod header;
mod history;
mod left_log;
mod load;
mod log_watch;
mod migrate;
mod open;
pub(crate) mod original;
mod place;
mod read;
mod readers;
pub(crate) mod restore;
mod retire;
mod room;
mod standing;
mod statement;
mod worker;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use self::database::{Continuity, Database};
use self::error::in_use;
use self::log_watch::LogWatch;
use self::readers::Readers;
use self::retire::Opened;
use self::worker::{Turn, Worker};
use super::query::{Reading, RowSink};
use super::sql::Now;
use super::{Decision, Engine, Failure, Point, Snapshot};
use crate::limits;
use crate::store::commit::Batch;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;
use crate::store::reply::{Compacted, Restored};
use crate::store::time::Clock;

/// A store in a SQLite file, or in memory.
pub(crate) struct Sqlite {
    core: Arc<Core>,
    worker: Worker,
}

/// What the threads of an engine share.
struct Core {
    place: SqlitePlace,
    clock: Clock,
    /// The open store, for reads; none before it is opened, and while its files are being replaced.
    database: Mutex<Option<Arc<Database>>>,
    /// Set when a commit failed with an I/O error: what the file holds is then known only after the next process
    /// has recovered it, so nothing more may be written through this one.
    failed: AtomicBool,
}

impl Core {
    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// # Errors
    /// `unavailable` when this process may not use the store any more.
    fn check_failed(&self) -> Result<()> {
        if !self.has_failed() {
            return Ok(());
        }
        Err(Error::new(
            Code::Unavailable,
            "a commit failed with an I/O error, so this process writes no more",
        )
        .hint("run the command again: a fresh process recovers the store"))
    }

    /// Sets the store that reads use; none = no store.
    fn publish(&self, database: Option<Arc<Database>>) {
        *self.database.lock().unwrap_or_else(PoisonError::into_inner) = database;
    }

    fn published(&self) -> Option<Arc<Database>> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good value.
        self.database.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sqlite {
    pub(crate) fn new(place: SqlitePlace, clock: Clock) -> Sqlite {
        let core = Core { place, clock, database: Mutex::default(), failed: AtomicBool::new(false) };
        Sqlite { core: Arc::new(core), worker: Worker::default() }
    }

    /// Checks that a store is at its place or can be made there, and changes nothing.
    ///
    /// # Errors
    /// `not_initialized`, `unavailable` or `unsupported` when that is certain; other obstacles are left to the first
    /// request.
    pub(crate) async fn check_place(&self) -> Result<()> {
        let core = Arc::clone(&self.core);
        aside(move || core.check_place()).await?
    }

    /// Runs a function on what is open, on the thread that writes.
    ///
    /// # Errors
    /// `busy` when a compact or a restore keeps that thread for longer than any request may take. A memory store has
    /// neither.
    async fn with_opened<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Core, &mut Opened) -> T + Send + 'static,
    ) -> Result<T> {
        let turn = match self.core.place {
            SqlitePlace::Memory => self.worker.turn().await,
            SqlitePlace::File { .. } => {
                self.turn_within(limits::SQLITE_BUSY_TIMEOUT).await.ok_or_else(|| in_use(&self.core.place))?
            }
        };
        self.worker.run(&self.core, turn, work).await
    }

    async fn turn_within(&self, patience: Duration) -> Option<Turn> {
        tokio::time::timeout(patience, self.worker.turn()).await.ok()
    }

    /// The open store; opens it when it is not, or when its files are no longer those that were opened.
    async fn database(&self) -> Result<Arc<Database>> {
        if let Some(database) = self.current()? {
            return Ok(database);
        }
        let open = |core: &Core, opened: &mut Opened| Ok(Arc::clone(&opened.open(core)?.database));
        if self.core.published().is_none() {
            return self.with_opened(open).await?;
        }
        // The work under way may take long, and a caller that needs the new files must learn why they cannot be opened.
        let Some(turn) = self.turn_within(limits::RETIRE_PATIENCE).await else {
            return Err(self.core.old_files_in_use());
        };
        self.worker.run(&self.core, turn, open).await?
    }

    /// The open store, when its files are certainly still those at its place; none otherwise.
    fn current(&self) -> Result<Option<Arc<Database>>> {
        self.core.check_failed()?;
        // A store whose file is out of reach stays open: the file may be put back, and while it is open its inode is
        // not given to another file.
        let files = self.core.files()?;
        let database = self.core.published().filter(|database| database.files == files);
        Ok(database.filter(|database| self.goes_on(database) == Some(true)))
    }

    /// Whether the files of an open store are still those that were opened; none when only the connection that writes
    /// can tell. While that connection is working on a batch, it finds out by itself.
    fn goes_on(&self, database: &Database) -> Option<bool> {
        match database.continuity() {
            Continuity::Certain => Some(true),
            Continuity::Broken => Some(false),
            Continuity::Doubtful if self.worker.is_busy() => Some(true),
            Continuity::Doubtful => None,
        }
    }
}

/// Runs a function to its end on a thread that may block, even when its caller no longer waits.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::new(Code::Internal, format!("a thread ended without an answer: {error}")))
}

#[async_trait]
impl Engine for Sqlite {
    async fn init(&self) -> Result<bool> {
        self.with_opened(|core, opened| opened.create(core)).await?
    }

    async fn attempt(&self, batch: &Batch) -> std::result::Result<Decision, Failure> {
        let batch = batch.clone();
        self.with_opened(move |core, opened| opened.attempt(core, &batch))
            .await
            .unwrap_or_else(|error| Err(Failure::Rejected { error, alone_may_help: false }))
    }

    async fn is_committed(&self, _: &str) -> Result<bool> {
        Err(Error::new(Code::Internal, "SQLite loses no answer"))
    }

    fn batch_bytes_max(&self) -> usize {
        limits::BATCH_BYTES
    }

    async fn sweep(&self) -> Result<bool> {
        self.with_opened(|core, opened| opened.open(core)?.sweep(core)).await?
    }

    async fn point(&self, keys: &[&str], inline_bytes_max: usize) -> Result<Snapshot<Vec<Point>>> {
        if inline_bytes_max <= limits::INLINE_VALUE_BYTES
            && let Some(found) =
                self.read_at_once(|source, cache| source.point(keys, inline_bytes_max, Some(cache)))?
        {
            return Ok(found);
        }
        let keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        self.read_aside(move |source| source.point(&keys, inline_bytes_max, None)).await
    }

    fn now(&self) -> Now {
        Now::At(self.core.clock.now_ms())
    }

    async fn read(&self, mut reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>> {
        if reading.is_small
            && let Some(Snapshot { position, now_ms, rows: () }) =
                self.read_at_once(|source, _| source.answer(&mut reading))?
        {
            return Ok(Snapshot { position, now_ms, rows: reading.rows });
        }
        self.read_aside(move |source| {
            let (position, ()) = source.answer(&mut reading)?;
            Ok((position, reading.rows))
        })
        .await
    }

    async fn changed(&self) -> Result<()> {
        let SqlitePlace::File { path, .. } = &self.core.place else {
            // No other process has a store that is in memory.
            return std::future::pending().await;
        };
        let mut looks = limits::LOOKS_AT_ONE_FILE;
        loop {
            // Whether the files are still the same is checked more rarely: it is the expensive part.
            let database = self.database().await?;
            let mut log = LogWatch::on(path);
            for _ in 0..looks {
                tokio::time::sleep(limits::LOOK_INTERVAL).await;
                let changed = database.readers.as_ref().map(Readers::has_changed).transpose();
                if changed.map_err(|trouble| trouble.describe(&self.core.place))?.unwrap_or(true) {
                    return Ok(());
                }
            }
            // What was written by now is committed soon.
            let is_written = log.is_written(limits::QUIET_LOOK_INTERVAL).await;
            looks = if is_written { limits::LOOKS_AT_ONE_FILE } else { 1 };
        }
    }

    async fn compact(&self) -> Result<Compacted> {
        self.with_opened(|core, opened| opened.compact(core)).await?
    }

    async fn restore(&self, epoch: &str) -> Result<Restored> {
        self.take_staged(epoch).await
    }

    fn has_failed(&self) -> bool {
        self.core.has_failed()
    }

    async fn tend(&self) {
        if !self.worker.has_begun() {
            // Nothing was ever opened.
            return;
        }
        if let Some(database) = self.core.published() {
            database.readers.as_ref().map(Readers::age);
            // Most of the time there is nothing to do, and the thread that writes need not be woken.
            if self.current().is_ok_and(|current| current.is_some()) && !database.has_long_log() {
                return;
            }
        }
        let Some(turn) = self.worker.turn_now() else { return };
        let tended = self.worker.run(&self.core, turn, |core, opened| opened.let_go_or_shrink(core)).await;
        if let Err(error) = tended {
            tracing::debug!(%error, "the housekeeping of the store failed");
        }
    }

    async fn close(&self) {
        let turn = self.worker.turn().await;
        if let Err(error) = self.worker.run(&self.core, turn, |core, opened| opened.close_all(core)).await {
            tracing::error!(%error, "closing the store");
        }
    }
}
