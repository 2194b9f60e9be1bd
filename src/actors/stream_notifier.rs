//! The actor that begins subscriptions.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use tokio_util::sync::CancellationToken;

use super::{MAILBOX, unless_given_up};
use crate::store::follow::Follower;
use crate::store::reply::Identity;
use crate::store::{LocalStore, Result, Subscribe};

/// Hands out cursors that are woken when the stream goes on, whoever wrote to it. A cursor is read by the connection
/// that has it, when its socket can take more: this actor holds nothing of it.
pub(crate) struct StreamNotifier {
    store: Arc<LocalStore>,
}

impl StreamNotifier {
    pub(crate) fn new(store: Arc<LocalStore>) -> StreamNotifier {
        StreamNotifier { store }
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
        let store = Arc::clone(&self.store);
        Box::pin(unless_given_up(given_up, async move { Follower::begin(&store, subscribe, session).await }))
    }
}
