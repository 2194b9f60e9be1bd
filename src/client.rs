//! A store behind a daemon: [`Client`] implements the contract [`Store`] by a connection to the daemon's socket.

#![deny(clippy::missing_errors_doc)]

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

use self::connect::DaemonConnection;
pub use self::connect::Target;
use self::connection::Failure;
use self::deaths::Deaths;
use self::own_connection::OwnConnection;
pub use self::spawn::{Launch, Program};
use crate::limits;
use crate::meeting::handover::Handover;
use crate::meeting::place::Place;
use crate::protocol::{Acquire, Call, Hello, Id, Status, decode_own, decode_reply, encode_request};
use crate::store::{
    Address, Code, Error, Grant, LockAcquire, LockRelease, Reply, Request, Result, Store, Subscribe,
    Subscription, Write, WriteOperation,
};

/// A connection to a daemon. Calls of concurrent callers share it, and are answered in order: what is called behind a
/// [`Delete`](crate::store::Delete) of a large range waits for its end, so a lock is refreshed meanwhile by another client.
///
/// When the daemon ends, the next call connects anew, and starts the next daemon when the client was [`open`](Client::open)ed. A call
/// that was under way is repeated when that is safe: when the daemon did not take it, when it is a read, and when it is a
/// write that is applied [`once`](crate::store::Guarded::once). Any other write fails with `maybe`: its outcome is unknown.
pub struct Client {
    target: Target,
    /// The connection that was made last. Reading it does not wait, so concurrent calls are sent in the order in which they
    /// are first polled.
    daemon: Mutex<Arc<DaemonConnection>>,
    /// Held by the call that connects anew.
    connecting: tokio::sync::Mutex<()>,
    next_id: AtomicU64,
}

impl Client {
    /// Connects to the daemon at this socket, and starts none. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `unavailable` when no daemon listens there, it does not answer, or it runs as a user that this one should not trust;
    /// `unsupported` when it speaks another protocol.
    pub async fn connect(socket: &Path) -> Result<Client> {
        Client::connect_to(Target { place: Place::at(socket)?, address: None, launch: None }).await
    }

    /// Connects to the daemon of the store at this path or connection string, as [`Address::of`](crate::store::Address::of)
    /// reads it. When none listens, the program `kv` in `PATH` is started as the daemon, never this program. Must be called
    /// within a tokio runtime.
    ///
    /// ```no_run
    /// use kv::store::{Store, StoreExt};
    ///
    /// # async fn example() -> kv::store::Result<()> {
    /// let store = kv::Client::open("data.db").await?;
    /// store.put_json("hello", "world").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`connect`](Client::connect), or the error that kept the daemon from starting; `bad_request` for a store that has no
    /// daemon, because it is in memory.
    pub async fn open(connection: &str) -> Result<Client> {
        let address = Address::of(connection)?;
        if address.is_memory() {
            return Err(
                Error::new(Code::BadRequest, "a store in memory has no daemon").hint("open it with kv::open")
            );
        }
        let place = Place::for_store(&address.identity(), None)?;
        let handover = Handover {
            engine: address.kind().as_str().to_owned(),
            connection: address.connection(),
            socket: place.socket().to_owned(),
            idle_timeout_s: limits::IDLE_TIMEOUT.as_secs(),
            log_level: None,
            started_by: String::new(),
        };
        let launch = Launch { program: Program::in_path(), handover };
        Client::connect_to(Target { place, address: Some(address), launch: Some(launch) }).await
    }

    /// Connects to the daemon of a store, and starts it when none listens and the target says how. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// As [`connect`](Client::connect), or the error that kept the daemon from starting.
    #[doc(hidden)]
    pub async fn connect_to(target: Target) -> Result<Client> {
        let daemon = target.connect().await?;
        Ok(Client::of(target, daemon))
    }

    /// Connects to the daemon of a store, whatever protocol it speaks; none when no daemon listens. Starts none. Such a
    /// client can always tell the daemon's version and end it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `unavailable` when the daemon does not answer, serves another store, or should not be trusted by this user.
    #[doc(hidden)]
    pub async fn find(target: Target) -> Result<Option<Client>> {
        let found = target.find(None).await?;
        Ok(found.map(|daemon| Client::of(target, daemon)))
    }

    fn of(target: Target, daemon: DaemonConnection) -> Client {
        Client {
            target,
            daemon: Mutex::new(Arc::new(daemon)),
            connecting: tokio::sync::Mutex::new(()),
            next_id: AtomicU64::new(1),
        }
    }

    /// The answer of the daemon to `hello` when this client connected: its version, process, store and limits.
    #[doc(hidden)]
    #[must_use]
    pub fn hello(&self) -> Hello {
        self.last_daemon().hello.clone()
    }

    /// Asks the daemon for its status: what [`hello`](Client::hello) tells, its connections and the requests in flight.
    ///
    /// # Errors
    /// As [`Store::call`].
    #[doc(hidden)]
    pub async fn status(&self) -> Result<Status> {
        decode_own(&self.exchange(&Call::Status).await?)
    }

    /// Ends the daemon, which first answers the requests that it has read, and waits until its process has ended: the next
    /// daemon can start at once.
    ///
    /// # Errors
    /// `timeout` when it lives longer than [`limits::STOP_TIMEOUT`].
    #[doc(hidden)]
    pub async fn end_daemon(&self) -> Result<()> {
        self.last_daemon().end_daemon().await
    }

    /// The path of the socket of the daemon to which this client connected last.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.last_daemon().socket.clone()
    }

    /// Opens another connection to the same daemon, for a caller that speaks the protocol itself.
    ///
    /// # Errors
    /// `unavailable` when the daemon has ended in the meantime.
    #[doc(hidden)]
    pub async fn open_stream(&self) -> Result<UnixStream> {
        let socket = self.socket();
        connect::open(&socket).await?.ok_or_else(|| connect::no_daemon(&socket))
    }

    fn encode(&self, call: &Call) -> Vec<u8> {
        encode_request(&Id::number(self.next_id.fetch_add(1, Ordering::Relaxed)), call)
    }

    /// Sends a call and waits for its answer, for as long as such a call may take.
    async fn exchange(&self, call: &Call) -> Result<Bytes> {
        let patience = match call {
            Call::Store(Request::Compact | Request::Restore { .. }) => limits::LONG_CALL_TIMEOUT,
            Call::Store(Request::Write(write)) if write.operation.is_range_delete() => {
                limits::LONG_CALL_TIMEOUT
            }
            _ => limits::CALL_TIMEOUT,
        };
        let answer = tokio::time::timeout(patience, self.exchange_repeatedly(call));
        let late = || Error::new(Code::Timeout, "the daemon did not answer in time");
        answer.await.unwrap_or_else(|_| Err(unanswered(call, late())))
    }

    /// Sends a call to one daemon after the other until one answers, as long as that is safe.
    async fn exchange_repeatedly(&self, call: &Call) -> Result<Bytes> {
        let mut deaths = Deaths::default();
        // Whether a daemon may have executed the call already: then the outcome is unknown when no other one can be asked.
        let mut is_open = false;
        let failed = |error, is_open| if is_open { unanswered(call, error) } else { error };
        for _ in 0..limits::CALL_TRIES {
            let daemon = self.daemon().await.map_err(|error| failed(error, is_open))?;
            let asked = Instant::now();
            match daemon.connection.ask(self.encode(call)).await {
                Ok(line) => return Ok(line),
                Err(Failure::NotTaken) => {}
                Err(Failure::Unanswered) if may_repeat(call) => {
                    deaths.add(asked).map_err(|error| unanswered(call, error))?;
                    is_open = true;
                }
                Err(Failure::Unanswered) => {
                    let error = Error::new(Code::Unavailable, "the daemon went away before it answered");
                    return Err(unanswered(call, error));
                }
            }
        }
        let error = Error::new(Code::Unavailable, "the daemon went away again and again");
        Err(failed(error.hint("see its log: kv daemon logs"), is_open))
    }

    fn last_daemon(&self) -> Arc<DaemonConnection> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good value.
        Arc::clone(&self.daemon.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The connection that was made last or, when that has ended, a new one.
    async fn daemon(&self) -> Result<Arc<DaemonConnection>> {
        let daemon = self.last_daemon();
        if !daemon.connection.has_ended() {
            return Ok(daemon);
        }
        let _connecting = self.connecting.lock().await;
        let daemon = self.last_daemon();
        if !daemon.connection.has_ended() {
            return Ok(daemon);
        }
        let daemon = Arc::new(self.target.connect().await?);
        *self.daemon.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&daemon);
        Ok(daemon)
    }

    /// Adds a hint to errors that may come from a daemon of another version, which does not know all that this one asks for.
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

/// Refuses the requests that a daemon makes on behalf of a connection: the protocol has none of them.
fn refuse_internal(operation: &WriteOperation) -> Result<()> {
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

/// Whether a call that a daemon may have executed can be sent again without a second effect.
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

/// The error for a call that may have been executed, where that makes a difference.
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
            refuse_internal(operation)?;
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
                let socket = self.daemon().await?.socket.clone();
                let call = Call::Acquire(Acquire { acquire: acquire.clone(), wait: left, session: false });
                let mut connection = OwnConnection::open(&socket).await?;
                asked = Instant::now();
                decode_reply(&request, &connection.ask(&call, left).await?)
            };
            match answer.await {
                // The same owner may always ask again: a lock that it got already, it keeps.
                Err(error) if error.code == Code::Unavailable && error.retry && !left.is_zero() => {
                    is_unknown |= error.maybe;
                    if error.maybe {
                        deaths.add(asked).map_err(Error::unknown)?;
                    }
                    tokio::time::sleep(limits::RESUME_INTERVAL).await;
                }
                // Another owner has the lock, or had it since, so an attempt without an answer has no effect any more.
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
