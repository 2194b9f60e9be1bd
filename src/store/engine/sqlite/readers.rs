//! The connections that read: one for reads that are answered at once, and a few for those that may take long.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::connection::{Access, connect, connect_standing};
use super::error::is_busy;
use super::standing::StandingFiles;
use super::statement::{Result, Trouble, number};
use crate::limits;

/// The connections that read one open store, each opened when it is first needed.
pub(super) struct Readers {
    path: PathBuf,
    standing: Option<StandingFiles>,
    /// Used on the thread of the caller, so it never waits for other processes.
    quick: Mutex<Option<QuickReader>>,
    idle: Mutex<Vec<Connection>>,
    /// One permit for each connection that may be in use at the same time.
    pub(super) turns: Arc<Semaphore>,
}

/// The connection for reads that are answered at once.
struct QuickReader {
    connection: Connection,
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
            *quick = Some(QuickReader { connection, cache: Cache::default(), data_version: None });
        }
        Ok(())
    }

    /// Reads on this thread, without waiting for other processes; none when that is not possible now.
    pub(super) fn at_once<T>(
        &self,
        read: impl FnOnce(&Connection, &mut Cache) -> Result<T>,
    ) -> Option<Result<T>> {
        let mut quick = lock(&self.quick);
        let QuickReader { connection, cache, .. } = quick.as_mut()?;
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

    /// Frees the memory of records that were not read lately.
    pub(super) fn age(&self) {
        if let Some(quick) = lock(&self.quick).as_mut() {
            quick.cache.age();
        }
    }

    /// Reads on this thread, which may block. The caller holds a turn.
    pub(super) fn aside<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle).pop();
        let connection = idle.map_or_else(|| self.connect(), Ok)?;
        let outcome = read(&connection);
        lock(&self.idle).push(connection);
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these; a poisoned one would still hold good connections.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
