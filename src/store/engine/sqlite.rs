//! SQLite: one connection that writes, and readers of their own that never wait behind a commit.
//!
//! WAL with `synchronous=FULL`: an acknowledged commit survives power loss, as far as the disk keeps its word
//! (<https://www.sqlite.org/pragma.html#pragma_synchronous>).

mod apply;
mod column;
mod contents;
mod error;
mod load;
mod named;
mod open;
mod place;
mod read;
mod run;
mod standing;
mod write;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;

use self::open::Files;
use self::standing::Standing;
use super::page::{Bounds, ListQuery, StreamQuery};
use super::{Candidates, Committed, Engine, Got};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;
use crate::store::plan::{ConsumerRow, LockRow};
use crate::store::record::{Change, Record};
use crate::store::reply::Identity;
use crate::store::request::Write;
use crate::store::time::Clock;

/// A store in a SQLite file, or in memory.
pub(crate) struct Sqlite {
    place: SqlitePlace,
    clock: Clock,
    /// None until the first request finds a store.
    open: Mutex<Option<Arc<Database>>>,
    /// Set when a commit failed with an I/O error: what the file holds is then known only after the next process
    /// has recovered it, so nothing more may be written through this one.
    failed: AtomicBool,
}

/// The connections to one open store.
pub(super) struct Database {
    place: SqlitePlace,
    writer: Mutex<SqliteConnection>,
    /// None for a memory store, whose one connection reads too.
    readers: Option<SqlitePool>,
    /// How a connection is made that reads.
    reader: SqliteConnectOptions,
    /// The files as they were, when they are read as they stand.
    standing: Option<Standing>,
    /// None for a memory store.
    files: Option<Files>,
    /// Counts the openings in this process.
    opened: u64,
    /// Sees what others commit: a connection that is opened when somebody first asks, and what it saw last.
    lookout: Mutex<Option<(SqliteConnection, Option<i64>)>>,
}

static OPENED: AtomicU64 = AtomicU64::new(0);

impl Database {
    /// Whether what is read as it stands still stands so.
    fn stands(&self) -> bool {
        self.standing.as_ref().is_none_or(Standing::holds)
    }

    /// Writes all that the log holds back into the database file. An error leaves the log as it is.
    async fn write_log_back(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let pragma = sqlx::query_scalar("pragma wal_checkpoint(truncate)");
        match pragma.fetch_one(&mut *writer).await {
            Ok(0) => Ok(()),
            Ok(_busy @ i64::MIN..) => Err(error::in_use(&self.place)),
            Err(error) => Err(error::describe(&error, &self.place)),
        }
    }

    /// The last connection to close writes the log back and removes it, so that a copy of the file is whole.
    async fn close(self) {
        if let Some((lookout, _)) = self.lookout.into_inner()
            && let Err(error) = lookout.close().await
        {
            tracing::debug!(%error, "closing the connection that looks");
        }
        if let Some(readers) = self.readers {
            readers.close().await;
        }
        if let Err(error) = self.writer.into_inner().close().await {
            tracing::warn!(%error, "closing the database");
        }
    }
}

impl Sqlite {
    pub(crate) fn new(place: SqlitePlace, clock: Clock) -> Sqlite {
        Sqlite { place, clock, open: Mutex::new(None), failed: AtomicBool::new(false) }
    }

    /// The open store; opens it when it is not, or when its files are no longer those that were opened.
    async fn database(&self) -> Result<Arc<Database>> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(failed());
        }
        let mut open = self.open.lock().await;
        // A store whose file is out of reach stays open: the file may be put back, and as long as it is open its inode
        // is not given to another one.
        let files = self.files()?;
        if let Some(database) = open.as_ref().filter(|database| database.files == files && database.stands())
        {
            return Ok(Arc::clone(database));
        }
        self.retire(&mut open).await?;
        let database = Arc::new(self.open_existing().await?);
        *open = Some(Arc::clone(&database));
        Ok(database)
    }

    /// Lets go of files that are no longer at their paths.
    ///
    /// When only the log or its index is gone, what the log held is saved first: SQLite still has it, and writes it
    /// back into the database; until that succeeds the files stay open. The log of a database that is gone is laid
    /// aside, because SQLite would play it into the next one; a log that came with the next one stays.
    async fn retire(&self, open: &mut Option<Arc<Database>>) -> Result<()> {
        let SqlitePlace::File { path, read_only, .. } = &self.place else { return Ok(()) };
        let Some(database) = open.as_ref() else { return Ok(()) };
        tracing::warn!(place = %self.place, "a file of the store was replaced: opening it again");
        let is_same_database = open::FileId::of(path).ok() == database.files.map(|files| files.database);
        // Closing does this only for the last connection, and another process may have one.
        if is_same_database && !read_only {
            database.write_log_back().await?;
        }
        let Some(mut shared) = open.take() else { return Ok(()) };
        let deadline = tokio::time::Instant::now() + limits::SQLITE_BUSY_TIMEOUT;
        let database = loop {
            match Arc::try_unwrap(shared) {
                Ok(database) => break database,
                // Those who are in the middle of a request with it are told that its outcome is unknown.
                Err(still_shared) if tokio::time::Instant::now() < deadline => shared = still_shared,
                Err(still_shared) => {
                    std::mem::forget(still_shared);
                    return Ok(());
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        };
        let old = database.files;
        let log = open::log_path(path);
        let log_is_stale = old.is_some_and(|old| {
            !is_same_database && old.log.is_some() && open::FileId::of(&log).ok() == old.log
        });
        database.close().await;
        let aside = path.with_extension("replaced-wal");
        if log_is_stale && std::fs::rename(&log, &aside).is_ok() {
            tracing::warn!(aside = %aside.display(), "the log of the replaced file was laid aside");
        }
        Ok(())
    }

    /// SQLite goes on writing to files that were deleted or replaced underneath it, so their inodes are compared before
    /// a batch and before its acknowledgement.
    fn is_current(&self, database: &Database) -> bool {
        self.files().is_ok_and(|files| files == database.files)
    }
}

fn failed() -> Error {
    Error::new(Code::Unavailable, "a commit failed with an I/O error, so this process writes no more")
        .hint("run the command again: a fresh process recovers the store")
}

#[async_trait]
impl Engine for Sqlite {
    async fn init(&self) -> Result<bool> {
        self.create().await
    }

    async fn write(&self, batch: &[Write]) -> Committed {
        match self.database().await {
            Ok(database) => self.write_batch(&database, batch).await,
            Err(error) => {
                Committed { outcomes: batch.iter().map(|_| Err(error.clone())).collect(), bounds: None }
            }
        }
    }

    async fn get(&self, keys: &[&str]) -> Result<Got> {
        self.database().await?.get(keys).await
    }

    async fn get_one(&self, key: &str) -> Result<(u64, Option<Record>)> {
        self.database().await?.get_one(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Candidates<Record>> {
        self.database().await?.list(query).await
    }

    async fn keys(&self, query: &ListQuery) -> Result<Candidates<String>> {
        self.database().await?.keys(query).await
    }

    async fn count(&self, query: &ListQuery) -> Result<(u64, u64)> {
        self.database().await?.count(query).await
    }

    async fn stream(&self, query: &StreamQuery) -> Result<(Bounds, Candidates<Change>)> {
        self.database().await?.stream(query).await
    }

    async fn meta(&self) -> Result<(Bounds, Identity)> {
        self.database().await?.meta().await
    }

    async fn locks(&self, query: &ListQuery) -> Result<(i64, Candidates<(String, LockRow)>)> {
        Ok((self.clock.now_ms(), self.database().await?.locks(query).await?))
    }

    async fn consumers(&self, query: &ListQuery) -> Result<(i64, Candidates<(String, ConsumerRow)>)> {
        Ok((self.clock.now_ms(), self.database().await?.consumers(query).await?))
    }

    async fn look(&self) -> Result<bool> {
        self.database().await?.look().await
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    async fn close(&self) {
        let mut open = self.open.lock().await;
        let Some(database) = open.as_ref() else { return };
        // Without a file at its path the log stays where it is: the file may yet be put back beside it.
        if self.files().is_ok_and(|files| files != database.files)
            && let Err(error) = self.retire(&mut open).await
        {
            tracing::error!(%error, "what the deleted log held could not be saved");
        }
        if let Some(Ok(database)) = open.take().map(Arc::try_unwrap) {
            database.close().await;
        }
    }
}
