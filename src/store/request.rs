//! What can be asked of a store.
//!
//! A [`Request`] is data, so that one function of a [`Store`](super::Store) carries every operation, whether the
//! store is in this process or behind a socket.

mod check;
mod mutation;
mod read;

use std::time::Duration;

use super::subscription::Start;
pub(crate) use check::{check_filter, check_value};
pub use mutation::{Check, Condition, Delete, Mutation, Patch, PatchFormat, Put, Target, TypeChange};
pub use read::{ConsumerGet, List, NameList, Read, Selector, Stream};

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

impl From<Read> for Request {
    fn from(read: Read) -> Request {
        Request::Read(read)
    }
}

impl From<WriteOperation> for Request {
    fn from(operation: WriteOperation) -> Request {
        Request::Write(operation.into())
    }
}

impl From<Mutation> for Request {
    fn from(mutation: Mutation) -> Request {
        Request::Write(mutation.into())
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
    /// Ends the hold of a session on a consumer; no client can ask a daemon for it either.
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
    /// For how long, in milliseconds: at least 1, at most 100 years.
    pub duration_ms: u64,
    /// The fence of the grant that is refreshed; none = whatever the lock allows.
    pub fence: Option<u64>,
}

impl LockAcquire {
    pub(super) fn new(name: &str, owner: &str, duration: Duration, fence: Option<u64>) -> LockAcquire {
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        LockAcquire { name: name.to_owned(), owner: owner.to_owned(), duration_ms, fence }
    }
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
