//! A store behind a daemon.

mod connect;
mod connection;
mod deaths;
mod own_connection;
mod spawn;
mod subscription;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::net::UnixStream;
use tokio_util::bytes::Bytes;

use self::connect::Greeted;
pub use self::connect::Target;
use self::connection::Lost;
use self::deaths::Deaths;
use self::own_connection::OwnConnection;
pub use self::spawn::{Launch, Program};
use crate::limits;
use crate::meeting::place::Place;
use crate::protocol::{Acquire, Call, Hello, Id, Status, decode_own, decode_reply, encode_request};
use crate::store::{
    Code, Error, Grant, LockAcquire, LockRelease, Reply, Request, Result, Store, Subscribe, Subscription,
    Write, WriteOperation,
};

/// A connection to a daemon. Calls of concurrent callers share it, and are answered in order.
///
/// When the daemon ends, the next call connects anew, and starts the next daemon where the [`Target`] says so. A call
/// that was under way is repeated when that is safe: when the daemon did not take it, a read, and a write that is
/// applied [`once`](crate::store::Guarded::once). Any other write is unknown then.
pub struct Client {
    target: Target,
    /// Looked at without waiting, so that concurrent calls are sent in the order in which they are first polled.
    greeted: Mutex<Arc<Greeted>>,
    /// Held by the call that connects anew.
    connecting: tokio::sync::Mutex<()>,
    next_id: AtomicU64,
}

impl Client {
    /// Connects to the daemon at this socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `unavailable` when nobody listens there, or somebody whom this user should not trust; `unsupported` when the
    /// daemon speaks another protocol.
    pub async fn connect(socket: &Path) -> Result<Client> {
        Client::connect_to(Target { place: Place::at(socket)?, address: None, launch: None }).await
    }

    /// Connects to the daemon of a store, and starts it when nobody listens and the target says so.
    ///
    /// # Errors
    /// As [`connect`](Client::connect), or what kept it from starting.
    pub async fn connect_to(target: Target) -> Result<Client> {
        let greeted = target.connect().await?;
        Ok(Client::of(target, greeted))
    }

    /// Connects to the daemon that there is, whatever protocol it speaks: to ask who it is, and to end it.
    ///
    /// # Errors
    /// `unavailable` when it does not answer.
    pub async fn find(target: Target) -> Result<Option<Client>> {
        let found = target.find(None).await?;
        Ok(found.map(|greeted| Client::of(target, greeted)))
    }

    fn of(target: Target, greeted: Greeted) -> Client {
        Client {
            target,
            greeted: Mutex::new(Arc::new(greeted)),
            connecting: tokio::sync::Mutex::new(()),
            next_id: AtomicU64::new(1),
        }
    }

    /// Who the daemon said it is when it was connected to.
    pub fn hello(&self) -> Hello {
        self.last_greeted().hello.clone()
    }

    /// Asks the daemon who it is and what it is doing.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn status(&self) -> Result<Status> {
        decode_own(&self.exchange(&Call::Status).await?)
    }

    /// Ends the daemon, once it has answered what it was asked, and waits for its death: a start right behind it finds
    /// the place free.
    ///
    /// # Errors
    /// `timeout` when it lives on.
    pub async fn end_daemon(&self) -> Result<()> {
        self.last_greeted().end_daemon().await
    }

    /// Where the daemon listens that was connected to last.
    pub fn socket(&self) -> PathBuf {
        self.last_greeted().socket.clone()
    }

    /// Another connection to the same daemon, for who speaks the protocol itself.
    ///
    /// # Errors
    /// `unavailable` when it has ended meanwhile.
    pub async fn open_stream(&self) -> Result<UnixStream> {
        let socket = self.socket();
        connect::open(&socket).await?.ok_or_else(|| connect::nobody(&socket))
    }

    fn encode(&self, call: &Call) -> Vec<u8> {
        encode_request(&Id::number(self.next_id.fetch_add(1, Ordering::Relaxed)), call)
    }

    /// Sends a call and waits for its answer.
    async fn exchange(&self, call: &Call) -> Result<Bytes> {
        let patience = match call {
            Call::Store(Request::Compact | Request::Restore { .. }) => limits::MAINTENANCE_TIMEOUT,
            _ => limits::CALL_TIMEOUT,
        };
        let answer = tokio::time::timeout(patience, self.exchange_again(call));
        let late = || Error::new(Code::Timeout, "the daemon did not answer in time");
        answer.await.unwrap_or_else(|_| Err(unanswered(call, late())))
    }

    async fn exchange_again(&self, call: &Call) -> Result<Bytes> {
        let mut deaths = Deaths::default();
        // What one daemon may have done stays open when no other one can be asked.
        let mut is_open = false;
        let failed = |error, is_open| if is_open { unanswered(call, error) } else { error };
        for _ in 0..limits::CALL_TRIES {
            let greeted = self.greeted().await.map_err(|error| failed(error, is_open))?;
            let asked = Instant::now();
            match greeted.connection.ask(self.encode(call)).await {
                Ok(line) => return Ok(line),
                Err(Lost::NotTaken) => {}
                Err(Lost::Unanswered) if may_repeat(call) => {
                    deaths.add(asked).map_err(|error| unanswered(call, error))?;
                    is_open = true;
                }
                Err(Lost::Unanswered) => {
                    let error = Error::new(Code::Unavailable, "the daemon went away before it answered");
                    return Err(unanswered(call, error));
                }
            }
        }
        let error = Error::new(Code::Unavailable, "the daemon went away again and again");
        Err(failed(error.hint("see its log: kv daemon logs"), is_open))
    }

    fn last_greeted(&self) -> Arc<Greeted> {
        // Nobody panics while holding this mutex; a poisoned one would still hold a good value.
        Arc::clone(&self.greeted.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The present connection, or the next one when it has ended.
    async fn greeted(&self) -> Result<Arc<Greeted>> {
        let greeted = self.last_greeted();
        if !greeted.connection.has_ended() {
            return Ok(greeted);
        }
        let _connecting = self.connecting.lock().await;
        let greeted = self.last_greeted();
        if !greeted.connection.has_ended() {
            return Ok(greeted);
        }
        let greeted = Arc::new(self.target.connect().await?);
        *self.greeted.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&greeted);
        Ok(greeted)
    }

    /// A daemon of another version may not know what this one asks for.
    fn explain(&self, error: Error) -> Error {
        let version = self.hello().version;
        let is_strange = matches!(error.code, Code::UnknownOp | Code::UnknownField | Code::Internal);
        if is_strange && version != env!("CARGO_PKG_VERSION") {
            return error.hint(format!(
                "the daemon is kv {version}, this is kv {}: kv daemon restart",
                env!("CARGO_PKG_VERSION")
            ));
        }
        error
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // A connection string may hold a password.
        f.debug_struct("Client").field("socket", &self.target.place.socket()).finish_non_exhaustive()
    }
}

/// What a daemon does for a connection, and takes from none.
fn refuse_what_is_the_daemons(operation: &WriteOperation) -> Result<()> {
    let message = match operation {
        WriteOperation::ConsumerHold(_) | WriteOperation::ConsumerLeave(_) => {
            "a session holds a consumer through a daemon by its subscription only"
        }
        WriteOperation::LockRelease(LockRelease { refreshes: Some(_), .. }) => {
            "a daemon does not tell how often a lock was refreshed"
        }
        _ => return Ok(()),
    };
    Err(Error::new(Code::Unsupported, message))
}

fn may_repeat(call: &Call) -> bool {
    matches!(
        call,
        Call::Hello
            | Call::Status
            | Call::Store(
                Request::Read(_)
                    | Request::Write(Write { once: Some(_), .. })
                    | Request::Compact
                    | Request::Restore { .. }
            )
    )
}

fn unanswered(call: &Call, error: Error) -> Error {
    match call {
        Call::Store(Request::Write(_) | Request::Init) => {
            error.unknown().hint("read the key to learn whether the write was applied")
        }
        Call::Store(Request::Restore { .. }) => {
            error.unknown().hint("restore the backup again, or see which store is there: kv daemon status")
        }
        _ => error,
    }
}

#[async_trait]
impl Store for Client {
    async fn call(&self, request: Request) -> Result<Reply> {
        request.check()?;
        if let Request::Write(Write { operation, .. }) = &request {
            refuse_what_is_the_daemons(operation)?;
        }
        let call = Call::Store(request);
        let line = self.exchange(&call).await?;
        let reply = match &call {
            Call::Store(request) => decode_reply(request, &line),
            _ => Err(Error::new(Code::Internal, "not a request of the store")),
        };
        match reply {
            Err(error) => Err(self.explain(error)),
            reply => reply,
        }
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        let begun = subscription::begin(self.target.clone(), subscribe).await;
        begun.map_err(|error| self.explain(error))
    }

    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant> {
        let request = Request::Write(WriteOperation::LockAcquire(acquire.clone()).into());
        request.check()?;
        if wait.is_zero() {
            return self.call(request).await?.try_into();
        }
        let deadline = Instant::now() + wait.min(Duration::from_millis(limits::TIMEOUT_MS));
        let mut is_unknown = false;
        let mut deaths = Deaths::default();
        loop {
            let mut asked = Instant::now();
            let left = deadline.saturating_duration_since(Instant::now());
            let answer = async {
                let socket = self.greeted().await?.socket.clone();
                let call = Call::Acquire(Acquire { acquire: acquire.clone(), wait: left, session: false });
                let mut connection = OwnConnection::open(&socket).await?;
                asked = Instant::now();
                decode_reply(&request, &connection.ask(&call, left).await?)
            };
            match answer.await {
                // The same owner may always ask again: what it has already, it keeps.
                Err(error) if error.code == Code::Unavailable && error.retry && !left.is_zero() => {
                    is_unknown |= error.maybe;
                    if error.maybe {
                        deaths.add(asked).map_err(Error::unknown)?;
                    }
                    tokio::time::sleep(limits::RESUME_INTERVAL).await;
                }
                // Somebody else has it, or had it since, so what was not answered before has no effect any more.
                Err(error) if matches!(error.code, Code::Locked | Code::NotOwner) => return Err(error),
                Err(error) => {
                    let error = self.explain(error);
                    return Err(if is_unknown { error.unknown() } else { error });
                }
                Ok(reply) => return reply.try_into(),
            }
        }
    }
}
