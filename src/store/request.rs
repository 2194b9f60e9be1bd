//! The requests to a store.
//!
//! A [`Request`] is data, so that one function of a [`Store`](super::Store) carries every operation, whether the
//! store is in this process or behind a socket.

mod check;
mod expiry;
mod import;
mod increment;
mod mutation;
mod read;

use std::time::Duration;

use super::filter::Filter;
use super::subscription::Start;
pub(crate) use check::check_value;
pub use expiry::{Expire, ExpiryChange};
pub use import::{Import, OnConflict};
pub use increment::Increment;
pub use mutation::{Check, Condition, Delete, Mutation, Patch, PatchFormat, Put, Target, TypeChange};
pub use read::{ConsumerGet, List, NameList, Read, Selector, Stream};

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Creates the store, or brings its schema up to date.
    Init,
    /// Changes the store.
    Write(Write),
    /// Reads the store.
    Read(Read),
    /// Returns the free space in the files of the store to the file system.
    Compact,
    /// Puts the store that was staged beside this one in its place: see [`maintenance::stage`](super::maintenance::stage).
    Restore {
        /// The epoch of the staged store.
        epoch: String,
    },
}

impl Request {
    /// Whether the outcome is unknown when the answer is lost: the store may have been changed.
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
    /// gets the same answer without being applied again. Not with locks, which are safe to repeat by themselves. A repeat
    /// of a large [`Delete`] that was broken off does the rest.
    pub once: Option<String>,
    /// A lock that must not have been granted to another owner since; not with locks.
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
#[non_exhaustive]
pub enum WriteOperation {
    /// One mutation.
    Apply(Mutation),
    /// Several mutations in order, all or none.
    Mutate(Vec<Mutation>),
    /// Removes the oldest part of the stream.
    Trim(Trim),
    /// Says how much of the stream is kept from now on.
    Retain(Retention),
    /// Acquires or refreshes a lock.
    LockAcquire(LockAcquire),
    /// Releases a lock.
    LockRelease(LockRelease),
    /// Advances the position of a consumer.
    ConsumerCommit(ConsumerCommit),
    /// Removes a consumer.
    ConsumerDelete {
        /// The consumer.
        name: String,
    },
    /// Makes a session the holder of a consumer. [`Store::subscribe`](super::Store::subscribe) is built on it; a client
    /// cannot send it to a daemon.
    #[doc(hidden)]
    ConsumerHold(ConsumerHold),
    /// Ends the hold of a session on a consumer; a client cannot send it to a daemon either.
    #[doc(hidden)]
    ConsumerLeave(ConsumerLeave),
    /// Removes some of the records that have expired, those first that expired first. Every write does, and an open store does it
    /// in time while nobody writes; a client cannot send it to a daemon either.
    #[doc(hidden)]
    RemoveExpired,
}

impl WriteOperation {
    /// Whether it is a lone delete of a prefix, of a range or of everything, which may take long.
    pub(crate) fn is_range_delete(&self) -> bool {
        matches!(self, WriteOperation::Apply(Mutation::Delete(Delete { target: Target::Selection(_), .. })))
    }
}

/// A fencing token: the write is applied only while the lock has this token and was not released. The write does not
/// fail because the lock has expired, but because another owner has acquired it since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The name of the lock.
    pub lock: String,
    /// The `fence` of its [`Grant`](super::Grant).
    pub token: u64,
}

/// How much of the stream is kept: everything, unless there is a bound. The processes that write to the store apply it, up
/// to a minute later.
///
/// ```
/// use std::time::Duration;
///
/// use kv::store::{Retention, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// let month = Duration::from_secs(30 * 24 * 60 * 60);
/// let retention = Retention { age: Some(month), unread: true, ..Retention::default() };
/// store.stream_retain(retention).await?;
/// assert_eq!(store.stream_retention().await?, retention);
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Changes that are older than this are removed. From 1 ms to 100 years.
    pub age: Option<Duration>,
    /// All but the newest ones are removed, so many of which are kept.
    pub count: Option<u64>,
    /// A change that a consumer has not dealt with is kept in any case.
    pub unread: bool,
}

/// The part of the stream that is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trim {
    /// Every change up to this seq; 0 = none.
    UpTo(u64),
    /// Every change.
    All,
}

/// Acquires a lock, or refreshes it when the owner has it already: a refresh keeps the fence, and the lock never
/// expires earlier.
///
/// With a `fence`, only the grant of that fence is refreshed, and no other one is made. The grant may have expired, as
/// long as no other owner has acquired the lock since and it was not released. So an owner that was asleep or cut off
/// goes on when nothing has happened in the meantime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockAcquire {
    /// The lock, 1 to 256 bytes.
    pub name: String,
    /// The owner that acquires it, 1 to 256 bytes.
    pub owner: String,
    /// How long it is held, in whole milliseconds: from 1 ms to
    /// [`limits::LOCK_DURATION_MS`](crate::limits::LOCK_DURATION_MS), which is 100 years.
    pub duration: Duration,
    /// The fence of the grant to refresh; none = refresh a grant of this owner, or make a new one.
    pub fence: Option<u64>,
}

impl LockAcquire {
    /// Acquires this lock for an owner, or refreshes the grant that the owner has.
    #[must_use]
    pub fn new(name: impl Into<String>, owner: impl Into<String>, duration: Duration) -> LockAcquire {
        LockAcquire { name: name.into(), owner: owner.into(), duration, fence: None }
    }

    /// Only refreshes the grant with this fence.
    #[must_use]
    pub fn refresh(self, fence: u64) -> LockAcquire {
        LockAcquire { fence: Some(fence), ..self }
    }
}

/// Releases a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockRelease {
    /// The lock.
    pub name: String,
    /// The owner that acquired it.
    pub owner: String,
    /// Release only the grant with this fence; none = any grant of the owner.
    pub fence: Option<u64>,
    /// Release only a grant that was refreshed this many times: the same owner may have refreshed it in the meantime.
    /// None = any number of times. A client cannot send it to a daemon.
    #[doc(hidden)]
    pub refreshes: Option<u64>,
}

impl LockRelease {
    /// Releases any grant of the owner.
    #[must_use]
    pub fn new(name: impl Into<String>, owner: impl Into<String>) -> LockRelease {
        LockRelease { name: name.into(), owner: owner.into(), fence: None, refreshes: None }
    }
}

/// Advances the position of a consumer. A `seq` below its position changes nothing; a consumer that does not exist is
/// created.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerCommit {
    /// The consumer, 1 to 256 bytes.
    pub name: String,
    /// The last seq that was dealt with.
    pub seq: u64,
    /// The session that holds the consumer; none = no session may hold it.
    pub holder: Option<String>,
    /// The changes that the consumer wants: kept when it is created, and otherwise compared with those that it keeps, unless
    /// it names all of them.
    pub filter: Filter,
}

/// Makes a session the holder of a consumer, or renews its hold.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerHold {
    /// The consumer; created when it does not exist.
    pub name: String,
    /// The session.
    pub holder: String,
    /// How long the hold lasts unless it is renewed, in whole milliseconds.
    pub duration: Duration,
    /// Where the consumer begins when it does not exist; none = with the first change that is kept.
    pub start: Option<Start>,
    /// The changes that the consumer wants; see [`ConsumerCommit::filter`].
    pub filter: Filter,
    /// Only renew a hold that the session still has. A lost hold is not acquired again, because the session would not
    /// read the position anew.
    pub renew: bool,
}

/// Ends the hold of a session.
#[doc(hidden)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerLeave {
    /// The consumer.
    pub name: String,
    /// The session.
    pub holder: String,
}
