//! The operations that a kind of database must provide: read rows, apply a plan, report changes. Neither this module
//! nor those below it hold a rule of the store.

pub(crate) mod check;
#[cfg(test)]
pub(crate) mod explained;
pub(crate) mod migrations;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod query;
#[cfg(feature = "rqlite")]
pub(crate) mod rqlite;
pub(crate) mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(any(feature = "postgres", feature = "rqlite"))]
mod tls;

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;

use self::query::{Reading, RowSink};
use self::sql::Now;
use super::commit::Batch;
use super::error::{Error, Result};
use super::plan::{Outcome, Progress, is_over};
#[cfg(any(feature = "postgres", feature = "rqlite"))]
use super::plan::{Plan, Rows};
use super::position::Position;
use super::record::Record;
use super::reply::{Compacted, Restored, Servers};
use super::time::Timestamp;

/// A database that holds one store.
///
/// A caller may drop each of these futures at any time. The engine ensures that no connection is left in the middle of
/// a statement, and that every transaction that was begun is finished.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Creates the store, or brings its schema up to date; answers whether it was created.
    async fn init(&self) -> Result<bool>;

    /// Tries once to commit a batch: takes the write lock, reads the rows that [`Batch::needs`] names, has the batch decided
    /// about them ([`Batch::decide`]), applies the plan and commits.
    async fn attempt(&self, batch: &Batch) -> std::result::Result<Decision, Failure>;

    /// Whether the attempt with this id was committed, after a [`Failure::Lost`].
    ///
    /// # Errors
    /// The reason why that cannot be read.
    async fn is_committed(&self, id: &str) -> Result<bool>;

    /// The largest total weight of the writes of one batch, in bytes.
    fn batch_bytes_max(&self) -> usize;

    /// Removes some of the changes that were trimmed, and answers whether some are left.
    async fn sweep(&self) -> Result<bool>;

    /// The record under each of these keys, in their order; a key may occur twice. A value of more than
    /// `inline_bytes_max` bytes is not loaded. Records that have expired are among them: `present` leaves them out.
    async fn point(&self, keys: &[&str], inline_bytes_max: usize) -> Result<Snapshot<Vec<Point>>>;

    /// The time by which a statement that it is about to run tells what has expired.
    fn now(&self) -> Now;

    /// Runs a read in one snapshot, and returns its sink with the rows; `query` is built on it.
    async fn read(&self, reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>>;

    /// Returns when another process may have committed since the last time that this returned; at once when that is not
    /// known.
    ///
    /// # Errors
    /// The reason why that cannot be read. The engine limits the rate of such errors: it may be called again at once.
    async fn changed(&self) -> Result<()>;

    /// Returns the free space in the files of the store to the file system.
    async fn compact(&self) -> Result<Compacted>;

    /// Puts the store that was staged under this epoch in the place of the present one. Requests under way are finished
    /// first; a repeated call changes nothing.
    async fn restore(&self, epoch: &str) -> Result<Restored>;

    /// What the servers behind the store tell of themselves; nothing where there are none, or where they tell nothing.
    async fn servers(&self) -> Result<Servers> {
        Ok(Servers::default())
    }

    /// Whether this process must not write any more: it should end, and the next one recovers the store.
    fn has_failed(&self) -> bool;

    /// Regular housekeeping, independent of requests: closes a store that was moved away, and frees space that is not
    /// needed any more.
    async fn tend(&self);

    /// Closes every connection. A request under way keeps its connection for a bounded time.
    async fn close(&self);
}

impl dyn Engine + '_ {
    /// As [`point`](Engine::point), without the records that have expired.
    pub(crate) async fn present(
        &self,
        keys: &[&str],
        inline_bytes_max: usize,
    ) -> Result<Snapshot<Vec<Point>>> {
        let mut found = self.point(keys, inline_bytes_max).await?;
        for point in &mut found.rows {
            if let Point::Record(shared) = point
                && is_over(shared.record.expires.map(Timestamp::unix_ms), found.now_ms)
            {
                *point = Point::Absent;
            }
        }
        Ok(found)
    }
}

/// Rows that were read at one instant.
#[derive(Debug)]
pub(crate) struct Snapshot<T> {
    pub position: Position,
    /// The time of the read by the clock that decides about expiries, in milliseconds since 1970 UTC.
    pub now_ms: i64,
    pub rows: T,
}

impl<T> Snapshot<T> {
    /// The head of the stream.
    pub(crate) fn seq(&self) -> u64 {
        self.position.head
    }
}

/// A lock or consumer by its name: one owner or session at a time can hold it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holdable {
    Lock(String),
    Consumer(String),
}

/// A batch that was decided, and committed where it changed something.
#[derive(Debug)]
pub(crate) struct Decision {
    /// One for each write that was decided, in order: the first ones of the batch, and at least one.
    pub outcomes: Vec<Outcome>,
    /// How far a delete of a range has come, when it is the only write and needs more slices: then the outcome is not final.
    pub unfinished: Option<Progress>,
    /// The position of the store after the batch; none when nothing was written.
    pub position: Option<Position>,
    /// Whether trimmed changes may still take space: see [`Engine::sweep`].
    pub leaves_trimmed: bool,
}

/// Why an attempt to commit a batch did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was written.
    Rejected {
        error: Error,
        /// Whether fewer writes may succeed: a write that fails must not make the others fail.
        alone_may_help: bool,
    },
    /// Nothing was written, because another process committed after the rows were read.
    Stale,
    /// The commit may have happened, and there is no way to find out.
    Unknown(Error),
    /// The answer to the commit was lost. [`Engine::is_committed`] tells by the id of the attempt whether it happened.
    #[cfg_attr(
        not(any(test, feature = "postgres", feature = "rqlite")),
        expect(dead_code, reason = "SQLite answers within the process")
    )]
    Lost {
        id: String,
        /// The decision, which stands if it happened.
        decision: Box<Decision>,
        error: Error,
    },
}

/// The result of a point read.
#[derive(Debug, Clone)]
pub(crate) enum Point {
    /// There is no record.
    Absent,
    /// A record with its value.
    Record(Arc<SharedRecord>),
    /// A record whose value is so large that a read of its own answers it, to bound what a batch holds in memory.
    Large,
}

/// A record that several replies may share.
#[derive(Debug)]
pub(crate) struct SharedRecord {
    pub record: Record,
    /// The part of its reply line that a daemon encodes once for all of them.
    pub line: OnceLock<Box<[u8]>>,
}

impl SharedRecord {
    pub(crate) fn new(record: Record) -> Arc<SharedRecord> {
        Arc::new(SharedRecord { record, line: OnceLock::new() })
    }
}

impl Point {
    /// The record; none when it is absent or was not loaded.
    pub(crate) fn into_record(self) -> Option<Record> {
        match self {
            Point::Record(shared) => {
                Some(Arc::try_unwrap(shared).map_or_else(|shared| shared.record.clone(), |own| own.record))
            }
            Point::Absent | Point::Large => None,
        }
    }
}

/// What a mutex holds. Nobody panics while holding one of an engine; a poisoned one would still hold a good value.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A runtime for work that blocks the calling thread.
#[cfg(any(feature = "postgres", all(feature = "rqlite", feature = "sqlite")))]
fn own_runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::new(super::error::Code::Internal, format!("no runtime: {error}")))
}

/// Decides a batch. One that parses values or looks at many records does so on a thread that may be held up.
#[cfg(any(feature = "postgres", feature = "rqlite"))]
async fn decide(batch: &Batch, rows: Rows, now_ms: i64) -> Result<Plan> {
    let needs = batch.needs();
    if needs.values.is_empty() && needs.ranges.is_empty() {
        return Ok(batch.decide(&needs, rows, now_ms));
    }
    let batch = batch.clone();
    tokio::task::spawn_blocking(move || batch.decide(&batch.needs(), rows, now_ms))
        .await
        .map_err(|error| ended(&error))
}

/// Runs to its end, whoever waits for it: no connection and no batch is left in the middle.
#[cfg(any(feature = "postgres", feature = "rqlite"))]
async fn to_its_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.map_err(|error| ended(&error))
}

#[cfg(any(feature = "postgres", feature = "rqlite"))]
fn ended(error: &tokio::task::JoinError) -> Error {
    Error::new(super::error::Code::Internal, format!("a task ended without an answer: {error}"))
}
