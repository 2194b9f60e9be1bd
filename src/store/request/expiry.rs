//! What writes say of the time for which a record stays.

use std::time::Duration;

use super::{Condition, Mutation, Write, WriteOperation};
use crate::limits;
use crate::store::error::{Error, Result};
use crate::store::keys::check_key;
use crate::store::time::whole_ms;

/// Sets or removes the expiry of a record, and changes nothing else of it. It is a write like others: it counts as a version, and
/// the stream shows it as an update.
///
/// ```
/// use std::time::Duration;
///
/// use kv::store::{Expire, JsonText, Put, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// let day = Duration::from_secs(24 * 60 * 60);
/// store.put(Put::new("session/7", JsonText::of("alice")?).ttl(day)).await?;
/// store.expire(Expire::after("session/7", 7 * day)).await?;
/// assert!(store.get("session/7").await?.is_some_and(|session| session.expires.is_some()));
/// store.expire(Expire::never("session/7")).await?;
/// assert!(store.get("session/7").await?.is_some_and(|session| session.expires.is_none()));
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expire {
    /// The key, which is present.
    pub key: String,
    /// The record is gone after this time, in whole milliseconds: from 1 ms to [`limits::TTL_MS`], which is 100 years; none = it
    /// stays.
    pub ttl: Option<Duration>,
    /// What must hold for it to happen.
    pub condition: Condition,
}

impl Expire {
    /// The record is gone after this time.
    #[must_use]
    pub fn after(key: impl Into<String>, ttl: Duration) -> Expire {
        Expire { key: key.into(), ttl: Some(ttl), condition: Condition::default() }
    }

    /// The record stays.
    #[must_use]
    pub fn never(key: impl Into<String>) -> Expire {
        Expire { key: key.into(), ttl: None, condition: Condition::default() }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_key(&self.key)?;
        check_ttl(self.ttl)
    }
}

/// What a write does to the expiry of its record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ExpiryChange {
    /// The record keeps its expiry; a new one stays.
    #[default]
    Keep,
    /// The record stays.
    Clear,
    /// The record is gone after this time, in whole milliseconds: from 1 ms to [`limits::TTL_MS`], which is 100 years.
    After(Duration),
}

impl From<Option<Duration>> for ExpiryChange {
    /// That of a write whose record stays unless it names a time to live.
    fn from(ttl: Option<Duration>) -> ExpiryChange {
        ttl.map_or(ExpiryChange::Clear, ExpiryChange::After)
    }
}

impl ExpiryChange {
    /// The time to live that it sets.
    pub(crate) fn ttl(self) -> Option<Duration> {
        if let ExpiryChange::After(ttl) = self { Some(ttl) } else { None }
    }

    pub(super) fn check(self) -> Result<()> {
        check_ttl(self.ttl())
    }
}

pub(super) fn check_ttl(ttl: Option<Duration>) -> Result<()> {
    match ttl.map(whole_ms) {
        None | Some(1..=limits::TTL_MS) => Ok(()),
        Some(_) => Err(Error::bad_field("ttl_ms", "a time to live is 1 ms to 100 years")),
    }
}

impl Write {
    /// The shortest time after which something that it writes may expire, in milliseconds; none when nothing of it expires.
    pub(crate) fn shortest_ttl_ms(&self) -> Option<u64> {
        match &self.operation {
            WriteOperation::Apply(mutation) => mutation.ttl(),
            WriteOperation::Mutate(mutations) => mutations.iter().filter_map(Mutation::ttl).min(),
            _ => None,
        }
        .map(whole_ms)
    }
}

impl Mutation {
    fn ttl(&self) -> Option<Duration> {
        match self {
            Mutation::Put(put) => put.expiry.ttl(),
            Mutation::Patch(patch) => patch.expiry.ttl(),
            Mutation::Expire(expire) => expire.ttl,
            Mutation::Increment(increment) => increment.expiry.ttl(),
            // How far its time is away depends on the clock of the store, which is not known here.
            Mutation::Import(import) => import.expires.map(|_| Duration::ZERO),
            Mutation::Delete(_) | Mutation::Check(_) => None,
        }
    }
}
