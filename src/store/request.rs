//! What can be asked of a store.
//!
//! A [`Request`] is data, so that one function of a [`Store`](super::Store) carries every operation, whether the
//! store is in this process or behind a socket.

mod check;
mod mutation;

use super::keys::KeyRange;
use super::reply::{Changes, Page};
use super::subscription::Start;
pub(crate) use check::{check_filter, check_value};
pub use mutation::{Check, Condition, Delete, Mutation, Patch, PatchFormat, Put, Target, TypeChange};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Creates the store, or brings its schema up to date.
    Init,
    /// Changes the store.
    Write(Write),
    /// Reads the store.
    Read(Read),
    /// Gives what is free in the files of the store back to the file system.
    Compact,
    /// Puts what was staged beside the store in its place: see [`maintenance::stage`](super::maintenance::stage).
    Restore {
        /// That of what was staged.
        epoch: String,
    },
}

impl Request {
    /// Whether a lost answer leaves open whether something of the store was changed.
    pub(crate) fn may_be_unknown(&self) -> bool {
        !matches!(self, Request::Read(_) | Request::Compact)
    }
}

/// A write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What to do.
    pub operation: WriteOperation,
    /// An id of 1 to 64 bytes that the caller made up for this one write: its outcome is kept for 24 h, and a repeat
    /// gets the same answer without being applied again. Not with locks, which are safe to repeat by themselves.
    pub once: Option<String>,
    /// The lock that must not have gone to another holder; not with locks.
    pub fence: Option<Fence>,
}

impl From<WriteOperation> for Write {
    fn from(operation: WriteOperation) -> Write {
        Write { operation, once: None, fence: None }
    }
}

impl From<Mutation> for Write {
    fn from(mutation: Mutation) -> Write {
        WriteOperation::Apply(mutation).into()
    }
}

/// The operations that change a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriteOperation {
    /// One mutation.
    Apply(Mutation),
    /// Several mutations in order, all or none.
    Mutate(Vec<Mutation>),
    /// Removes the oldest part of the stream.
    Trim(Trim),
    /// Acquires or refreshes a lock.
    LockAcquire(LockAcquire),
    /// Gives a lock back.
    LockRelease(LockRelease),
    /// Moves the position of a consumer on.
    ConsumerCommit(ConsumerCommit),
    /// Forgets a consumer.
    ConsumerDelete {
        /// The consumer.
        name: String,
    },
    /// Makes a session the holder of a consumer. It stands behind [`Store::subscribe`](super::Store::subscribe), and is
    /// nothing that a client can ask a daemon for.
    ConsumerHold(ConsumerHold),
    /// Ends that, likewise.
    ConsumerLeave(ConsumerLeave),
}

/// A fencing token: the write is applied only while the lock has this token and was not released. That the lock
/// expired does not fail the write; that somebody else acquired it since then does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The name of the lock.
    pub lock: String,
    /// The `fence` that acquiring it answered.
    pub token: u64,
}

/// How much of the stream is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Every change up to this seq; 0 = none.
    UpTo(u64),
    /// Every change.
    All,
}

/// Acquires a lock, or refreshes it when the owner has it already: a refresh keeps the fence and never shortens.
///
/// With a `fence` only the grant of that fence is refreshed, and no other one is made: also when it expired, as long as
/// nobody else got the lock since and it was not released. So an owner that was asleep, or has not been heard for long,
/// goes on where nothing has happened meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockAcquire {
    /// The lock, 1 to 256 bytes.
    pub name: String,
    /// Who wants it, 1 to 256 bytes.
    pub owner: String,
    /// For how long, in milliseconds, from 1 to 100 years.
    pub duration_ms: u64,
    /// The fence of the grant that is refreshed; none = whatever the lock allows.
    pub fence: Option<u64>,
}

/// Gives a lock back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRelease {
    /// The lock.
    pub name: String,
    /// Who acquired it.
    pub owner: String,
    /// Only the grant with this fence; none = whichever the owner has.
    pub fence: Option<u64>,
    /// Only when it was refreshed so many times, which is how a grant is given back that the same owner may have
    /// refreshed meanwhile; none = however often. No daemon takes it from a client.
    pub refreshes: Option<u64>,
}

/// Moves the position of a consumer on. A smaller `seq` than its position changes nothing; a consumer that is not there is
/// made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerCommit {
    /// The consumer, 1 to 256 bytes.
    pub name: String,
    /// The last seq that was dealt with.
    pub seq: u64,
    /// The session that follows the stream under this name; none = it must have none.
    pub holder: Option<String>,
}

/// Makes a session the holder of a consumer, or renews that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHold {
    /// The consumer; made when it is not there.
    pub name: String,
    /// The session.
    pub holder: String,
    /// For how long, in milliseconds, unless it is renewed.
    pub duration_ms: u64,
    /// Where the consumer begins when it is not there; none = with the first change that is kept.
    pub start: Option<Start>,
    /// Only prolong a hold that the session still has. One that was lost is not gained again in passing: its position
    /// would not be read anew.
    pub renew: bool,
}

/// Ends the hold of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerLeave {
    /// The consumer.
    pub name: String,
    /// The session.
    pub holder: String,
}

/// The operations that only read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// One record.
    Get {
        /// Its key.
        key: String,
    },
    /// The records of these keys, in the order asked for; missing ones are left out, and a key that stands twice is
    /// answered once.
    GetBatch {
        /// At most 1,000 keys.
        keys: Vec<String>,
    },
    /// A page of records in key order.
    List(List),
    /// How many records there are.
    Count(Selector),
    /// A page of the stream.
    Stream(Stream),
    /// The bounds of the stream.
    StreamSeq,
    /// Who holds a lock.
    LockStatus {
        /// The lock.
        name: String,
    },
    /// A page of the locks that are held, in the order of their names.
    LockList(NameList),
    /// The changes behind the position of a consumer.
    ConsumerGet(ConsumerGet),
    /// How far a consumer is.
    ConsumerStatus {
        /// The consumer.
        name: String,
    },
    /// A page of the consumers, in the order of their names.
    ConsumerList(NameList),
    /// Which store this is.
    Identity,
}

/// Which records a listing, a count or a delete covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selector {
    /// All of them.
    #[default]
    All,
    /// Those whose key starts with this.
    Prefix(String),
    /// Those with `from <= key < to`.
    Range {
        /// The first key.
        from: String,
        /// The first key after the range.
        to: String,
    },
    /// Those of this type.
    Type(String),
}

impl Selector {
    /// The keys that can be selected.
    #[must_use]
    pub fn key_range(&self) -> KeyRange {
        match self {
            Selector::All | Selector::Type(_) => KeyRange::all(),
            Selector::Prefix(prefix) => KeyRange::prefix(prefix),
            Selector::Range { from, to } => KeyRange { from: from.clone(), to: Some(to.clone()) },
        }
    }

    /// The type that is selected.
    #[must_use]
    pub fn record_type(&self) -> Option<&str> {
        match self {
            Selector::Type(record_type) => Some(record_type),
            _ => None,
        }
    }
}

/// A page of records in key order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct List {
    /// Which records.
    pub selector: Selector,
    /// So many are passed over first: the cost grows with it, the one of `after` does not.
    pub offset: u64,
    /// At most so many; none = all. A page ends earlier at 1,000 records or 1 MiB.
    pub limit: Option<u64>,
    /// Only keys beyond this one, in the direction of the listing.
    pub after: Option<String>,
    /// From the last key to the first.
    pub reverse: bool,
    /// Answer the keys alone.
    pub keys_only: bool,
}

impl List {
    /// The request for what follows a page of this listing; none when nothing more is wanted, or nothing more is there.
    #[must_use]
    pub fn after_page<T>(&self, page: &Page<T>) -> Option<List> {
        let limit = left(self.limit, page.items.len());
        let after = page.next.clone().filter(|_| limit != Some(0))?;
        Some(List { offset: 0, limit, after: Some(after), ..self.clone() })
    }
}

/// What is left of a limit behind so many items.
fn left(limit: Option<u64>, items: usize) -> Option<u64> {
    limit.map(|limit| limit.saturating_sub(items as u64))
}

/// A page of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The first seq to look at; 0 = the first that is kept.
    pub seq: u64,
    /// At most so many; none = all. A page ends earlier at 1,000 changes or 1 MiB.
    pub limit: Option<u64>,
    /// Only changes of keys that start with this.
    pub prefix: Option<String>,
    /// Only changes of records of this type.
    pub record_type: Option<String>,
}

impl Stream {
    /// The request for what follows a page of the stream; none when nothing more is wanted, or nothing more is there.
    #[must_use]
    pub fn after_page(&self, page: &Changes) -> Option<Stream> {
        let limit = left(self.limit, page.changes.len());
        let is_last = page.next > page.seq || limit == Some(0);
        (!is_last).then(|| Stream { seq: page.next, limit, ..self.clone() })
    }
}

/// A page of the stream behind the position of a consumer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerGet {
    /// The consumer.
    pub name: String,
    /// Where it begins when it is not there; none = with the first change that is kept.
    pub start: Option<Start>,
    /// At most so many; none = all. A page ends earlier at 1,000 changes or 1 MiB.
    pub limit: Option<u64>,
    /// Only changes of keys that start with this.
    pub prefix: Option<String>,
    /// Only changes of records of this type.
    pub record_type: Option<String>,
}

/// A page of locks that are held, or of consumers. It ends at 1,000.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameList {
    /// Only names that start with this.
    pub prefix: String,
    /// Only names beyond this one.
    pub after: Option<String>,
}

impl NameList {
    /// The request for what follows a page of this listing; none when nothing more is there.
    #[must_use]
    pub fn after_page<T>(&self, page: &Page<T>) -> Option<NameList> {
        let after = page.next.clone()?;
        Some(NameList { prefix: self.prefix.clone(), after: Some(after) })
    }
}
