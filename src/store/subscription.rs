//! Subscriptions: the request, the events, and the handle from which the caller reads.

use std::time::Duration;

use async_trait::async_trait;

use super::error::{Code, Error, Result};
use super::filter::Filter;
use super::keys::check_name;
use super::record::Change;
use super::reply::Identity;

/// The changes that a subscription wants, and where it starts.
///
/// ```
/// use std::time::Duration;
///
/// use futures_util::{StreamExt as _, TryStreamExt as _};
/// use kv::store::{List, Store, StoreExt, Subscribe};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// // What a page of a listing holds is kept up to date by the changes behind it, in the same history of the store.
/// let epoch = store.identity().await?.epoch;
/// let page = store.page(List::default()).await?;
/// let changes = store.subscribe(Subscribe::after(page.seq).epoch(epoch)).await?.changes();
/// store.put_json("a", &1).await?;
/// let keys = changes.take(1).map_ok(|change| change.record.key);
/// assert_eq!(keys.try_collect::<Vec<String>>().await?, ["a"]);
///
/// // The store keeps the position of a consumer.
/// let mut consumer = store.subscribe(Subscribe::consumer("jobs").wait(Duration::from_secs(10))).await?;
/// consumer.next().await?;
/// assert_eq!(consumer.commit(1).await?, 1);
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// Where to start; none = with the next change, for a consumer with the first change that is kept. A consumer that
    /// exists already starts after its position.
    pub start: Option<Start>,
    /// Which changes are wanted.
    pub filter: Filter,
    /// Follow as the consumer of this name: its position is kept in the store, and only one session at a time follows
    /// as it. See [`Subscription::commit`].
    pub consumer: Option<String>,
    /// How long to wait while another session follows as that consumer.
    pub wait: Duration,
    /// The epoch to which `start` belongs; the subscription fails with `epoch_changed` when the store has another one.
    pub epoch: Option<String>,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// With the next change.
    Now,
    /// After this seq, the last one that was seen; 0 = with the first change of the store.
    After(u64),
}

impl Subscribe {
    /// All changes after this seq.
    #[must_use]
    pub fn after(seq: u64) -> Subscribe {
        Subscribe { start: Some(Start::After(seq)), ..Subscribe::default() }
    }

    /// All changes after the position of this consumer.
    #[must_use]
    pub fn consumer(name: impl Into<String>) -> Subscribe {
        Subscribe { consumer: Some(name.into()), ..Subscribe::default() }
    }

    /// Of the changes only those that match this filter.
    #[must_use]
    pub fn filter(self, filter: Filter) -> Subscribe {
        Subscribe { filter, ..self }
    }

    /// Waits so long while another session follows as the consumer.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Subscribe {
        Subscribe { wait, ..self }
    }

    /// Fails with `epoch_changed` unless the store has this epoch, to which the position belongs.
    #[must_use]
    pub fn epoch(self, epoch: impl Into<String>) -> Subscribe {
        Subscribe { epoch: Some(epoch.into()), ..self }
    }

    /// Checks that a store could answer the request.
    ///
    /// # Errors
    /// `bad_request` or `too_large`, with the field.
    pub fn check(&self) -> Result<()> {
        self.filter.check()?;
        match &self.consumer {
            Some(name) => check_name("consumer", name),
            None if !self.wait.is_zero() => Err(Error::bad_field("wait_ms", "only a consumer is waited for")),
            None => Ok(()),
        }
    }
}

/// An event of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The next change that is wanted, in the order of the stream.
    Change(Change),
    /// No wanted change has come for a while.
    Progress {
        /// Every wanted change up to this seq was delivered.
        seq: u64,
        /// How many changes of the store are still to be examined.
        lag: u64,
    },
}

/// The changes of a store as they are committed, from any process.
///
/// It is a cursor, not a queue: a slow reader loses nothing, and costs the store nothing.
///
/// ```
/// use kv::store::{Event, Filter, JsonText, Put, Store, Subscribe};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// let mut jobs = store.subscribe(Subscribe::default().filter(Filter::prefix("jobs/"))).await?;
/// store.put(Put::new("jobs/1", JsonText::of("run")?)).await?;
/// if let Event::Change(change) = jobs.next().await? {
///     assert_eq!(change.record.key, "jobs/1");
/// }
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
pub struct Subscription {
    identity: Identity,
    seq: u64,
    source: Box<dyn Source>,
}

impl Subscription {
    pub(crate) fn new(identity: Identity, seq: u64, source: impl Source + 'static) -> Subscription {
        Subscription { identity, seq, source: Box::new(source) }
    }

    /// The store and the history that it follows.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The head of the stream when the subscription began.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The next event; waits for it without a limit. No event is lost when the future is dropped.
    ///
    /// # Errors
    /// `trimmed` when the next changes were trimmed, `epoch_changed` when the store was replaced: both are final.
    /// `consumer_busy` when another session follows as the consumer by now. `unavailable` while the store cannot be
    /// read or the daemon cannot be reached: then it may be called again.
    pub async fn next(&mut self) -> Result<Event> {
        self.source.next().await
    }

    /// Advances the position of the consumer: everything up to this seq was dealt with. Answers the position, which
    /// never goes back.
    ///
    /// Changes that were not committed are delivered again to the next session: at least once, and in order.
    ///
    /// # Errors
    /// `consumer_busy` when another session follows as the consumer by now, for example after this process was stopped
    /// for long; `future` beyond the head of the stream; `bad_request` when the subscription has no consumer.
    pub async fn commit(&mut self, seq: u64) -> Result<u64> {
        self.source.commit(seq).await
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// The source of the events of a subscription.
#[async_trait]
pub(crate) trait Source: Send {
    /// Must not lose an event when its future is dropped.
    async fn next(&mut self) -> Result<Event>;

    async fn commit(&mut self, seq: u64) -> Result<u64>;
}

/// The error for a commit by a subscription without a consumer.
pub(crate) fn no_consumer() -> Error {
    Error::new(Code::BadRequest, "this subscription has no consumer whose position could be kept")
}

/// The error for a position in another history of the store.
pub(crate) fn epoch_changed() -> Error {
    Error::new(Code::EpochChanged, "the store was replaced or restored: its stream is another one")
        .hint("list the records again, and follow from the seq of that listing")
}

/// Checks that a reader who has seen everything up to this seq can go on from there.
///
/// # Errors
/// `future` beyond the head, `trimmed` when the next change is gone.
pub(crate) fn check_position(seq: u64, first: u64, head: u64) -> Result<()> {
    if seq > head {
        return Err(future(seq, head));
    }
    if seq + 1 < first {
        let hint = format!("go on after {}; what was before it is gone", first - 1);
        return Err(trimmed(seq + 1, first).hint(hint));
    }
    Ok(())
}

/// The error for a position that the stream has not reached yet.
pub(crate) fn future(seq: u64, head: u64) -> Error {
    Error::new(Code::Future, format!("the stream ends at {head}, {seq} lies beyond it"))
        .hint("take the seq of a reply, or \"now\"")
}

/// The error for a change that was trimmed.
pub(crate) fn trimmed(seq: u64, first: u64) -> Error {
    let mut error = Error::new(Code::Trimmed, format!("the stream begins at {first}, {seq} was trimmed"))
        .hint(format!("read on from {first}; what was before it is gone"));
    error.details.first = Some(first);
    error
}
