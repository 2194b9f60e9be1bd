//! Following the stream: what is asked for, what comes, and the handle that the caller reads from.

use async_trait::async_trait;

use super::error::{Code, Error, Result};
use super::keys::{check_bound, check_name};
use super::record::Change;
use super::reply::Identity;

/// Which changes are wanted, and from where on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscribe {
    /// Where to begin.
    pub start: Start,
    /// Only changes of keys that start with this.
    pub prefix: Option<String>,
    /// Only changes of records of this type.
    pub record_type: Option<String>,
    /// The history that `start` is a position of: another one is `epoch_changed`.
    pub epoch: Option<String>,
}

/// Where a subscription begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next change.
    #[default]
    Now,
    /// Behind this seq, the last one seen; 0 = with the first change of the store.
    After(u64),
}

impl Subscribe {
    /// Everything that happens behind this seq.
    #[must_use]
    pub fn after(seq: u64) -> Subscribe {
        Subscribe { start: Start::After(seq), ..Subscribe::default() }
    }

    /// Refuses what no store could answer.
    ///
    /// # Errors
    /// `bad_request` or `too_large`, with the field.
    pub fn check(&self) -> Result<()> {
        self.prefix.as_deref().map_or(Ok(()), |prefix| check_bound("prefix", prefix))?;
        self.record_type.as_deref().map_or(Ok(()), |name| check_name("type", name))
    }

    /// Whether a change is one of those that are wanted.
    pub(crate) fn covers(&self, change: &Change) -> bool {
        let has = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| Some(wanted) == found)
        };
        // The half-open range of a prefix holds the keys that start with it, and no other.
        self.prefix.as_deref().is_none_or(|prefix| change.record.key.starts_with(prefix))
            && has(&self.record_type, change.record.record_type.as_deref())
    }
}

/// What a subscription brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A change that is wanted, in the order of the stream.
    Change(Change),
    /// Nothing that is wanted came for a while.
    Progress {
        /// Every wanted change up to this seq has come.
        seq: u64,
        /// How many changes of the store are still to be looked at.
        lag: u64,
    },
}

/// The changes of a store as they are committed, from any process.
///
/// It is a cursor, not a queue: who reads slowly loses nothing, and costs the store nothing.
///
/// ```
/// use kv::store::{Address, Clock, EngineKind, Event, JsonText, LocalStore, Put, Store, Subscribe};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = LocalStore::open(&Address::parse(EngineKind::Sqlite, ":memory:")?, Clock::System);
/// # store.init().await?;
/// let mut jobs =
///     store.subscribe(Subscribe { prefix: Some("jobs/".to_owned()), ..Subscribe::default() }).await?;
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

    /// The head of the stream when it began.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// The next event; waits for it as long as it takes. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    /// `trimmed` when the changes that come next were trimmed, `epoch_changed` when the store was replaced, both for
    /// good; `unavailable` while the store cannot be read, or the daemon cannot be had: then it may be called again.
    pub async fn next(&mut self) -> Result<Event> {
        self.source.next().await
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// Where the events of a subscription come from.
#[async_trait]
pub(crate) trait Source: Send {
    /// Must not lose an event when its future is dropped.
    async fn next(&mut self) -> Result<Event>;
}

/// The error of a position in another history of the store.
pub(crate) fn epoch_changed() -> Error {
    Error::new(Code::EpochChanged, "the store was replaced or restored: its stream is another one")
        .hint("list the records again, and follow from the seq of that listing")
}

/// The error of a position that is not there yet.
pub(crate) fn future(seq: u64, head: u64) -> Error {
    Error::new(Code::Future, format!("the stream ends at {head}, {seq} lies beyond it"))
        .hint("take the seq of a reply, or \"now\"")
}
