//! The actor that owns the store.

use std::sync::Arc;

use actix::{Actor, Context, Handler, Message, ResponseFuture};

use super::MAILBOX;
use crate::store::{LocalStore, Reply, Request, Result, Store as _};

/// Holds the store and nothing else.
pub(crate) struct Backend {
    store: Arc<LocalStore>,
}

impl Backend {
    pub(crate) fn new(store: Arc<LocalStore>) -> Backend {
        Backend { store }
    }
}

impl Actor for Backend {
    type Context = Context<Backend>;

    fn started(&mut self, context: &mut Self::Context) {
        context.set_mailbox_capacity(MAILBOX);
    }
}

/// One request of the store.
pub(crate) struct Ask(pub(crate) Request);

impl Message for Ask {
    type Result = Result<Reply>;
}

impl Handler<Ask> for Backend {
    /// Overlapping, and living on when the connection is gone: a client that hangs up cancels nothing.
    type Result = ResponseFuture<Result<Reply>>;

    fn handle(&mut self, Ask(request): Ask, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.call(request).await })
    }
}

/// A `get` that is answered with none when the value is large, to be read by itself.
pub(crate) struct AskSmall(pub(crate) String);

impl Message for AskSmall {
    type Result = Result<Option<Reply>>;
}

impl Handler<AskSmall> for Backend {
    /// Overlapping, as `Ask`.
    type Result = ResponseFuture<Result<Option<Reply>>>;

    fn handle(&mut self, AskSmall(key): AskSmall, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.get_small(key).await })
    }
}
