//! The actor that begins subscriptions.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio_util::sync::CancellationToken;

use super::{MAILBOX, unless_given_up};
use crate::store::feed::Feed;
use crate::store::follow::Follower;
use crate::store::waiting::Waiters;
use crate::store::{Identity, Result, Subscribe};

/// Has the feed, whose signal tells that the stream goes on, whoever wrote to it, and hands out cursors that it wakes. A
/// cursor is read by the connection that has it, when its socket can take more: this actor holds nothing of it.
pub(crate) struct StreamNotifier {
    feed: Arc<Feed>,
    /// For a consumer, which one session at a time follows as.
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

/// Begins to follow the stream.
pub(crate) struct Follow {
    pub(crate) subscribe: Subscribe,
    /// Who holds a consumer.
    pub(crate) session: String,
    /// Cancelled by who gives up, while another session follows as the same consumer.
    pub(crate) given_up: CancellationToken,
}

impl Message for Follow {
    type Result = Result<(Follower, u64, Identity)>;
}

impl Handler<Follow> for StreamNotifier {
    /// Overlapping: each asks the store by itself where it begins.
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
