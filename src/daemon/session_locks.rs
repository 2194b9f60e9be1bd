//! The locks of one connection, which are released when it ends, and its requests that can be cancelled.

use std::collections::HashMap;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::protocol::Id;
use crate::store::{Clock, Code, Error, Grant, LockRelease, Result};

/// A lock and its owner, by their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OwnedLock {
    pub(super) name: String,
    pub(super) owner: String,
}

impl OwnedLock {
    pub(super) fn new(name: &str, owner: &str) -> OwnedLock {
        OwnedLock { name: name.to_owned(), owner: owner.to_owned() }
    }
}

/// The locks of one connection, which are released when it ends. A later grant of the same lock is not released, nor one
/// that its owner has refreshed by another connection.
#[derive(Default)]
pub(super) struct SessionLocks(HashMap<OwnedLock, SessionGrant>);

/// A grant of a lock to this connection.
struct SessionGrant {
    /// The grant as this connection got it, or refreshed it last.
    grant: Grant,
    /// Refreshes of this connection without an answer so far: whether they had an effect is unknown.
    unanswered: usize,
    _attached: OwnedSemaphorePermit,
}

/// A number that grows with every grant and refresh of a lock.
fn number(grant: Grant) -> (u64, u64) {
    (grant.fence, grant.refreshes)
}

impl SessionLocks {
    /// Checks that the connection may have this lock too. Expired locks are not counted.
    ///
    /// # Errors
    /// `too_large` when it has [`limits::SESSION_LOCKS`] already.
    pub(super) fn check(&mut self, lock: &OwnedLock) -> Result<()> {
        if self.0.len() >= limits::SESSION_LOCKS {
            let now_ms = Clock::System.now_ms();
            self.0.retain(|_, held| held.grant.expires.unix_ms() > now_ms);
        }
        if self.0.len() < limits::SESSION_LOCKS || self.has(lock) {
            return Ok(());
        }
        let message = format!("a connection has at most {} locks of its own", limits::SESSION_LOCKS);
        Err(Error::new(Code::TooLarge, message).hint("open another connection"))
    }

    /// Notes that a refresh is sent, and answers whether it is one: the connection has this lock.
    pub(super) fn begin_refresh(&mut self, lock: &OwnedLock) -> bool {
        self.0.get_mut(lock).map(|held| held.unanswered += 1).is_some()
    }

    /// Adds a grant, unless a later one of the same lock is there: the replies to requests that waited come in any order.
    /// `refreshes` is the answer of [`begin_refresh`](SessionLocks::begin_refresh) when the request was sent.
    pub(super) fn add(
        &mut self,
        lock: OwnedLock,
        grant: Grant,
        refreshes: bool,
        attached: OwnedSemaphorePermit,
    ) {
        if refreshes {
            self.end_refresh(&lock);
        }
        let held = self.0.entry(lock).or_insert(SessionGrant { grant, unanswered: 0, _attached: attached });
        if number(held.grant) < number(grant) {
            held.grant = grant;
        }
    }

    /// Notes that the effect of a refresh is known: there is none when it was refused.
    pub(super) fn end_refresh(&mut self, lock: &OwnedLock) {
        if let Some(held) = self.0.get_mut(lock) {
            held.unanswered = held.unanswered.saturating_sub(1);
        }
    }

    /// Whether the connection has this lock.
    pub(super) fn has(&self, lock: &OwnedLock) -> bool {
        self.0.contains_key(lock)
    }

    /// The fence of the present grant; none when the connection does not have this lock.
    pub(super) fn fence(&self, lock: &OwnedLock) -> Option<u64> {
        self.0.get(lock).map(|held| held.grant.fence)
    }

    /// Forgets the grant with this fence, which was released, but not a later one.
    pub(super) fn remove(&mut self, lock: &OwnedLock, fence: u64) {
        if self.fence(lock) == Some(fence) {
            self.0.remove(lock);
        }
    }

    /// The requests that release all locks of the connection, which forgets them.
    pub(super) fn take_all(&mut self) -> Vec<LockRelease> {
        let release = |(OwnedLock { name, owner }, SessionGrant { grant, unanswered, .. })| {
            let refreshes = (unanswered == 0).then_some(grant.refreshes);
            LockRelease { name, owner, fence: Some(grant.fence), refreshes }
        };
        self.0.drain().map(release).collect()
    }
}

/// The requests of one connection that can be cancelled.
#[derive(Default)]
pub(super) struct CancellableRequests(HashMap<Id, CancellableRequest>);

/// A request that can be cancelled.
struct CancellableRequest {
    /// Cancelled to make the request give up.
    given_up: CancellationToken,
    /// Whether a `cancel` of it was answered with ok.
    is_cancelled: bool,
}

impl CancellableRequests {
    /// Adds a request, which waits from now on.
    ///
    /// # Errors
    /// `bad_request` when a request with the same id waits already.
    pub(super) fn add(&mut self, id: Id, given_up: CancellationToken) -> Result<()> {
        if self.0.contains_key(&id) {
            return Err(Error::bad_field("id", format!("a request {} waits already", id.as_json())));
        }
        self.0.insert(id, CancellableRequest { given_up, is_cancelled: false });
        Ok(())
    }

    /// Cancels the request with this id, and answers whether there is one. It is then reported as cancelled even when its
    /// outcome is there already.
    pub(super) fn cancel(&mut self, id: &Id) -> bool {
        let Some(request) = self.0.get_mut(id) else { return false };
        request.is_cancelled = true;
        request.given_up.cancel();
        true
    }

    /// Makes all requests give up.
    pub(super) fn cancel_all(&self) {
        self.0.values().for_each(|request| request.given_up.cancel());
    }

    /// Forgets a request that is answered at this moment, and returns whether it was cancelled.
    pub(super) fn remove(&mut self, id: &Id) -> bool {
        self.0.remove(id).is_some_and(|request| request.is_cancelled)
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
        let lock = OwnedLock::new("deploy", "a");
        let mut locks = SessionLocks::default();
        let add = |locks: &mut SessionLocks, fence, refreshes| {
            let grant = Grant { fence, refreshes, expires: Timestamp::from_unix_ms(0) };
            locks.add(lock.clone(), grant, refreshes > 0, Arc::clone(&places).try_acquire_owned().unwrap());
        };
        let expected = |refreshes| {
            let (name, owner) = ("deploy".to_owned(), "a".to_owned());
            [LockRelease { name, owner, fence: Some(2), refreshes }]
        };
        add(&mut locks, 1, 1);
        add(&mut locks, 1, 0);
        add(&mut locks, 2, 0);
        add(&mut locks, 1, 2);
        let other = OwnedLock::new("deploy", "b");
        locks.remove(&other, 2);
        locks.remove(&lock, 1);
        assert_eq!(locks.take_all(), expected(Some(0)));
        // What a refresh without an answer did is not known, until one is answered for each.
        add(&mut locks, 2, 0);
        assert!(locks.begin_refresh(&lock) && locks.begin_refresh(&lock) && !locks.begin_refresh(&other));
        add(&mut locks, 2, 1);
        assert_eq!(locks.take_all(), expected(None));
        add(&mut locks, 2, 0);
        assert!(locks.begin_refresh(&lock));
        add(&mut locks, 2, 1);
        assert!(locks.begin_refresh(&lock));
        locks.end_refresh(&lock);
        assert_eq!(locks.take_all(), expected(Some(1)));
        assert_eq!(places.available_permits(), 4);
    }
}
