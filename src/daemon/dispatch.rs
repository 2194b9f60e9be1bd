//! Takes a request to the actor that answers it.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix::{Addr, MailboxError};
use futures_util::future::join_all;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::clients::Clients;
use super::memory::Memory;
use super::metrics::Metrics;
use super::store_lock::StoreLock;
use super::{log, trouble};
use crate::actors::backend::{Ask, AskServers, Backend, Points, PointsCallback, WriteGroup};
use crate::actors::lock_expiry::{self, LockExpiry};
use crate::actors::stream_notifier::{Follow, StreamNotifier};
use crate::limits;
use crate::meeting::location::Location;
use crate::protocol::{Acquire, Answer, Call, Hello, Incoming, Status};
use crate::store::batcher::Writes;
use crate::store::follow::Follower;
use crate::store::session_name_of;
use crate::store::waiting::{Claim, Claimable};
use crate::store::{
    Address, Code, ConsumerLeave, Error, Identity, LockRelease, Mutation, Read, Reply, Request, Result,
    Subscribe, Timestamp, Write, WriteOperation, whole_ms,
};

/// Which requests of a connection may run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Writes run together: they take effect in the order in which they are sent on. Deletes of ranges are not among them.
    Write,
    /// Runs alone: two reads could see the store in the wrong order, and a request that ends or creates something, or
    /// may have a large reply, must be finished before the next one.
    Alone,
}

/// An answer, with the permit for a reply that may be large.
pub(super) type AnswerWithPermit = (Result<Answer>, Option<OwnedSemaphorePermit>);

/// The end of the time that a client wants to wait.
#[derive(Clone, Copy)]
struct Timeout {
    timeout_ms: u64,
    deadline: Instant,
}

impl Timeout {
    fn of(timeout_ms: Option<u64>) -> Option<Timeout> {
        let deadline = |timeout_ms| Instant::now() + Duration::from_millis(timeout_ms);
        timeout_ms.map(|timeout_ms| Timeout { timeout_ms, deadline: deadline(timeout_ms) })
    }
}

/// Everything that a connection needs to get its requests answered.
pub(super) struct Dispatch {
    pub(super) backend: Addr<Backend>,
    pub(super) lock_expiry: Addr<LockExpiry>,
    pub(super) stream_notifier: Addr<StreamNotifier>,
    pub(super) address: Address,
    /// Whether a command started this daemon.
    pub(super) spawned: bool,
    /// The unit whose main process this is.
    pub(super) unit: Option<String>,
    pub(super) started: Timestamp,
    /// The same moment, by a clock that nobody sets.
    pub(super) began: std::time::Instant,
    pub(super) metrics: Arc<Metrics>,
    pub(super) store_lock: StoreLock,
    pub(super) clients: Arc<Clients>,
    pub(super) connections_max: usize,
    /// Bounds the requests in flight, before they reach the actors: an actor's mailbox has no reliable bound.
    pub(super) memory: Memory,
    pub(super) stop: CancellationToken,
}

impl Dispatch {
    pub(super) fn lane(call: &Call) -> Lane {
        match call {
            _ if has_large_reply(call) => Lane::Alone,
            // The owner of the lock must be known before the next request.
            Call::Store(Request::Write(Write {
                operation: WriteOperation::LockAcquire(_) | WriteOperation::LockRelease(_),
                ..
            })) => Lane::Alone,
            // What is sent on behind it may take effect between two of its slices.
            Call::Store(Request::Write(write)) if write.operation.is_range_delete() => Lane::Alone,
            Call::Store(Request::Write(_)) => Lane::Write,
            _ => Lane::Alone,
        }
    }

    /// Reads what is stored under these keys, which must have been checked.
    pub(super) fn points(&self, keys: Vec<String>, told: PointsCallback) {
        // The mailbox is never full. While the daemon ends, dropping the message answers the requests.
        let _ = self.backend.try_send(Points { keys, told });
    }

    /// Runs writes, which must have been checked.
    pub(super) fn writes(&self, writes: Writes) {
        let _ = self.backend.try_send(WriteGroup(writes));
    }

    /// Sends a request on at once, so that requests reach the backend in the order of the calls.
    pub(super) fn start(
        self: &Arc<Self>,
        incoming: Incoming,
    ) -> Pin<Box<dyn Future<Output = AnswerWithPermit>>> {
        let Incoming { call, timeout_ms, .. } = incoming;
        let timeout = Timeout::of(timeout_ms);
        if has_large_reply(&call) {
            let dispatch = Arc::clone(self);
            return Box::pin(async move {
                let is_write = matches!(call, Call::Store(Request::Write(_)));
                let place = dispatch.memory.large_reply().await;
                (in_time(timeout, is_write, dispatch.answer(call)).await, Some(place))
            });
        }
        let is_write = matches!(call, Call::Store(Request::Write(_) | Request::Restore { .. }));
        let answer = self.answer(call);
        Box::pin(async move { (in_time(timeout, is_write, answer).await, None) })
    }

    /// Begins a subscription. Dropping the future gives the request up.
    pub(super) fn follow(
        &self,
        subscribe: Subscribe,
        peer_pid: Option<i32>,
        timeout_ms: Option<u64>,
    ) -> impl Future<Output = Result<(Follower, u64, Identity)>> + use<> {
        let (session, given_up) = (session_name_of(peer_pid), CancellationToken::new());
        let follow = Follow { subscribe, session, given_up: given_up.clone() };
        let asked = Ok(self.stream_notifier.send(follow));
        self.unless_given_up(asked, false, timeout_ms, given_up.drop_guard())
    }

    /// Waits for the answer of an actor, until the time of the client is over or the daemon ends. Dropping the future
    /// gives the request up.
    fn unless_given_up<T, A: Future<Output = std::result::Result<Result<T>, MailboxError>>>(
        &self,
        asked: Result<A>,
        is_write: bool,
        timeout_ms: Option<u64>,
        given_up: DropGuard,
    ) -> impl Future<Output = Result<T>> + use<T, A> {
        let (stop, timeout) = (self.stop.clone(), Timeout::of(timeout_ms));
        // A lock that is acquired at that moment is released, or expires.
        let ended = move || if is_write { trouble::ending().unknown() } else { trouble::ending() };
        async move {
            let _given_up = given_up;
            let answer = async { asked?.await.map_err(|_| ended())? };
            tokio::select! {
                answer = in_time(timeout, is_write, answer) => answer,
                () = stop.cancelled() => Err(ended()),
            }
        }
    }

    /// Ends the hold of a session on a consumer.
    pub(super) fn leave(&self, leave: ConsumerLeave) -> impl Future<Output = ()> + use<> {
        let left = self.backend.send(Ask(Request::Write(WriteOperation::ConsumerLeave(leave).into())));
        // A hold that cannot be ended expires.
        async move { drop(left.await) }
    }

    /// Acquires a lock that others may hold. Dropping the future gives the request up.
    pub(super) fn acquire(
        &self,
        Acquire { acquire, wait, .. }: Acquire,
        timeout_ms: Option<u64>,
        given_up: CancellationToken,
    ) -> impl Future<Output = Result<Claim>> + use<> {
        let write = Request::Write(WriteOperation::LockAcquire(acquire.clone()).into());
        let asked = write.check().map(|()| {
            let claimable = Claimable::Lock(acquire);
            self.lock_expiry.send(lock_expiry::Acquire { claimable, wait, given_up: given_up.clone() })
        });
        self.unless_given_up(asked, true, timeout_ms, given_up.drop_guard())
    }

    /// Releases the locks of a connection that has ended.
    pub(super) async fn release(&self, locks: Vec<LockRelease>) {
        let releases = locks.into_iter().map(|release| {
            let release = WriteOperation::LockRelease(release);
            self.backend.send(Ask(Request::Write(release.into())))
        });
        for released in join_all(releases).await {
            // A lock that was lost before need not be released; any other one that could not be released expires.
            if let Ok(Err(error)) = released
                && error.code != Code::NotOwner
            {
                tracing::warn!(%error, "a lock of a connection that ended could not be released");
            }
        }
    }

    /// The description of this daemon. It does not wait long for the ids of the store, because it is how a client
    /// learns that the daemon is alive.
    fn hello(&self) -> impl Future<Output = Hello> + use<> {
        let asked = self.backend.send(Ask(Request::Read(Read::Identity)));
        let mut hello = Hello::of_this_process(&self.address, self.spawned);
        hello.unit.clone_from(&self.unit);
        hello.limits.connections = self.connections_max;
        hello.attached = self.memory.attached();
        // A client that looks for a store that was moved must neither be sent here nor find its lock held.
        self.store_lock.keep(false);
        if let Some(file) = self.address.file() {
            Location::of(file).tell(&mut hello);
        }
        async move {
            // The ids are missing when there is no store yet, or it does not answer in time.
            if let Ok(Ok(Ok(Reply::Identity(identity)))) =
                tokio::time::timeout(limits::HELLO_STORE_TIMEOUT, asked).await
            {
                hello.store_id = Some(identity.store_id);
                hello.epoch = Some(identity.epoch);
            }
            hello
        }
    }

    /// What this daemon is, and its present state. The store is asked one thing after the other, so that a server needs no
    /// further connection for it.
    async fn status(&self) -> Status {
        let hello = self.hello().await;
        let head = self.head().await;
        let servers = self.backend.send(AskServers).await.unwrap_or_else(|_| Err(trouble::ending()));
        let (subscriptions, slowest_subscriptions) = self.metrics.subscriptions(head.unwrap_or_default());
        let status = Status {
            hello,
            started: self.started.to_string(),
            uptime_ms: whole_ms(self.began.elapsed()),
            head,
            connections: self.clients.connections(),
            processes: self.clients.processes(),
            requests: self.metrics.requests(),
            commits: self.metrics.commits(),
            subscriptions,
            slowest_subscriptions,
            in_flight_bytes: self.memory.small_in_flight_bytes(),
            large_in_flight: self.memory.large_in_flight(),
            servers: Vec::new(),
            warnings: Vec::new(),
        };
        status.with_servers(servers)
    }

    /// The seq of the last change; none when there is no store, or it does not answer in time.
    fn head(&self) -> impl Future<Output = Option<u64>> + use<> {
        let asked = self.backend.send(Ask(Request::Read(Read::StreamSeq)));
        async move {
            match tokio::time::timeout(limits::HELLO_STORE_TIMEOUT, asked).await {
                Ok(Ok(Ok(Reply::Head { seq, .. }))) => Some(seq),
                _ => None,
            }
        }
    }

    fn answer(self: &Arc<Self>, call: Call) -> Pin<Box<dyn Future<Output = Result<Answer>>>> {
        match call {
            Call::Store(request) => {
                if matches!(request, Request::Init | Request::Restore { .. }) {
                    self.store_lock.keep(true);
                }
                let may_be_unknown = request.may_be_unknown();
                let asked = self.backend.send(Ask(request));
                Box::pin(async move {
                    let answer = asked.await.map_err(|_| {
                        if may_be_unknown { trouble::ending().unknown() } else { trouble::ending() }
                    });
                    answer?.map(Answer::Store)
                })
            }
            Call::Hello => {
                let hello = self.hello();
                Box::pin(async move { Ok(Answer::Hello(Box::new(hello.await))) })
            }
            Call::Status => {
                let dispatch = Arc::clone(self);
                Box::pin(async move { Ok(Answer::Status(Box::new(dispatch.status().await))) })
            }
            Call::Shutdown => {
                log::ends("a client asked for it");
                self.stop.cancel();
                Box::pin(std::future::ready(Ok(Answer::Done)))
            }
            // The connection handles these itself.
            Call::Subscribe(_) | Call::Unsubscribe(_) | Call::Acquire(_) | Call::Cancel(_) | Call::Bye => {
                Box::pin(std::future::ready(Ok(Answer::Done)))
            }
        }
    }
}

/// Whether the reply to a request may be larger than a small message.
fn has_large_reply(call: &Call) -> bool {
    let returns = |mutation: &Mutation| matches!(mutation, Mutation::Patch(patch) if patch.return_value);
    match call {
        Call::Store(Request::Read(read)) => matches!(
            read,
            Read::Get { .. }
                | Read::GetBatch { .. }
                | Read::List(_)
                | Read::Stream(_)
                | Read::ConsumerGet(_)
                | Read::ConsumerList(_)
                | Read::LockList(_)
        ),
        Call::Store(Request::Write(write)) => match &write.operation {
            WriteOperation::Apply(mutation) => returns(mutation),
            WriteOperation::Mutate(mutations) => mutations.iter().any(returns),
            _ => false,
        },
        _ => false,
    }
}

async fn in_time<T>(
    timeout: Option<Timeout>,
    is_write: bool,
    answer: impl Future<Output = Result<T>>,
) -> Result<T> {
    let outcome = match timeout {
        None => answer.await,
        Some(Timeout { timeout_ms, deadline }) => {
            tokio::time::timeout_at(deadline, answer).await.unwrap_or_else(|_| {
                let error = Error::new(Code::Timeout, format!("no answer within {timeout_ms} ms"));
                // The batch with the write goes on.
                Err(if is_write { error.unknown() } else { error })
            })
        }
    };
    outcome.map_err(trouble::told)
}
