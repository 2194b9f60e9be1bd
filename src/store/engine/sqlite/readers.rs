//! The connections that read: one for reads that are answered at once, and a few for those that may take long.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::connection::{Access, connect, connect_standing};
use super::error::is_busy;
use super::standing::StandingFiles;
use super::statement::{Result, Trouble, number};
use crate::limits;
use crate::store::engine::lock;

/// The connections that read one open store, each opened when it is first needed.
pub(super) struct Readers {
    path: PathBuf,
    standing: Option<StandingFiles>,
    /// Used on the thread of the caller, so it never waits for other processes.
    quick: Mutex<Option<QuickReader>>,
    idle: Mutex<IdleReaders>,
    /// One permit for each connection that may be in use at the same time.
    pub(super) turns: Arc<Semaphore>,
}

/// The connections for reads that may take long, without those in use.
#[derive(Default)]
struct IdleReaders {
    connections: Vec<Connection>,
    last_use: Age,
}

/// How often [`Readers::age`] was called since the last use.
#[derive(Default)]
struct Age(u8);

impl Age {
    /// Counts a call; answers true once, when there was no use between two calls.
    fn ends_use(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 == 2
    }
}

/// The connection for reads that are answered at once.
struct QuickReader {
    connection: Connection,
    last_use: Age,
    cache: Cache,
    /// SQLite's `data_version` at the last check (<https://www.sqlite.org/pragma.html#pragma_data_version>).
    data_version: Option<i64>,
}

impl Readers {
    pub(super) fn new(path: &Path, standing: Option<StandingFiles>) -> Readers {
        let turns = Arc::new(Semaphore::new(limits::SQLITE_READERS));
        Readers { path: path.to_owned(), standing, quick: Mutex::default(), idle: Mutex::default(), turns }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        match &self.standing {
            None => connect(&self.path, Access::Read),
            Some(standing) => connect_standing(&self.path, standing),
        }
    }

    /// Opens the connection for reads that are answered at once. Opening it may have to wait for other processes.
    pub(super) fn prepare(&self) -> rusqlite::Result<()> {
        let mut quick = lock(&self.quick);
        if quick.is_none() {
            let connection = self.connect()?;
            connection.busy_timeout(Duration::ZERO)?;
            let (cache, last_use) = (Cache::default(), Age::default());
            *quick = Some(QuickReader { connection, last_use, cache, data_version: None });
        }
        Ok(())
    }

    /// Reads on this thread, without waiting for other processes; none when that is not possible now.
    pub(super) fn at_once<T>(
        &self,
        read: impl FnOnce(&Connection, &mut Cache) -> Result<T>,
    ) -> Option<Result<T>> {
        let mut quick = lock(&self.quick);
        let QuickReader { connection, last_use, cache, .. } = quick.as_mut()?;
        *last_use = Age::default();
        match read(connection, cache) {
            Err(Trouble::Sqlite(error)) if is_busy(&error) => None,
            outcome => Some(outcome),
        }
    }

    /// Whether another connection may have committed since the last call.
    pub(super) fn has_changed(&self) -> Result<bool> {
        let mut quick = lock(&self.quick);
        let Some(QuickReader { connection, data_version, .. }) = quick.as_mut() else { return Ok(true) };
        let before = data_version.take();
        *data_version = Some(number(connection, "pragma data_version", &[])?);
        Ok(before != *data_version)
    }

    /// Frees the memory of records that were not read lately, and that of connections that were not used lately. To be
    /// called from time to time.
    pub(super) fn age(&self) {
        let mut idle = lock(&self.idle);
        if idle.last_use.ends_use() {
            idle.connections.clear();
        }
        drop(idle);
        if let Some(QuickReader { connection, last_use, cache, .. }) = lock(&self.quick).as_mut() {
            cache.age();
            // Pages of the database, which SQLite would keep for as long as the connection is open.
            if last_use.ends_use()
                && let Err(error) = connection.execute_batch("pragma shrink_memory")
            {
                tracing::debug!(%error, "the memory of a connection is not freed");
            }
        }
    }

    /// Reads on this thread, which may block. The caller holds a turn.
    pub(super) fn aside<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle).connections.pop();
        let connection = idle.map_or_else(|| self.connect(), Ok)?;
        let outcome = read(&connection);
        let mut idle = lock(&self.idle);
        idle.connections.push(connection);
        idle.last_use = Age::default();
        outcome
    }
}
