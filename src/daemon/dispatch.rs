//! From a request to who answers it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix::Addr;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::instance::StoreLock;
use crate::actors::backend::{Ask, Backend};
use crate::limits;
use crate::protocol::{Answer, Call, Hello, Incoming, Status};
use crate::store::{Address, Code, Error, Read, Reply, Request, Result, Timestamp};

/// Which requests of a connection may run together. Its reads wait for its earlier writes, and the other way
/// round; other connections never wait for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Read,
    Write,
    /// Runs alone.
    Alone,
}

/// Everything a connection needs to have its requests answered.
pub(super) struct Dispatch {
    pub(super) backend: Addr<Backend>,
    pub(super) address: Address,
    /// Whether a command started this daemon.
    pub(super) spawned: bool,
    pub(super) started: Timestamp,
    pub(super) store_lock: StoreLock,
    pub(super) connections: Arc<AtomicUsize>,
    /// Bytes of requests in flight. The bound stands in front of the actor: a mailbox has none that holds.
    pub(super) permits: Arc<Semaphore>,
    pub(super) stop: CancellationToken,
}

impl Dispatch {
    pub(super) fn lane(call: &Call) -> Lane {
        match call {
            Call::Store(Request::Read(_)) | Call::Hello | Call::Status => Lane::Read,
            Call::Store(Request::Write(_)) => Lane::Write,
            Call::Store(Request::Init) | Call::Shutdown | Call::Bye => Lane::Alone,
        }
    }

    /// Starts a request at once, so that requests reach the backend in the order of the calls.
    pub(super) fn start(
        self: &Arc<Self>,
        incoming: Incoming,
    ) -> impl Future<Output = Result<Answer>> + use<> {
        let is_write = Self::lane(&incoming.call) == Lane::Write;
        let answer = self.answer(incoming.call);
        async move {
            let Some(timeout_ms) = incoming.timeout_ms else { return answer.await };
            match tokio::time::timeout(Duration::from_millis(timeout_ms), answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let error = Error::new(Code::Timeout, format!("no answer within {timeout_ms} ms"));
                    // The batch that holds the write goes on.
                    Err(if is_write { error.unknown() } else { error })
                }
            }
        }
    }

    /// Who this daemon is. It is told at once, because that is how a client learns that the daemon lives: the store has
    /// a moment to say which one it is.
    fn hello(&self) -> impl Future<Output = Hello> + use<> {
        let asked = self.backend.send(Ask(Request::Read(Read::Identity)));
        let mut hello = Hello::of_this_process(&self.address, self.spawned);
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

    fn in_flight_bytes(&self) -> usize {
        limits::IN_FLIGHT_BYTES.saturating_sub(self.permits.available_permits())
    }

    fn answer(self: &Arc<Self>, call: Call) -> std::pin::Pin<Box<dyn Future<Output = Result<Answer>>>> {
        match call {
            Call::Store(request) => {
                if let Some(socket) = self.store_lock.ensure(request == Request::Init) {
                    let error = Error::new(
                        Code::Unavailable,
                        format!("another daemon serves this store at {}", socket.display()),
                    );
                    return Box::pin(std::future::ready(Err(error)));
                }
                let asked = self.backend.send(Ask(request));
                Box::pin(async move { asked.await.map_err(|_| gone())?.map(Answer::Store) })
            }
            Call::Hello => {
                let hello = self.hello();
                Box::pin(async move { Ok(Answer::Hello(hello.await)) })
            }
            Call::Status => {
                let hello = self.hello();
                let (connections, in_flight_bytes) =
                    (self.connections.load(Ordering::SeqCst), self.in_flight_bytes());
                let started = self.started.to_string();
                Box::pin(async move {
                    Ok(Answer::Status(Status { hello: hello.await, started, connections, in_flight_bytes }))
                })
            }
            Call::Shutdown => {
                self.stop.cancel();
                Box::pin(std::future::ready(Ok(Answer::Done)))
            }
            Call::Bye => Box::pin(std::future::ready(Ok(Answer::Done))),
        }
    }
}

fn gone() -> Error {
    Error::new(Code::Unavailable, "the daemon is ending").unknown()
}
