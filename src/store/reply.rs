//! What a store answers.

use serde::{Deserialize, Deserializer, Serialize};

use super::error::{Code, Error, Result};
use super::json_text::JsonText;
use super::record::{Change, Record};
use super::time::Timestamp;

/// What a reply of one kind says: `answer!(reply, Reply::Count { count, .. } => count)` is `Ok(count)`, or the error
/// `internal` when the reply is of another kind.
macro_rules! answer {
    ($reply:expr, $kind:pat => $answer:expr) => {
        match $reply {
            $kind => Ok($answer),
            other => Err($crate::store::reply::unexpected(&other)),
        }
    };
}
pub(super) use answer;

/// What a store answers. Every read carries `seq`, the head of the stream in the snapshot it was read at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// To `Init`.
    Init {
        /// False when the store was there already.
        created: bool,
    },
    /// To `Put` and `Patch`.
    Written(Written),
    /// To `Delete`.
    Deleted(Deleted),
    /// To `Check`, which changes nothing.
    Checked,
    /// To `Mutate`: one result for each mutation, in order.
    Mutated(Vec<MutationResult>),
    /// To `Trim`.
    Trimmed {
        /// How many changes.
        trimmed: u64,
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
        /// How many records.
        count: u64,
    },
    /// To `Stream`.
    Changes(Changes),
    /// To `StreamSeq`.
    Head {
        /// The last seq, 0 on a fresh store.
        seq: u64,
        /// The first seq that is kept, or that will be.
        first: u64,
    },
    /// To `LockStatus`.
    Lock {
        /// The head of the snapshot.
        seq: u64,
        /// None when nobody holds it.
        lock: Option<Lock>,
    },
    /// To `LockList`.
    Locks(Page<Lock>),
    /// To `ConsumerCommit` and `ConsumerHold`.
    Position {
        /// The last seq that was dealt with.
        position: u64,
    },
    /// To `ConsumerDelete`.
    Forgotten {
        /// False when there was no such consumer.
        deleted: bool,
    },
    /// To `ConsumerGet`.
    Consumed {
        /// The changes behind the position; committing the seq before `next` deals with all of them.
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

/// What one mutation of a mutate did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MutationResult {
    /// A put or a patch.
    Written(Written),
    /// A delete.
    Deleted(Deleted),
    /// A check.
    Checked,
}

impl From<MutationResult> for Reply {
    fn from(result: MutationResult) -> Reply {
        match result {
            MutationResult::Written(written) => Reply::Written(written),
            MutationResult::Deleted(deleted) => Reply::Deleted(deleted),
            MutationResult::Checked => Reply::Checked,
        }
    }
}

/// Where a written record stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Its new version.
    pub version: u64,
    /// Its new revision.
    pub revision: u64,
    /// Its new value, when a patch asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub value: Option<JsonText>,
}

/// What a delete removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// How many records.
    pub deleted: u64,
    /// The stream number of the last one's delete.
    pub revision: Option<u64>,
}

/// A lock as its owner has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// Grows with every grant of any lock of the store; a refresh keeps it.
    pub fence: u64,
    /// How often this grant was refreshed, this time included. A daemon does not tell: 0.
    pub refreshes: u64,
    /// Until when, unless it is refreshed.
    pub expires: Timestamp,
}

/// A lock that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    /// Its name.
    pub name: String,
    /// Who holds it.
    pub owner: String,
    /// The token of this grant.
    pub fence: u64,
    /// Until when, unless it is refreshed.
    pub expires: Timestamp,
}

/// A durable position in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// The last seq that was dealt with.
    pub position: u64,
    /// The session that follows the stream under this name.
    pub holder: Option<String>,
    /// Until when, unless that is renewed.
    pub expires: Option<Timestamp>,
}

/// Part of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The head of the stream in the snapshot of this page.
    pub seq: u64,
    /// The items, in order.
    pub items: Vec<T>,
    /// Where to go on, when there is more: the `after` of the next `List`; for `GetBatch` the first key that was
    /// not answered.
    pub next: Option<String>,
}

/// Part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The head of the stream in the snapshot of this page.
    pub seq: u64,
    /// The changes, in order.
    pub changes: Vec<Change>,
    /// The first seq that was not examined.
    pub next: u64,
}

/// Which store this is: a copy has the same `store_id`, a restored one a new `epoch`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Random, made by init.
    pub store_id: String,
    /// Random, made by init: numbers of the stream compare only within one epoch.
    pub epoch: String,
}

/// What a compact gave back. A reader that holds an old snapshot keeps some of it until it has gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// What the store took on the disk, with its log.
    pub bytes_before: u64,
    /// What it takes now.
    pub bytes_after: u64,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The file that the store before is kept in, a name in the directory of the store; none when there was no store.
    pub replaced: Option<String>,
}

/// Tells a value that is null from one that is not there.
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

/// The error for a reply that answers another request.
pub(super) fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Internal, format!("the store answered something else: {reply:?}"))
}
