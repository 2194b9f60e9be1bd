//! SQLite: one connection that writes, and readers of their own that never wait behind a commit.
//!
//! WAL with `synchronous=FULL`: an acknowledged commit survives power loss, as far as the disk keeps its word
//! (<https://www.sqlite.org/pragma.html#pragma_synchronous>).

mod apply;
pub(crate) mod backup;
pub(crate) mod check;
mod column;
mod compact;
mod contents;
mod database;
mod direct;
mod error;
#[cfg(test)]
mod explained;
mod files;
mod header;
mod history;
mod left_log;
mod load;
mod named;
mod open;
mod place;
mod read;
pub(crate) mod restore;
mod retire;
mod room;
mod run;
mod standing;
#[cfg(test)]
pub(crate) mod traced;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use sqlx::SqliteConnection;
use tokio::sync::Mutex;

use self::database::Database;
use self::retire::Opened;
use super::page::{Bounds, ListQuery, StreamQuery};
use super::{Candidates, Committed, Engine, Got, Holdable};
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;
use crate::store::plan::{ConsumerRow, LockRow};
use crate::store::record::{Change, Record};
use crate::store::reply::{Compacted, Identity, Restored};
use crate::store::request::Write;
use crate::store::time::Clock;

/// A store in a SQLite file, or in memory.
pub(crate) struct Sqlite {
    place: SqlitePlace,
    clock: Clock,
    open: Mutex<Opened>,
    /// The name of the last lock that was looked at to see whether it is over; empty at the beginning.
    lock_sweep: std::sync::Mutex<String>,
    /// Set when a commit failed with an I/O error: what the file holds is then known only after the next process
    /// has recovered it, so nothing more may be written through this one.
    failed: AtomicBool,
}

impl Sqlite {
    pub(crate) fn new(place: SqlitePlace, clock: Clock) -> Sqlite {
        Sqlite {
            place,
            clock,
            open: Mutex::default(),
            lock_sweep: std::sync::Mutex::default(),
            failed: AtomicBool::new(false),
        }
    }

    /// The open store; opens it when it is not, or when its files are no longer those that were opened.
    async fn database(&self) -> Result<Arc<Database>> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(failed());
        }
        let mut open = self.lock_open().await?;
        // A store whose file is out of reach stays open: the file may be put back, and as long as it is open its inode
        // is not given to another one.
        let files = self.files()?;
        if let Some(database) = &open.database
            && database.files == files
            && database.is_sound().await
        {
            return Ok(Arc::clone(database));
        }
        self.retire(&mut open).await?;
        let database = Arc::new(self.open_existing().await?);
        open.database = Some(Arc::clone(&database));
        Ok(database)
    }

    /// SQLite goes on writing to files that were deleted or replaced underneath it, and to a file that was written over:
    /// so they are looked at before a batch and before its acknowledgement.
    async fn is_current(&self, database: &Database, writer: &mut SqliteConnection) -> bool {
        let goes_on = match &database.history {
            Some(history) => history.goes_on(writer).await,
            None => true,
        };
        goes_on && self.files().is_ok_and(|files| files == database.files)
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
                let outcomes = batch.iter().map(|_| Err(error.clone())).collect();
                Committed { outcomes, bounds: None, has_trimmed: false }
            }
        }
    }

    async fn sweep(&self) -> Result<bool> {
        self.sweep_trimmed(&*self.database().await?).await
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

    async fn compact(&self) -> Result<Compacted> {
        self.give_space_back().await
    }

    async fn restore(&self, epoch: &str) -> Result<Restored> {
        self.take_staged(epoch).await
    }

    async fn expiries(&self, names: &[Holdable]) -> Result<(i64, HashMap<Holdable, i64>)> {
        Ok((self.clock.now_ms(), self.database().await?.expiries(names).await?))
    }

    async fn look(&self) -> Result<bool> {
        self.database().await?.look().await
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    async fn tend(&self) {
        self.let_go_or_shrink().await;
    }

    async fn close(&self) {
        self.close_all().await;
    }
}
