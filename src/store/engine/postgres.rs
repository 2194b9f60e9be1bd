//! PostgreSQL: one connection that writes, a few that read, and one that listens.
//!
//! Every batch locks the row of `kv_meta` first, by a statement of its own: those behind it then see what was committed before
//! the lock was gained. So the stream is dense and in the order of the commits for any number of daemons, at the
//! price of one commit at a time.
//!
//! What can be sent at once is sent at once: a batch takes two round trips, a read one.

mod attempt;
pub(crate) mod check;
mod error;
#[cfg(test)]
mod explained;
mod listen;
mod mark;
mod migrate;
pub(crate) mod original;
#[cfg(feature = "planted-defects")]
mod planted;
mod point;
mod read;
mod server;
mod session;
mod sessions;
mod statement;
mod tls;

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;

use self::listen::Listener;
use self::sessions::Sessions;
use super::query::{Reading, RowSink};
use super::sql::{Dialect, Now};
use super::{Decision, Engine, Failure, Point, Snapshot, lock, to_its_end};
use crate::limits;
use crate::store::commit::Batch;
use crate::store::error::{Code, Error, Result};
use crate::store::open::postgres::PostgresPlace;
use crate::store::reply::{Compacted, Restored, Servers};
use crate::store::time::Clock;

/// A store on a PostgreSQL server.
pub(crate) struct Postgres {
    core: Arc<Core>,
    listener: Listener,
}

/// What the tasks of an engine share.
struct Core {
    sessions: Sessions,
    clock: Clock,
    /// The last lock that was looked at to see whether it is over.
    lock_sweep: Mutex<String>,
    /// The process of the server that commits for this one, as notifications name it.
    writer_process: AtomicI32,
    /// The id of the last batch: its row goes with the next one, so a daemon has one row in `kv_batch`.
    last_batch: Mutex<String>,
}

impl Core {
    /// The time that decides about expiries, where the clock of the server shows `server_ms`.
    fn now_ms(&self, server_ms: i64) -> i64 {
        self.clock.or_server_ms(server_ms)
    }

    fn lock_sweep(&self) -> MutexGuard<'_, String> {
        lock(&self.lock_sweep)
    }

    /// Whether a notification of this process tells what this one has committed.
    fn is_writer(&self, process: i32) -> bool {
        self.writer_process.load(Ordering::SeqCst) == process
    }

    fn last_batch(&self) -> MutexGuard<'_, String> {
        lock(&self.last_batch)
    }
}

impl Postgres {
    pub(crate) fn new(place: PostgresPlace, clock: Clock) -> Postgres {
        let sessions = Sessions::new(place);
        let core = Core {
            sessions,
            clock,
            lock_sweep: Mutex::default(),
            writer_process: AtomicI32::new(0),
            last_batch: Mutex::default(),
        };
        Postgres { core: Arc::new(core), listener: Listener::default() }
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn init(&self) -> Result<bool> {
        let core = Arc::clone(&self.core);
        to_its_end(async move { core.migrate().await }).await?
    }

    async fn attempt(&self, batch: &Batch) -> std::result::Result<Decision, Failure> {
        let (core, batch) = (Arc::clone(&self.core), batch.clone());
        to_its_end(async move { core.attempt(batch).await })
            .await
            // The task may have ended anywhere.
            .unwrap_or_else(|error| Err(Failure::Unknown(error)))
    }

    async fn is_committed(&self, id: &str) -> Result<bool> {
        let (core, id) = (Arc::clone(&self.core), id.to_owned());
        to_its_end(async move { core.is_committed(&id).await }).await?
    }

    fn batch_bytes_max(&self) -> usize {
        limits::BATCH_BYTES
    }

    async fn sweep(&self) -> Result<bool> {
        let core = Arc::clone(&self.core);
        to_its_end(async move { core.sweep().await }).await?
    }

    async fn point(&self, keys: &[&str], inline_bytes_max: usize) -> Result<Snapshot<Vec<Point>>> {
        let core = Arc::clone(&self.core);
        let keys = keys.iter().map(|&key| key.to_owned()).collect();
        to_its_end(async move { core.point(keys, inline_bytes_max).await }).await?
    }

    fn now(&self) -> Now {
        self.core.clock.sql_now(Dialect::Postgres)
    }

    async fn read(&self, reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>> {
        let core = Arc::clone(&self.core);
        to_its_end(async move { core.read(reading).await }).await?
    }

    async fn changed(&self) -> Result<()> {
        self.listener.changed(&self.core).await
    }

    async fn compact(&self) -> Result<Compacted> {
        Err(Error::new(Code::Unsupported, "a store on PostgreSQL is not compacted by kv")
            .hint("its autovacuum reuses what is free; vacuum full gives it back to the disk"))
    }

    async fn restore(&self, _: &str) -> Result<Restored> {
        Err(Error::new(Code::Unsupported, "a store on PostgreSQL is not restored by kv")
            .hint("restore the database by the tools of the server, as pg_restore"))
    }

    async fn servers(&self) -> Result<Servers> {
        let core = Arc::clone(&self.core);
        to_its_end(async move { core.servers().await }).await?
    }

    fn has_failed(&self) -> bool {
        false
    }

    async fn tend(&self) {
        self.core.sessions.tend();
    }

    async fn close(&self) {
        self.listener.close().await;
        self.core.sessions.close().await;
    }
}
