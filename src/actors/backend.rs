//! The actor that owns the store.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::{
    Actor, ActorFutureExt as _, AsyncContext as _, Context, Handler, Message, ResponseFuture, WrapFuture as _,
};

use super::MAILBOX;
use crate::limits;
use crate::store::batcher::Writes;
use crate::store::engine::Point;
use crate::store::{LocalStore, Read, Reply, Request, Result, Servers, Store as _};

/// Holds the store, and the point reads that have come in since the last tick.
pub(crate) struct Backend {
    store: Arc<LocalStore>,
    points: VecDeque<Points>,
    /// How many batches of point reads are under way.
    reading: usize,
}

impl Backend {
    pub(crate) fn new(store: Arc<LocalStore>) -> Backend {
        Backend { store, points: VecDeque::new(), reading: 0 }
    }

    /// Whether another batch of point reads may begin. Where a read takes long, those that come meanwhile gather.
    fn may_read(&self) -> bool {
        self.reading < limits::POINT_BATCHES
    }

    /// Takes those that came first, as many as are read together.
    fn take_points(&mut self) -> Vec<Points> {
        let (mut taken, mut keys) = (Vec::new(), 0);
        while let Some(points) = self.points.front()
            && (taken.is_empty() || keys + points.keys.len() <= limits::BATCH_REQUESTS)
        {
            keys += points.keys.len();
            taken.extend(self.points.pop_front());
        }
        taken
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
    /// Handlers overlap, and go on when the connection is gone: a client that disconnects cancels nothing.
    type Result = ResponseFuture<Result<Reply>>;

    fn handle(&mut self, Ask(request): Ask, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.call(request).await })
    }
}

/// Whether the store answers, whatever it answers.
pub(crate) struct Probe {
    /// How long servers behind the store may take; then their silence is the answer. None where a store has none.
    pub(crate) servers_patience: Option<Duration>,
}

impl Message for Probe {
    type Result = ();
}

impl Handler<Probe> for Backend {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Probe { servers_patience }: Probe, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move {
            let answer = store.call(Request::Read(Read::Identity));
            match servers_patience {
                Some(patience) => drop(tokio::time::timeout(patience, answer).await),
                None => drop(answer.await),
            }
        })
    }
}

/// What the servers behind the store tell of themselves.
pub(crate) struct AskServers;

impl Message for AskServers {
    type Result = Result<Servers>;
}

impl Handler<AskServers> for Backend {
    type Result = ResponseFuture<Result<Servers>>;

    fn handle(&mut self, AskServers: AskServers, _: &mut Self::Context) -> Self::Result {
        let store = Arc::clone(&self.store);
        Box::pin(async move { store.servers().await })
    }
}

/// Point reads of one connection, which are answered together.
pub(crate) struct Points {
    pub(crate) keys: Vec<String>,
    pub(crate) told: PointsCallback,
}

/// Receives the keys, and the head of the snapshot with what is stored under each of them, in order.
pub(crate) type PointsCallback = Box<dyn FnOnce(Vec<String>, Result<(u64, Vec<Point>)>) + Send>;

impl Message for Points {
    type Result = ();
}

impl Handler<Points> for Backend {
    type Result = ();

    fn handle(&mut self, points: Points, context: &mut Self::Context) {
        if self.points.is_empty() && self.may_read() {
            // The tick comes after the messages that are already in the mailbox.
            context.notify(Tick);
        }
        self.points.push_back(points);
    }
}

/// Runs the point reads that have been gathered.
struct Tick;

impl Message for Tick {
    type Result = ();
}

impl Handler<Tick> for Backend {
    type Result = ();

    fn handle(&mut self, _: Tick, context: &mut Self::Context) {
        if self.points.is_empty() || !self.may_read() {
            return;
        }
        self.reading += 1;
        let (store, points) = (Arc::clone(&self.store), self.take_points());
        let ticked = async move {
            let keys: Vec<&str> = points.iter().flat_map(|one| &one.keys).map(String::as_str).collect();
            let mut found = store.points(&keys).await.map(|found| (found.seq(), found.rows.into_iter()));
            for Points { keys, told } in points {
                let own = match &mut found {
                    Ok((seq, rows)) => Ok((*seq, rows.take(keys.len()).collect())),
                    Err(error) => Err(error.clone()),
                };
                told(keys, own);
            }
        };
        let ticked = ticked.into_actor(self).map(|(), backend, context: &mut Self::Context| {
            backend.reading -= 1;
            if !backend.points.is_empty() {
                context.notify(Tick);
            }
        });
        context.spawn(ticked);
        if !self.points.is_empty() {
            context.notify(Tick);
        }
    }
}

/// Writes of one connection, each of which is answered as soon as its outcome is known.
pub(crate) struct WriteGroup(pub(crate) Writes);

impl Message for WriteGroup {
    type Result = ();
}

impl Handler<WriteGroup> for Backend {
    type Result = ();

    fn handle(&mut self, WriteGroup(writes): WriteGroup, _: &mut Self::Context) {
        self.store.writer().send(writes);
    }
}
