//! The connections that read: one for what is answered at once, and a few for what may take long.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::cache::Cache;
use super::connection::{Access, connect, connect_standing};
use super::error::is_busy;
use super::standing::Standing;
use super::statement::{Result, Trouble, number};
use crate::limits;

/// The connections that read one open store, each opened when it is first needed.
pub(super) struct Readers {
    path: PathBuf,
    standing: Option<Standing>,
    /// Used on the thread of whoever asks, so it never waits for other processes.
    quick: Mutex<Option<Quick>>,
    idle: Mutex<Vec<Connection>>,
    /// One for each connection that may be in use at the same time.
    pub(super) turns: Arc<Semaphore>,
}

/// The connection for reads that are answered at once.
struct Quick {
    connection: Connection,
    cache: Cache,
    /// What it saw last of the commits of others
    /// (<https://www.sqlite.org/pragma.html#pragma_data_version>).
    data_version: Option<i64>,
}

impl Readers {
    pub(super) fn new(path: &Path, standing: Option<Standing>) -> Readers {
        let turns = Arc::new(Semaphore::new(limits::SQLITE_READERS));
        Readers { path: path.to_owned(), standing, quick: Mutex::default(), idle: Mutex::default(), turns }
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        match &self.standing {
            None => connect(&self.path, Access::Read),
            Some(standing) => connect_standing(&self.path, standing),
        }
    }

    /// Opens the connection for reads at once, which may be held up by other processes.
    pub(super) fn prepare(&self) -> rusqlite::Result<()> {
        let mut quick = lock(&self.quick);
        if quick.is_none() {
            let connection = self.connect()?;
            connection.busy_timeout(Duration::ZERO)?;
            *quick = Some(Quick { connection, cache: Cache::default(), data_version: None });
        }
        Ok(())
    }

    /// Reads on this thread, without waiting for other processes; none where that is not possible now.
    pub(super) fn at_once<T>(
        &self,
        read: impl FnOnce(&Connection, &mut Cache) -> Result<T>,
    ) -> Option<Result<T>> {
        let mut quick = lock(&self.quick);
        let Quick { connection, cache, .. } = quick.as_mut()?;
        match read(connection, cache) {
            Err(Trouble::Sqlite(error)) if is_busy(&error) => None,
            outcome => Some(outcome),
        }
    }

    /// Whether another connection may have committed since this was asked last.
    pub(super) fn has_changed(&self) -> Result<bool> {
        let mut quick = lock(&self.quick);
        let Some(Quick { connection, data_version, .. }) = quick.as_mut() else { return Ok(true) };
        let before = data_version.take();
        *data_version = Some(number(connection, "pragma data_version", &[])?);
        Ok(before != *data_version)
    }

    /// Gives back the memory of what nobody has asked for lately.
    pub(super) fn age(&self) {
        if let Some(quick) = lock(&self.quick).as_mut() {
            quick.cache.age();
        }
    }

    /// Reads on this thread, which may be held up. The caller has a turn.
    pub(super) fn aside<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = lock(&self.idle).pop();
        let connection = idle.map_or_else(|| self.connect(), Ok)?;
        let outcome = read(&connection);
        lock(&self.idle).push(connection);
        outcome
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nobody panics while holding one of these; a poisoned one would still hold good connections.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
