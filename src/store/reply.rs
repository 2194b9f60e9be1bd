//! The replies of a store.

use serde::{Deserialize, Deserializer, Serialize};

use super::error::{Code, Error, Result};
use super::filter::Filter;
use super::json_text::JsonText;
use super::record::{Change, Record};
use super::request::Retention;
use super::time::Timestamp;

/// The content of a reply of one kind: `answer!(reply, Reply::Count { count, .. } => count)` is `Ok(count)`, or the
/// error `internal` when the reply is of another kind.
macro_rules! answer {
    ($reply:expr, $kind:pat => $answer:expr) => {
        match $reply {
            $kind => Ok($answer),
            other => Err($crate::store::reply::unexpected(&other)),
        }
    };
}
pub(super) use answer;

/// The reply of a store to a request. Each reply to a read has `seq`, the head of the stream in the snapshot of the
/// read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// To `Init`.
    Init {
        /// False when the store existed already.
        created: bool,
    },
    /// To `Put`, `Patch`, `Expire` and `Increment`.
    Written(Written),
    /// To `Delete`.
    Deleted(Deleted),
    /// To `Import`.
    Imported(Imported),
    /// To `Check`, which changes nothing.
    Checked,
    /// To `Mutate`: one result for each mutation, in order.
    Mutated(Vec<MutationResult>),
    /// To `Trim`.
    Trimmed {
        /// The number of changes that were removed.
        trimmed: u64,
    },
    /// To `Retain`.
    Retained,
    /// To `Retention`.
    Retention {
        /// The head of the snapshot.
        seq: u64,
        /// How much of the stream is kept.
        retention: Retention,
    },
    /// To `RemoveExpired`.
    #[doc(hidden)]
    ExpiredRemoved {
        /// How many records were removed.
        removed: u64,
        /// In how many milliseconds the next one expires; 0 when others may have expired already, none when none does.
        next_ms: Option<u64>,
    },
    /// To `LockAcquire`.
    Granted(Grant),
    /// To `LockRelease`.
    Released {
        /// False when the lock was free.
        released: bool,
    },
    /// To `Get`.
    Get {
        /// The head of the snapshot.
        seq: u64,
        /// None when the key is absent.
        record: Option<Record>,
    },
    /// To `GetBatch` and `List`.
    Records(Page<Record>),
    /// To `List` with `keys_only`.
    Keys(Page<String>),
    /// To `Count`.
    Count {
        /// The head of the snapshot.
        seq: u64,
        /// The number of records.
        count: u64,
    },
    /// To `Stream`.
    Changes(Changes),
    /// To `StreamSeq`.
    Head {
        /// The last seq, 0 on a fresh store.
        seq: u64,
        /// The first seq that is kept, or the next one when none is.
        first: u64,
    },
    /// To `LockStatus`.
    Lock {
        /// The head of the snapshot.
        seq: u64,
        /// None when the lock is free.
        lock: Option<Lock>,
    },
    /// To `LockList`.
    Locks(Page<Lock>),
    /// To `ConsumerCommit`.
    Position {
        /// The last seq that was dealt with.
        position: u64,
    },
    /// To `ConsumerHold`.
    #[doc(hidden)]
    Held {
        /// The last seq that was dealt with.
        position: u64,
        /// The changes that the consumer wants.
        filter: Filter,
    },
    /// To `ConsumerDelete`.
    Forgotten {
        /// False when there was no such consumer.
        deleted: bool,
    },
    /// To `ConsumerGet`.
    Consumed {
        /// The changes after the position; to commit all of them, commit the seq before their `next`.
        changes: Changes,
        /// The position of the consumer.
        position: u64,
    },
    /// To `ConsumerStatus`.
    Consumer {
        /// The head of the snapshot.
        seq: u64,
        /// None when there is no such consumer.
        consumer: Option<Consumer>,
    },
    /// To `ConsumerList`.
    Consumers(Page<Consumer>),
    /// To `Identity`.
    Identity(Identity),
    /// To `Compact`.
    Compacted(Compacted),
    /// To `Restore`.
    Restored(Restored),
}

/// The result of one mutation of a mutate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MutationResult {
    /// A put, a patch, an increment, or a change of the expiry.
    Written(Written),
    /// A delete.
    Deleted(Deleted),
    /// An import.
    Imported(Imported),
    /// A check.
    Checked,
}

impl From<MutationResult> for Reply {
    fn from(result: MutationResult) -> Reply {
        match result {
            MutationResult::Written(written) => Reply::Written(written),
            MutationResult::Deleted(deleted) => Reply::Deleted(deleted),
            MutationResult::Imported(imported) => Reply::Imported(imported),
            MutationResult::Checked => Reply::Checked,
        }
    }
}

/// The numbers of a record that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Written {
    /// Its new version.
    pub version: u64,
    /// Its new revision.
    pub revision: u64,
    /// Its new value: of an increment, or when the patch asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub value: Option<JsonText>,
}

impl Written {
    /// The numbers alone.
    #[must_use]
    pub fn new(version: u64, revision: u64) -> Written {
        Written { version, revision, value: None }
    }
}

/// The result of a delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// The number of records that were removed.
    pub deleted: u64,
    /// The seq of the last of these deletes; none when no record was removed.
    pub revision: Option<u64>,
}

/// The result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The version of the record that is there now; 0 = none is.
    pub version: u64,
    /// The revision of the record that is there now; 0 = none is.
    pub revision: u64,
    /// What the import did.
    pub outcome: ImportOutcome,
}

/// What an import did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImportOutcome {
    /// It stored the record under a key that was absent.
    Created,
    /// It put the record in the place of another one.
    Updated,
    /// The same record was there already: nothing was written.
    Unchanged,
    /// Another record is there and was to be left, or the expiry of the imported one has passed: nothing was written.
    Skipped,
}

/// The grant of a lock to its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The fencing token: it grows with every grant of any lock of the store, and a refresh keeps it.
    pub fence: u64,
    /// How often this grant was refreshed, including this time; always 0 from a daemon.
    #[doc(hidden)]
    pub refreshes: u64,
    /// When it expires, unless it is refreshed.
    pub expires: Timestamp,
}

impl Grant {
    /// A grant that was not refreshed yet.
    #[must_use]
    pub fn new(fence: u64, expires: Timestamp) -> Grant {
        Grant { fence, refreshes: 0, expires }
    }
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// The owner that holds it.
    pub owner: String,
    /// The fencing token of its grant.
    pub fence: u64,
    /// When it expires, unless it is refreshed.
    pub expires: Timestamp,
}

impl Lock {
    /// The lock that was granted to this owner.
    #[must_use]
    pub fn new(name: impl Into<String>, owner: impl Into<String>, grant: Grant) -> Lock {
        Lock { name: name.into(), owner: owner.into(), fence: grant.fence, expires: grant.expires }
    }
}

/// A durable position in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// The last seq that was dealt with.
    pub position: u64,
    /// The changes that it wants.
    pub filter: Filter,
    /// The time of the oldest change that is still to be dealt with, whether it is wanted or not; none when there is none.
    pub waiting_since: Option<Timestamp>,
    /// The session that follows the stream under this name.
    pub holder: Option<String>,
    /// When the hold of that session expires, unless it is renewed.
    pub expires: Option<Timestamp>,
}

impl Consumer {
    /// A consumer that has dealt with everything up to this seq, wants every change, and that no session follows as.
    #[must_use]
    pub fn new(name: impl Into<String>, position: u64) -> Consumer {
        let (filter, waiting_since) = (Filter::default(), None);
        Consumer { name: name.into(), position, filter, waiting_since, holder: None, expires: None }
    }
}

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The head of the stream in the snapshot of this page.
    pub seq: u64,
    /// The items, in order.
    pub items: Vec<T>,
    /// Where the next page begins; none at the end: the `after` of the next `List`, or for `GetBatch` the first key
    /// that was not answered.
    pub next: Option<String>,
}

/// One page of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The head of the stream in the snapshot of this page.
    pub seq: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The first seq that was not examined.
    pub next: u64,
}

/// The ids of a store and of its history: a copy has the same `store_id`, and a restore begins a new `epoch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The random id of the store, made by init.
    pub store_id: String,
    /// The random id of the history, made by init or a restore: seqs are comparable only within one epoch.
    pub epoch: String,
}

/// The result of a compact. A reader that holds an old snapshot keeps some space until it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Compacted {
    /// The size of the store on the disk before, with its log.
    pub bytes_before: u64,
    /// Its size now.
    pub bytes_after: u64,
}

/// The result of a restore.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// The name of the file in the directory of the store that holds the old store; none when there was no store.
    pub replaced: Option<String>,
}

/// Distinguishes a value that is null from a missing one.
pub(crate) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl TryFrom<Reply> for Page<Record> {
    type Error = Error;

    fn try_from(reply: Reply) -> Result<Page<Record>> {
        answer!(reply, Reply::Records(page) => page)
    }
}

impl TryFrom<Reply> for Grant {
    type Error = Error;

    fn try_from(reply: Reply) -> Result<Grant> {
        answer!(reply, Reply::Granted(grant) => grant)
    }
}

impl Reply {
    /// The position of a consumer.
    pub(crate) fn into_position(self) -> Result<u64> {
        answer!(self, Reply::Position { position } => position)
    }
}

/// The error for a reply of another kind than the request has.
pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Internal, format!("the store answered something else: {reply:?}"))
}

/// What the servers behind a store tell of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Servers {
    /// Each of them.
    pub servers: Vec<Server>,
    /// By how many milliseconds the clock that decides about expiries is ahead of that of this machine.
    pub clock_ahead_ms: i64,
    /// What should be looked at, in sentences for people.
    pub warnings: Vec<String>,
}

impl Servers {
    /// By how much a clock is ahead that showed `server_ms` at some moment between two times of this machine, as far as that
    /// tells: 0 when it may have shown the same time. All are in milliseconds since 1970 UTC.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    pub(crate) fn clock_ahead_ms(server_ms: i64, asked_ms: i64, answered_ms: i64) -> i64 {
        if server_ms < asked_ms { server_ms - asked_ms } else { (server_ms - answered_ms).max(0) }
    }
}

/// One of the servers of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// What the servers call it.
    pub name: String,
    /// Its address, as it tells it.
    pub address: String,
    /// Its version, where it can be asked.
    pub version: Option<String>,
    /// Whether it leads the others.
    pub is_leader: bool,
    /// Whether the others reach it.
    pub is_reachable: bool,
    /// The last entry of the common log that it has carried out, where it can be asked from here.
    pub applied_index: Option<u64>,
    /// Why it is not reached.
    pub error: Option<String>,
}
