//! What a kind of database must be able to do: read rows, apply a plan, tell of changes. No rule of the store stands here
//! or below.

pub(crate) mod check;
pub(crate) mod migrations;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod query;
pub(crate) mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;

use self::query::{Reading, RowSink};
use super::commit::Batch;
use super::error::{Error, Result};
use super::plan::{Outcome, Progress};
use super::position::Position;
use super::record::Record;
use super::reply::{Compacted, Restored};

/// A database that holds one store.
///
/// A caller may drop each of these futures at any time. The engine sees to it that no connection is left in the middle of
/// a statement, and that a transaction that was begun is finished.
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
    /// What keeps the engine from telling.
    async fn is_committed(&self, id: &str) -> Result<bool>;

    /// The most that the writes of one batch may weigh, in bytes.
    fn batch_bytes_max(&self) -> usize;

    /// Removes a part of what was trimmed, and answers whether something is left.
    async fn sweep(&self) -> Result<bool>;

    /// What stands under each of these keys, in their order; a key may come twice. A value of more than `inline_bytes_max`
    /// bytes is not loaded.
    async fn point(&self, keys: &[&str], inline_bytes_max: usize) -> Result<Snapshot<Vec<Point>>>;

    /// Reads what is asked at one instant, and answers the sink with its rows: `query` asks in this way.
    async fn read(&self, reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>>;

    /// Returns when another process may have committed since this returned last: at once, when nothing is known of that.
    ///
    /// # Errors
    /// What keeps the engine from telling, at its own pace: it may be called again at once.
    async fn changed(&self) -> Result<()>;

    /// Gives what is free in the files of the store back to the file system.
    async fn compact(&self) -> Result<Compacted>;

    /// Puts the store that was staged under this epoch in the place of the one that is there. What is under way is
    /// finished first; a repeat changes nothing.
    async fn restore(&self, epoch: &str) -> Result<Restored>;

    /// Whether this process must not write any more; it should end, and the next one recovers the store.
    fn has_failed(&self) -> bool;

    /// What is done from time to time, whether or not anything is asked: lets go of a store that was moved away, and gives
    /// back room that is not needed any more.
    async fn tend(&self);

    /// Closes every connection. A request that is under way keeps its own for a bounded time.
    async fn close(&self);
}

/// Rows that were read at one instant.
#[derive(Debug)]
pub(crate) struct Snapshot<T> {
    pub position: Position,
    /// The time by the clock that decides about expiries, in milliseconds since 1970 UTC.
    pub now_ms: i64,
    pub rows: T,
}

impl<T> Snapshot<T> {
    /// The head of the stream.
    pub(crate) fn seq(&self) -> u64 {
        self.position.head
    }
}

/// What one holder at a time can have, by its name.
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
    /// How far the delete of a range has come that is the only write and needs more slices: then the outcome is not the last
    /// one.
    pub unfinished: Option<Progress>,
    /// Where the store stands after it; none when nothing was to be written.
    pub position: Option<Position>,
    /// Whether what was trimmed may still take space: see [`Engine::sweep`].
    pub leaves_trimmed: bool,
}

/// Why an attempt to commit a batch did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was written.
    Rejected {
        error: Error,
        /// Whether fewer writes may be possible: the one that cannot be done must not harm its neighbours.
        alone_may_help: bool,
    },
    /// Nothing was written, because another process committed after the rows were read.
    Stale,
    /// The commit may have happened, and nothing can tell.
    Unknown(Error),
    /// The answer to the commit was lost. Whether it happened, [`Engine::is_committed`] tells by the id of the attempt.
    #[cfg_attr(
        not(any(test, feature = "postgres")),
        expect(dead_code, reason = "SQLite answers within the process")
    )]
    Lost {
        id: String,
        /// What the writes are told if it happened.
        decision: Box<Decision>,
        error: Error,
    },
}

/// What stands under a key.
#[derive(Debug, Clone)]
pub(crate) enum Point {
    /// Nothing.
    Absent,
    /// A record with its value.
    Record(Arc<SharedRecord>),
    /// A record whose value is so large that a read of its own answers it, to bound what a batch holds in memory.
    Large,
}

/// A record that may be shown to several.
#[derive(Debug)]
pub(crate) struct SharedRecord {
    pub record: Record,
    /// What a daemon makes of it, once for all who are sent it.
    pub line: OnceLock<Box<[u8]>>,
}

impl SharedRecord {
    pub(crate) fn new(record: Record) -> Arc<SharedRecord> {
        Arc::new(SharedRecord { record, line: OnceLock::new() })
    }
}

impl Point {
    /// The record, as far as it was loaded.
    pub(crate) fn into_record(self) -> Option<Record> {
        match self {
            Point::Record(shared) => {
                Some(Arc::try_unwrap(shared).map_or_else(|shared| shared.record.clone(), |own| own.record))
            }
            Point::Absent | Point::Large => None,
        }
    }
}
