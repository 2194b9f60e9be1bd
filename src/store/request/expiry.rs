//! What writes say of the time for which a record stays.

use super::{Condition, Mutation, Write, WriteOperation};
use crate::limits;
use crate::store::error::{Error, Result};
use crate::store::keys::check_key;

/// Sets or removes the expiry of a record, and changes nothing else of it. It is a write like others: it counts as a version, and
/// the stream shows it as an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expire {
    /// The key, which is present.
    pub key: String,
    /// The record is gone so many milliseconds from now, from 1 to [`limits::TTL_MS`]; none = it stays.
    pub ttl_ms: Option<u64>,
    /// What must hold for it to happen.
    pub condition: Condition,
}

impl Expire {
    /// The record is gone after so many milliseconds.
    #[must_use]
    pub fn after(key: impl Into<String>, ttl_ms: u64) -> Expire {
        Expire { key: key.into(), ttl_ms: Some(ttl_ms), condition: Condition::default() }
    }

    /// The record stays.
    #[must_use]
    pub fn never(key: impl Into<String>) -> Expire {
        Expire { key: key.into(), ttl_ms: None, condition: Condition::default() }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_key(&self.key)?;
        check_ttl(self.ttl_ms)
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
    /// The record is gone so many milliseconds from now, from 1 to [`limits::TTL_MS`].
    After(u64),
}

impl From<Option<u64>> for ExpiryChange {
    /// That of a write whose record stays unless it names a time to live.
    fn from(ttl_ms: Option<u64>) -> ExpiryChange {
        ttl_ms.map_or(ExpiryChange::Clear, ExpiryChange::After)
    }
}

impl ExpiryChange {
    pub(super) fn check(self) -> Result<()> {
        check_ttl(if let ExpiryChange::After(ttl_ms) = self { Some(ttl_ms) } else { None })
    }
}

pub(super) fn check_ttl(ttl_ms: Option<u64>) -> Result<()> {
    match ttl_ms {
        None | Some(1..=limits::TTL_MS) => Ok(()),
        Some(_) => Err(Error::bad_field("ttl_ms", "a time to live is 1 ms to 100 years")),
    }
}

impl Write {
    /// The shortest time after which something that it writes may expire, in milliseconds; none when nothing of it expires.
    pub(crate) fn shortest_ttl_ms(&self) -> Option<u64> {
        match &self.operation {
            WriteOperation::Apply(mutation) => mutation.ttl_ms(),
            WriteOperation::Mutate(mutations) => mutations.iter().filter_map(Mutation::ttl_ms).min(),
            _ => None,
        }
    }
}

impl Mutation {
    fn ttl_ms(&self) -> Option<u64> {
        let set = |change: ExpiryChange| match change {
            ExpiryChange::After(ttl_ms) => Some(ttl_ms),
            ExpiryChange::Keep | ExpiryChange::Clear => None,
        };
        match self {
            Mutation::Put(put) => set(put.expiry),
            Mutation::Patch(patch) => set(patch.expiry),
            Mutation::Expire(expire) => expire.ttl_ms,
            Mutation::Increment(increment) => set(increment.expiry),
            // How far its time is away depends on the clock of the store, which is not known here.
            Mutation::Import(import) => import.expires.map(|_| 0),
            Mutation::Delete(_) | Mutation::Check(_) => None,
        }
    }
}
