//! The actor that waits for locks.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio_util::sync::CancellationToken;

use super::{MAILBOX, unless_given_up};
use crate::store::waiting::{Had, Wanted};
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
    pub(crate) wanted: Wanted,
    pub(crate) wait: Duration,
    /// Cancelled by who gives up.
    pub(crate) given_up: CancellationToken,
}

impl Message for Acquire {
    type Result = Result<Had>;
}

impl Handler<Acquire> for LockExpiry {
    /// Overlapping: the store keeps those who wait for one lock in order.
    type Result = ResponseFuture<Result<Had>>;

    fn handle(&mut self, Acquire { wanted, wait, given_up }: Acquire, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(unless_given_up(given_up, async move { store.waiters().acquire(&wanted, wait).await }))
    }
}
