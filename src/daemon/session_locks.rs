//! The locks that end with a connection, and the requests of it that can be cancelled.

use std::collections::HashMap;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::protocol::Id;
use crate::store::{Clock, Code, Error, Grant, LockRelease, Result};

/// A lock and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) owner: String,
}

impl Held {
    pub(super) fn new(name: &str, owner: &str) -> Held {
        Held { name: name.to_owned(), owner: owner.to_owned() }
    }
}

/// The locks that are released when the connection ends: no later grant, and none that the same owner has refreshed
/// elsewhere.
#[derive(Default)]
pub(super) struct SessionLocks(HashMap<Held, Noted>);

/// A grant as it was when this connection got it, or refreshed it last.
struct Noted {
    grant: Grant,
    /// Refreshes of this connection that brought no answer: what they did is not known.
    unanswered: usize,
    _attached: OwnedSemaphorePermit,
}

/// Grows with every grant and refresh.
fn number(grant: Grant) -> (u64, u64) {
    (grant.fence, grant.refreshes)
}

impl SessionLocks {
    /// Whether the connection may have this one too. Those that expired are not counted.
    ///
    /// # Errors
    /// `too_large` when it has as many as it may.
    pub(super) fn check(&mut self, held: &Held) -> Result<()> {
        if self.0.len() >= limits::SESSION_LOCKS {
            let now_ms = Clock::System.now_ms();
            self.0.retain(|_, noted| noted.grant.expires.unix_ms() > now_ms);
        }
        if self.0.len() < limits::SESSION_LOCKS || self.has(held) {
            return Ok(());
        }
        let message = format!("a connection has at most {} locks of its own", limits::SESSION_LOCKS);
        Err(Error::new(Code::TooLarge, message).hint("open another connection"))
    }

    /// Answers whether this is a refresh of a lock of the connection.
    pub(super) fn begin_refresh(&mut self, held: &Held) -> bool {
        self.0.get_mut(held).map(|noted| noted.unanswered += 1).is_some()
    }

    /// Replies that were waited for come in any order. `refreshes`: [`begin_refresh`](SessionLocks::begin_refresh)
    /// answered so.
    pub(super) fn add(&mut self, held: Held, grant: Grant, refreshes: bool, attached: OwnedSemaphorePermit) {
        if refreshes {
            self.end_refresh(&held);
        }
        let noted = self.0.entry(held).or_insert(Noted { grant, unanswered: 0, _attached: attached });
        if number(noted.grant) < number(grant) {
            noted.grant = grant;
        }
    }

    /// What a refresh did is known: nothing, when it was refused.
    pub(super) fn end_refresh(&mut self, held: &Held) {
        if let Some(noted) = self.0.get_mut(held) {
            noted.unanswered = noted.unanswered.saturating_sub(1);
        }
    }

    pub(super) fn has(&self, held: &Held) -> bool {
        self.0.contains_key(held)
    }

    /// The fence of the present grant.
    pub(super) fn fence(&self, held: &Held) -> Option<u64> {
        self.0.get(held).map(|noted| noted.grant.fence)
    }

    /// Forgets a grant that was released, but none that came later.
    pub(super) fn remove(&mut self, held: &Held, fence: u64) {
        if self.fence(held) == Some(fence) {
            self.0.remove(held);
        }
    }

    pub(super) fn take_all(&mut self) -> Vec<LockRelease> {
        let release = |(Held { name, owner }, Noted { grant, unanswered, .. })| {
            let refreshes = (unanswered == 0).then_some(grant.refreshes);
            LockRelease { name, owner, fence: Some(grant.fence), refreshes }
        };
        self.0.drain().map(release).collect()
    }
}

/// The requests that can be cancelled.
#[derive(Default)]
pub(super) struct Cancellable(HashMap<Id, CancellableRequest>);

struct CancellableRequest {
    given_up: CancellationToken,
    /// A `cancel` of it was answered ok.
    is_cancelled: bool,
}

impl Cancellable {
    pub(super) fn add(&mut self, id: Id, given_up: CancellationToken) -> Result<()> {
        if self.0.contains_key(&id) {
            return Err(Error::bad_field("id", format!("a request {} waits already", id.as_json())));
        }
        self.0.insert(id, CancellableRequest { given_up, is_cancelled: false });
        Ok(())
    }

    /// Answers whether such a request waits: then it is cancelled, also when its outcome is on its way already.
    pub(super) fn cancel(&mut self, id: &Id) -> bool {
        let Some(request) = self.0.get_mut(id) else { return false };
        request.is_cancelled = true;
        request.given_up.cancel();
        true
    }

    pub(super) fn cancel_all(&self) {
        self.0.values().for_each(|request| request.given_up.cancel());
    }

    /// Forgets a request that is answered now, and answers whether it was cancelled.
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
        let held = Held::new("deploy", "a");
        let mut locks = SessionLocks::default();
        let add = |locks: &mut SessionLocks, fence, refreshes| {
            let grant = Grant { fence, refreshes, expires: Timestamp::from_unix_ms(0) };
            locks.add(held.clone(), grant, refreshes > 0, Arc::clone(&places).try_acquire_owned().unwrap());
        };
        let expected = |refreshes| {
            let (name, owner) = ("deploy".to_owned(), "a".to_owned());
            [LockRelease { name, owner, fence: Some(2), refreshes }]
        };
        add(&mut locks, 1, 1);
        add(&mut locks, 1, 0);
        add(&mut locks, 2, 0);
        add(&mut locks, 1, 2);
        let other = Held::new("deploy", "b");
        locks.remove(&other, 2);
        locks.remove(&held, 1);
        assert_eq!(locks.take_all(), expected(Some(0)));
        // What a refresh without an answer did is not known, until one is answered for each.
        add(&mut locks, 2, 0);
        assert!(locks.begin_refresh(&held) && locks.begin_refresh(&held) && !locks.begin_refresh(&other));
        add(&mut locks, 2, 1);
        assert_eq!(locks.take_all(), expected(None));
        add(&mut locks, 2, 0);
        assert!(locks.begin_refresh(&held));
        add(&mut locks, 2, 1);
        assert!(locks.begin_refresh(&held));
        locks.end_refresh(&held);
        assert_eq!(locks.take_all(), expected(Some(1)));
        assert_eq!(places.available_permits(), 4);
    }
}
