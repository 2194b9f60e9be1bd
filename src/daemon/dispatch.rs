//! From a request to who answers it.

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
use super::store_lock::StoreLock;
use super::{log, trouble};
use crate::actors::backend::{Ask, Backend, Points, PointsTold, WriteGroup};
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
    Subscribe, Timestamp, Write, WriteOperation,
};

/// Which requests of a connection may run together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Writes take effect in the order in which they are sent on, but for deletes of ranges.
    Write,
    /// Runs alone: two reads could see the store the other way round, and what ends or creates something, or may be
    /// answered with a large reply, is waited for.
    Alone,
}

/// An answer, with its place when one was taken for a reply that may be large.
pub(super) type Answered = (Result<Answer>, Option<OwnedSemaphorePermit>);

/// Until when a client wants to wait.
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

/// Everything a connection needs to have its requests answered.
pub(super) struct Dispatch {
    pub(super) backend: Addr<Backend>,
    pub(super) lock_expiry: Addr<LockExpiry>,
    pub(super) stream_notifier: Addr<StreamNotifier>,
    pub(super) address: Address,
    /// Whether a command started this daemon.
    pub(super) spawned: bool,
    pub(super) started: Timestamp,
    pub(super) store_lock: StoreLock,
    pub(super) clients: Arc<Clients>,
    pub(super) connections_max: usize,
    /// For what is in flight. The bound stands in front of the actor: a mailbox has none that holds.
    pub(super) memory: Memory,
    pub(super) stop: CancellationToken,
}

impl Dispatch {
    pub(super) fn lane(call: &Call) -> Lane {
        match call {
            _ if has_large_reply(call) => Lane::Alone,
            // Whose lock it is, is known before the next one.
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

    /// Reads what stands under these keys, which were checked.
    pub(super) fn points(&self, keys: Vec<String>, told: PointsTold) {
        // The mailbox is never full. While the daemon ends, what is dropped with the message tells so.
        let _ = self.backend.try_send(Points { keys, told });
    }

    /// Writes what was checked.
    pub(super) fn writes(&self, writes: Writes) {
        let _ = self.backend.try_send(WriteGroup(writes));
    }

    /// Starts a request at once, so that requests reach the backend in the order of the calls.
    pub(super) fn start(self: &Arc<Self>, incoming: Incoming) -> Pin<Box<dyn Future<Output = Answered>>> {
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

    /// Begins to follow the stream. Who drops the future gives up.
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

    /// Waits for an actor, until the client has waited for long enough, or the daemon ends. Who drops the future gives up.
    fn unless_given_up<T, A: Future<Output = std::result::Result<Result<T>, MailboxError>>>(
        &self,
        asked: Result<A>,
        is_write: bool,
        timeout_ms: Option<u64>,
        given_up: DropGuard,
    ) -> impl Future<Output = Result<T>> + use<T, A> {
        let (stop, timeout) = (self.stop.clone(), Timeout::of(timeout_ms));
        // What an attempt to write brings in that moment is given back, or expires.
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
        // What cannot be given back expires.
        async move { drop(left.await) }
    }

    /// Asks for a lock that others may hold. Who drops the future gives up.
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
            // Whoever lost a lock before has nothing to give back; others wait for the expiry.
            if let Ok(Err(error)) = released
                && error.code != Code::NotOwner
            {
                tracing::warn!(%error, "a lock of a connection that ended could not be released");
            }
        }
    }

    /// Who this daemon is. It is told at once, because that is how a client learns that the daemon lives: the store has
    /// a moment to say which one it is.
    fn hello(&self) -> impl Future<Output = Hello> + use<> {
        let asked = self.backend.send(Ask(Request::Read(Read::Identity)));
        let mut hello = Hello::of_this_process(&self.address, self.spawned);
        hello.limits.connections = self.connections_max;
        hello.attached = self.memory.attached();
        // Whoever comes for a store that was moved must neither be sent here nor find it held.
        self.store_lock.keep(false);
        if let Some(file) = self.address.file() {
            Location::of(file).tell(&mut hello);
        }
        async move {
            // A daemon without a store is a daemon all the same.
            if let Ok(Ok(Ok(Reply::Identity(identity)))) =
                tokio::time::timeout(limits::HELLO_STORE_TIMEOUT, asked).await
            {
                hello.store_id = Some(identity.store_id);
                hello.epoch = Some(identity.epoch);
            }
            hello
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
                Box::pin(async move { Ok(Answer::Hello(hello.await)) })
            }
            Call::Status => {
                let hello = self.hello();
                let connections = self.clients.connections();
                let processes = self.clients.processes();
                let in_flight_bytes = self.memory.small_in_flight_bytes();
                let large_in_flight = self.memory.large_in_flight();
                let started = self.started.to_string();
                Box::pin(async move {
                    let hello = hello.await;
                    Ok(Answer::Status(Status {
                        hello,
                        started,
                        connections,
                        processes,
                        in_flight_bytes,
                        large_in_flight,
                    }))
                })
            }
            Call::Shutdown => {
                log::ends("a client asked for it");
                self.stop.cancel();
                Box::pin(std::future::ready(Ok(Answer::Done)))
            }
            // Of these the connection takes care.
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
                // The batch that holds the write goes on.
                Err(if is_write { error.unknown() } else { error })
            })
        }
    };
    outcome.map_err(trouble::told)
}
