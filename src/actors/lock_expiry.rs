//! The actor that waits for locks.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio_util::sync::CancellationToken;

use super::{MAILBOX, unless_given_up};
use crate::store::waiting::{Claim, Claimable};
use crate::store::{LocalStore, Result};

/// Holds nothing but the store. Who waits sleeps until the lock that it waits for is released or expires.
pub(crate) struct LockExpiry {
    store: Arc<LocalStore>,
}

impl LockExpiry {
    pub(crate) fn new(store: Arc<LocalStore>) -> LockExpiry {
        LockExpiry { store }
    }
}

impl Actor for LockExpiry {
    type Context = Context<LockExpiry>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

/// Acquires something that others may hold.
pub(crate) struct Acquire {
    pub(crate) claimable: Claimable,
    pub(crate) wait: Duration,
    /// Cancelled by who gives up.
    pub(crate) given_up: CancellationToken,
}

impl Message for Acquire {
    type Result = Result<Claim>;
}

impl Handler<Acquire> for LockExpiry {
    /// Overlapping: the store keeps those who wait for one lock in order.
    type Result = ResponseFuture<Result<Claim>>;

    fn handle(
        &mut self,
        Acquire { claimable, wait, given_up }: Acquire,
        _: &mut Self::Context,
    ) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(unless_given_up(given_up, async move { store.waiters().acquire(&claimable, wait).await }))
    }
}
