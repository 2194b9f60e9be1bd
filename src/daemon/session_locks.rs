//! The locks that end with a connection, and the requests of it that wait for a lock.

use std::collections::HashMap;

use tokio_util::sync::CancellationToken;

use super::Counted;
use crate::limits;
use crate::protocol::Id;
use crate::store::{Code, Error, LockAcquire, LockRelease, Result};

/// A lock and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    name: String,
    owner: String,
}

impl Held {
    pub(super) fn of(LockAcquire { name, owner, .. }: &LockAcquire) -> Held {
        Held { name: name.clone(), owner: owner.clone() }
    }

    pub(super) fn into_release(self) -> LockRelease {
        LockRelease { name: self.name, owner: self.owner }
    }
}

/// The locks that are released when the connection ends. One is noted before it is asked for, so that none is forgotten
/// that was granted in the last moment.
#[derive(Default)]
pub(super) struct SessionLocks(HashMap<Held, Counted>);

impl SessionLocks {
    /// Notes a lock, and answers whether it was not there.
    pub(super) fn note(&mut self, held: Held, counted: Counted) -> Result<bool> {
        if self.0.len() >= limits::SESSION_LOCKS && !self.0.contains_key(&held) {
            let message = format!("a connection has at most {} locks of its own", limits::SESSION_LOCKS);
            return Err(Error::new(Code::TooLarge, message).hint("open another connection"));
        }
        Ok(self.0.insert(held, counted).is_none())
    }

    pub(super) fn forget(&mut self, held: &Held) {
        self.0.remove(held);
    }

    pub(super) fn take_all(&mut self) -> Vec<Held> {
        self.0.drain().map(|(held, _)| held).collect()
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

    pub(super) fn remove(&mut self, id: &Id) {
        self.0.remove(id);
    }
}
