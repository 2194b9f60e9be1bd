//! The actor that begins subscriptions.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio_util::sync::CancellationToken;

use super::{MAILBOX, unless_given_up};
use crate::store::feed::Feed;
use crate::store::follow::Follower;
use crate::store::waiting::Waiters;
use crate::store::{Identity, Result, Subscribe};

/// Holds the feed, which signals that the stream has grown, whichever process wrote to it, and hands out cursors that
/// it wakes. The connection that has a cursor reads it when its socket can take more; this actor keeps nothing of it.
pub(crate) struct StreamNotifier {
    feed: Arc<Feed>,
    /// For consumers, each of which only one session at a time follows.
    waiters: Arc<Waiters>,
}

impl StreamNotifier {
    pub(crate) fn new(feed: Arc<Feed>, waiters: Arc<Waiters>) -> StreamNotifier {
        StreamNotifier { feed, waiters }
    }
}

impl Actor for StreamNotifier {
    type Context = Context<StreamNotifier>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

/// Begins a subscription.
pub(crate) struct Follow {
    pub(crate) subscribe: Subscribe,
    /// The session that holds a consumer.
    pub(crate) session: String,
    /// Cancelled when the request is given up, while it waits for a consumer that another session holds.
    pub(crate) given_up: CancellationToken,
}

impl Message for Follow {
    type Result = Result<(Follower, u64, Identity)>;
}

impl Handler<Follow> for StreamNotifier {
    /// Handlers overlap: each reads its start from the store by itself.
    type Result = ResponseFuture<Result<(Follower, u64, Identity)>>;

    fn handle(
        &mut self,
        Follow { subscribe, session, given_up }: Follow,
        _: &mut Self::Context,
    ) -> Self::Result {
        let (feed, waiters) = (Arc::clone(&self.feed), Arc::clone(&self.waiters));
        let begun = async move { Follower::begin(&feed, &waiters, subscribe, session).await };
        Box::pin(unless_given_up(given_up, begun))
    }
}
