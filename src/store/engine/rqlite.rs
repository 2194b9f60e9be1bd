//! rqlite: nodes that agree on a log of writes, asked over HTTP (<https://rqlite.io/docs/api/>).
//!
//! There is no lock. A batch reads at one instant what it needs, together with `kv_meta.batches`, the count of all batches; it is
//! written by one request whose first statement fails unless the count is still the same. Whoever was faster makes the
//! batch stale, and it is planned again. The request carries an id of its own, so after a lost answer it is simply sent
//! again: of the two at most one is applied.
//!
//! Nothing of a statement is left to a node to evaluate but the clock, which is read once for each batch and then written as a
//! number: so every node holds the same.

mod answer;
mod attempt;
#[cfg(feature = "sqlite")]
mod check;
mod cluster;
mod error;
#[cfg(test)]
#[cfg(feature = "sqlite")]
mod explained;
mod http;
mod look;
mod migrate;
mod nodes;
pub(crate) mod original;
mod read;
mod statement;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use self::attempt::Sent;
#[cfg(feature = "sqlite")]
pub(crate) use self::check::check;
use self::cluster::Cluster;
use self::look::Look;
use super::query::{Reading, RowSink};
use super::sql::{Dialect, Now};
use super::{Decision, Engine, Failure, Point, Snapshot, lock, to_its_end};
use crate::limits;
use crate::store::commit::Batch;
use crate::store::error::{Code, Error, Result};
#[cfg(not(feature = "sqlite"))]
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::open::rqlite::RqlitePlace;
use crate::store::reply::{Compacted, Restored, Servers};
use crate::store::time::Clock;

/// Would check the store: this build cannot read the copy of it.
///
/// # Errors
/// Always.
#[cfg(not(feature = "sqlite"))]
pub(crate) fn check(_: &RqlitePlace, _: &mut dyn FnMut(Finding), _: &mut Watcher<'_>) -> Result<Checked> {
    Err(Error::new(Code::Unsupported, "this build of kv cannot check a store on rqlite")
        .hint("the feature sqlite reads the copy that is checked"))
}

/// A store on rqlite nodes.
pub(crate) struct Rqlite {
    core: Arc<Core>,
    look: tokio::sync::Mutex<Look>,
}

/// What the tasks of an engine share.
struct Core {
    cluster: Cluster,
    clock: Clock,
    history: History,
    /// The last lock that was looked at to see whether it is over.
    lock_sweep: Mutex<String>,
    /// The id of the last batch: its row goes with the next one, so a daemon has one row in `kv_batch`.
    last_batch: Mutex<String>,
    /// The request whose answer was lost last.
    lost: Mutex<Option<Sent>>,
}

impl Core {
    /// The time that decides about expiries, where the clock of the leader shows `server_ms`.
    fn now_ms(&self, server_ms: i64) -> i64 {
        self.clock.or_server_ms(server_ms)
    }
}

/// What is known of the count of batches. It only grows, unless the nodes were given an older copy of their data.
#[derive(Default)]
struct History {
    batches: AtomicU64,
    /// The batches up to this one are known to whoever follows.
    published: AtomicU64,
    /// See [`Position::opened`](crate::store::position::Position::opened).
    opened: AtomicU64,
}

impl History {
    /// The count that a read which begins now must find at least.
    fn batches(&self) -> u64 {
        self.batches.load(Ordering::SeqCst)
    }

    /// The number of this opening of the store.
    fn opened(&self) -> u64 {
        self.opened.load(Ordering::SeqCst)
    }

    /// Notes what a read has found, which had to find `least`; answers the number of this opening of the store.
    fn note(&self, least: u64, found: u64) -> u64 {
        if found < least {
            self.batches.store(found, Ordering::SeqCst);
            self.published.store(0, Ordering::SeqCst);
            return self.opened.fetch_add(1, Ordering::SeqCst) + 1;
        }
        self.batches.fetch_max(found, Ordering::SeqCst);
        self.opened()
    }

    /// Notes a batch of this process.
    fn note_own(&self, batches: u64) {
        self.batches.fetch_max(batches, Ordering::SeqCst);
        self.published.fetch_max(batches, Ordering::SeqCst);
    }

    /// Whether this count tells of batches that whoever follows does not know of; from now on they do.
    fn is_news(&self, batches: u64) -> bool {
        self.published.swap(batches, Ordering::SeqCst) != batches
    }
}

impl Rqlite {
    pub(crate) fn new(place: RqlitePlace, clock: Clock) -> Rqlite {
        let core = Core {
            cluster: Cluster::new(place),
            clock,
            history: History::default(),
            lock_sweep: Mutex::default(),
            last_batch: Mutex::default(),
            lost: Mutex::default(),
        };
        Rqlite { core: Arc::new(core), look: tokio::sync::Mutex::default() }
    }
}

#[async_trait]
impl Engine for Rqlite {
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
        self.core.point(keys, inline_bytes_max).await
    }

    fn now(&self) -> Now {
        self.core.clock.sql_now(Dialect::Rqlite)
    }

    async fn read(&self, reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>> {
        self.core.read(reading).await
    }

    async fn changed(&self) -> Result<()> {
        self.look.lock().await.changed(&self.core).await
    }

    async fn compact(&self) -> Result<Compacted> {
        Err(Error::new(Code::Unsupported, "a store on rqlite is not compacted by kv")
            .hint("rqlited -auto-vacuum-int gives free space back to the disk"))
    }

    async fn restore(&self, _: &str) -> Result<Restored> {
        Err(Error::new(Code::Unsupported, "a store on rqlite is not restored by kv")
            .hint("rqlite restores a copy of itself: https://rqlite.io/docs/guides/backup/"))
    }

    async fn servers(&self) -> Result<Servers> {
        self.core.servers().await
    }

    fn has_failed(&self) -> bool {
        false
    }

    async fn tend(&self) {}

    async fn close(&self) {}
}
