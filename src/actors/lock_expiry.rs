//! The actor that waits for locks, and for records that expire.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio_util::sync::CancellationToken;

use super::{MAILBOX, unless_given_up};
use crate::store::Result;
use crate::store::expiry::Expirer;
use crate::store::waiting::{Claim, Claimable, Waiters};

/// Holds the queues of the requests that wait, with the timer that wakes them when a lock or consumer is released or expires;
/// and the timer that removes records in time.
pub(crate) struct LockExpiry {
    waiters: Arc<Waiters>,
    expirer: Arc<Expirer>,
}

impl LockExpiry {
    pub(crate) fn new(waiters: Arc<Waiters>, expirer: Arc<Expirer>) -> LockExpiry {
        LockExpiry { waiters, expirer }
    }
}

impl Actor for LockExpiry {
    type Context = Context<LockExpiry>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
        self.expirer.begin();
    }
}

/// Acquires a lock or consumer that others may hold.
pub(crate) struct Acquire {
    pub(crate) claimable: Claimable,
    pub(crate) wait: Duration,
    /// Cancelled when the request is given up.
    pub(crate) given_up: CancellationToken,
}

impl Message for Acquire {
    type Result = Result<Claim>;
}

impl Handler<Acquire> for LockExpiry {
    /// Handlers overlap: the store keeps the requests for one lock in order.
    type Result = ResponseFuture<Result<Claim>>;

    fn handle(
        &mut self,
        Acquire { claimable, wait, given_up }: Acquire,
        _: &mut Self::Context,
    ) -> Self::Result {
        let waiters = Arc::clone(&self.waiters);
        Box::pin(unless_given_up(given_up, async move { waiters.acquire(&claimable, wait).await }))
    }
}
