//! The locks that end with a connection, and the requests of it that can be cancelled.

use std::collections::HashMap;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::protocol::Id;
use crate::store::{Code, Error, Grant, LockAcquire, LockRelease, Result};

/// A lock and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) owner: String,
}

impl Held {
    pub(super) fn of(acquire: &LockAcquire) -> Held {
        Held { name: acquire.name.clone(), owner: acquire.owner.clone() }
    }
}

/// The locks that are released when the connection ends: no later grant, and none that the same owner has refreshed
/// elsewhere.
#[derive(Default)]
pub(super) struct SessionLocks(HashMap<Held, (Noted, OwnedSemaphorePermit)>);

/// A grant as it was when this connection got it, or refreshed it last. It only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Noted {
    fence: u64,
    refreshes: u64,
}

impl SessionLocks {
    /// Whether the connection may have this one too.
    ///
    /// # Errors
    /// `too_large` when it has as many as it may.
    pub(super) fn check(&self, held: &Held) -> Result<()> {
        if self.0.len() < limits::SESSION_LOCKS || self.has(held) {
            return Ok(());
        }
        let message = format!("a connection has at most {} locks of its own", limits::SESSION_LOCKS);
        Err(Error::new(Code::TooLarge, message).hint("open another connection"))
    }

    /// Replies that were waited for come in any order.
    pub(super) fn add(&mut self, held: Held, grant: Grant, attached: OwnedSemaphorePermit) {
        let Grant { fence, refreshes, .. } = grant;
        let noted = Noted { fence, refreshes };
        if self.0.get(&held).is_none_or(|(before, _)| *before < noted) {
            self.0.insert(held, (noted, attached));
        }
    }

    pub(super) fn has(&self, held: &Held) -> bool {
        self.0.contains_key(held)
    }

    /// The fence of the present grant.
    pub(super) fn fence(&self, held: &Held) -> Option<u64> {
        self.0.get(held).map(|(noted, _)| noted.fence)
    }

    /// Forgets a grant that was released, but none that came later.
    pub(super) fn remove(&mut self, held: &Held, fence: u64) {
        if self.fence(held) == Some(fence) {
            self.0.remove(held);
        }
    }

    pub(super) fn take_all(&mut self) -> Vec<LockRelease> {
        let release = |(Held { name, owner }, (noted, _)): (_, (Noted, _))| {
            let (fence, refreshes) = (Some(noted.fence), Some(noted.refreshes));
            LockRelease { name, owner, fence, refreshes }
        };
        self.0.drain().map(release).collect()
    }
}

/// The requests that can be cancelled.
#[derive(Default)]
pub(super) struct Cancellable(HashMap<Id, CancellationToken>);

impl Cancellable {
    pub(super) fn add(&mut self, id: Id, given_up: CancellationToken) -> Result<()> {
        if self.0.contains_key(&id) {
            return Err(Error::bad_field("id", format!("a request {} waits already", id.as_json())));
        }
        self.0.insert(id, given_up);
        Ok(())
    }

    /// Answers whether such a request waits.
    pub(super) fn cancel(&self, id: &Id) -> bool {
        self.0.get(id).inspect(|given_up| given_up.cancel()).is_some()
    }

    pub(super) fn cancel_all(&self) {
        self.0.values().for_each(CancellationToken::cancel);
    }

    pub(super) fn remove(&mut self, id: &Id) {
        self.0.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::store::Timestamp;

    #[test]
    fn the_newest_grant_is_noted_in_whatever_order_replies_come() {
        let places = Arc::new(Semaphore::new(4));
        let held = Held { name: "deploy".to_owned(), owner: "a".to_owned() };
        let mut locks = SessionLocks::default();
        let add = |locks: &mut SessionLocks, fence, refreshes| {
            let grant = Grant { fence, refreshes, expires: Timestamp::from_unix_ms(0) };
            locks.add(held.clone(), grant, Arc::clone(&places).try_acquire_owned().unwrap());
        };
        add(&mut locks, 1, 1);
        add(&mut locks, 1, 0);
        add(&mut locks, 2, 0);
        add(&mut locks, 1, 2);
        let other = Held { owner: "b".to_owned(), ..held.clone() };
        locks.remove(&other, 2);
        locks.remove(&held, 1);
        let (name, owner) = ("deploy".to_owned(), "a".to_owned());
        let expected = LockRelease { name, owner, fence: Some(2), refreshes: Some(0) };
        assert_eq!(locks.take_all(), [expected]);
        assert_eq!(places.available_permits(), 4);
    }
}
