//! The locks that end with a connection, and the requests of it that can be cancelled.

use std::collections::HashMap;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::limits;
use crate::protocol::Id;
use crate::store::{Code, Error, LockRelease, Result};

/// A lock and its owner.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Held {
    pub(super) name: String,
    pub(super) owner: String,
}

/// The locks that are released when the connection ends, each with the fence of its grant: a later one is not touched.
#[derive(Default)]
pub(super) struct SessionLocks(HashMap<Held, (u64, OwnedSemaphorePermit)>);

impl SessionLocks {
    /// # Errors
    /// `too_large` when the connection has as many as it may.
    pub(super) fn check(&self) -> Result<()> {
        if self.0.len() < limits::SESSION_LOCKS {
            return Ok(());
        }
        let message = format!("a connection has at most {} locks of its own", limits::SESSION_LOCKS);
        Err(Error::new(Code::TooLarge, message).hint("open another connection"))
    }

    pub(super) fn add(&mut self, held: Held, fence: u64, attached: OwnedSemaphorePermit) {
        self.0.insert(held, (fence, attached));
    }

    pub(super) fn has(&self, held: &Held) -> bool {
        self.0.contains_key(held)
    }

    pub(super) fn remove(&mut self, held: &Held) {
        self.0.remove(held);
    }

    pub(super) fn take_all(&mut self) -> Vec<LockRelease> {
        let release = |(Held { name, owner }, (fence, _))| LockRelease { name, owner, fence: Some(fence) };
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
