//! From a store to a connection: finds the daemon, starts it when none listens, replaces one that is older.

use std::fmt::Display;
use std::io::ErrorKind::{ConnectionRefused, ConnectionReset, NotADirectory, NotFound, PermissionDenied};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::net::UnixStream;
use tokio::time::timeout;

use super::connection::{Connection, Failure};
use super::spawn::{self, Launch};
use crate::limits;
use crate::meeting::location;
use crate::meeting::place::{Place, check_peer, is_system};
use crate::meeting::presence::is_alive_as;
use crate::meeting::store_holder::StoreHolder;
use crate::protocol::{Call, Hello, Id, PROTOCOL, decode_own, encode_request};
use crate::store::{Address, Code, Error, Result};

/// The daemon to connect to: where it listens, which store it has to serve, and how it is started.
#[derive(Clone)]
pub struct Target {
    /// The place of its socket.
    pub place: Place,
    /// The store that it has to serve; none when any store will do.
    pub address: Option<Address>,
    /// How a daemon is started when none listens; none = it is not started.
    pub launch: Option<Launch>,
}

/// A connection to a daemon that has answered `hello`.
#[derive(Debug)]
pub(super) struct DaemonConnection {
    pub(super) connection: Connection,
    /// The answer.
    pub(super) hello: Hello,
    /// The socket on which the daemon listens.
    pub(super) socket: PathBuf,
    /// The process at the other end, as the kernel tells it.
    pid: Option<i32>,
}

impl Target {
    /// Connects to a daemon that speaks the protocol of this version.
    ///
    /// A daemon that is just ending, or that another command starts or replaces, is gone a moment later: so this searches
    /// again until [`limits::START_TIMEOUT`] is over.
    ///
    /// # Errors
    /// `unavailable` when no daemon listens and none may be started, or it could not be started; as [`find`](Target::find);
    /// `unsupported` when the daemon speaks another protocol.
    pub(super) async fn connect(&self) -> Result<DaemonConnection> {
        let begun = Instant::now();
        let mut elsewhere = None;
        let mut starts = 0;
        loop {
            match self.find(elsewhere.take()).await {
                Ok(Some(found)) if self.is_outdated(&found.hello) => found.end_daemon().await?,
                Ok(Some(found)) => {
                    check_protocol(&found.hello)?;
                    return Ok(found);
                }
                // While the file of the store is being replaced, client and daemon may see different ones.
                Err(error) if error.retry && begun.elapsed() < limits::STORE_LOCK_TIMEOUT => {
                    tokio::time::sleep(limits::DRAIN_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(None) => match &self.launch {
                    Some(launch) if begun.elapsed() < limits::START_TIMEOUT && starts < limits::STARTS => {
                        elsewhere = Some(start(self.place.clone(), launch.clone()).await?);
                        starts += 1;
                    }
                    Some(_) if starts >= limits::STARTS => {
                        return Err(no_daemon(self.place.socket()).hint("see its log: kv daemon logs"));
                    }
                    _ => return Err(no_daemon(self.place.socket())),
                },
            }
        }
    }

    /// Connects to the daemon that serves the store, whatever protocol it speaks; none when no daemon listens. `first` is a
    /// socket that is tried before those of the place.
    ///
    /// # Errors
    /// `unavailable` when the daemon at this place serves another store, does not answer, or should not be trusted.
    pub(super) async fn find(&self, first: Option<PathBuf>) -> Result<Option<DaemonConnection>> {
        self.place.check()?;
        let candidates = self.place.candidates();
        let mut other = None;
        for socket in first.as_deref().into_iter().chain(candidates) {
            match self.greet(socket).await? {
                Some(Ok(found)) => return Ok(Some(found)),
                Some(Err(mismatch)) if self.place.is_chosen() => return Err(mismatch),
                Some(Err(mismatch)) if socket == self.place.socket() => other = Some(mismatch),
                _ => {}
            }
        }
        if let Some(found) = self.find_holder().await? {
            return Ok(Some(found));
        }
        if let Some(found) = self.find_unit().await {
            return Ok(Some(found));
        }
        other.map_or(Ok(None), Err)
    }

    /// Connects to the daemon of a unit, which the connection may start; none when no unit serves the store. A unit that fails
    /// must not fail the commands for all other stores.
    async fn find_unit(&self) -> Option<DaemonConnection> {
        for socket in self.place.unit_sockets() {
            match self.greet(socket).await {
                Ok(Some(Ok(found))) => return Some(found),
                Ok(Some(Err(_)) | None) => {}
                Err(error) => tracing::debug!(%error, "the unit at this socket is passed over"),
            }
        }
        None
    }

    /// Connects to the daemon that has the lock beside the store: in another environment its socket may be elsewhere.
    async fn find_holder(&self) -> Result<Option<DaemonConnection>> {
        let begun = Instant::now();
        while let Some(holder) = self.exclusive_file().and_then(StoreHolder::of) {
            match self.greet(&holder.socket).await? {
                Some(Ok(found)) => return Ok(Some(found)),
                // Its store was moved, and the lock file with it. `hello` has made it release that lock.
                Some(Err(_)) => return Ok(None),
                // A daemon that is started now waits for the lock itself.
                None if self.launch.is_some() => return Ok(None),
                // The holder is ending, or binds its socket anew.
                None if begun.elapsed() < limits::STORE_LOCK_TIMEOUT => {
                    tokio::time::sleep(limits::DRAIN_PAUSE).await;
                }
                None => {
                    let error = unavailable(&holder.socket, holder.unreachable());
                    return Err(error.hint(
                        "end that process, or use kv where its socket is; --daemon=never needs no daemon",
                    ));
                }
            }
        }
        Ok(None)
    }

    /// The database file that only one daemon should serve; none for other stores.
    fn exclusive_file(&self) -> Option<&Path> {
        self.address.as_ref().and_then(Address::exclusive_file)
    }

    /// Connects to the daemon at a socket; none when no daemon listens, the inner error when it serves another store.
    async fn greet(&self, socket: &Path) -> Result<Option<Result<DaemonConnection>>> {
        let Some(found) = greet(socket).await? else { return Ok(None) };
        let Some(address) = &self.address else { return Ok(Some(Ok(found))) };
        Ok(Some(match location::check(address, &found.hello) {
            Ok(()) => Ok(found),
            Err(mismatch) => Err(unavailable(socket, mismatch)
                .hint("name its store with --connection, or another socket with --socket; --daemon=never needs none")),
        }))
    }

    /// Whether a daemon is to be replaced by one of this version: only a daemon that a command started and that no client
    /// depends on, and only when this target can start the next one.
    fn is_outdated(&self, hello: &Hello) -> bool {
        let knows_less = self.address.as_ref().is_some_and(|address| hello.schema < address.schema());
        self.launch.is_some()
            && hello.spawned
            && hello.attached == 0
            && (hello.protocol < PROTOCOL || knows_less)
    }
}

/// Connects to a socket; none when no process listens.
///
/// # Errors
/// `unavailable` when the server does not accept within [`limits::CONNECT_TIMEOUT`], or should not be trusted by this user.
pub(super) async fn open(socket: &Path) -> Result<Option<UnixStream>> {
    let stream = match timeout(limits::CONNECT_TIMEOUT, UnixStream::connect(socket)).await {
        Ok(Ok(stream)) => stream,
        // The connection is reset when the daemon ends before it accepts.
        Ok(Err(error))
            if matches!(error.kind(), ConnectionRefused | ConnectionReset | NotADirectory | NotFound) =>
        {
            return Ok(None);
        }
        // Users outside its group may not even search the directory of a system service.
        Ok(Err(error)) if error.kind() == PermissionDenied && is_system(socket) => return Ok(None),
        Ok(Err(error)) if error.kind() == PermissionDenied => {
            return Err(unavailable(socket, error).hint("it is another user's: see --socket and KV_SOCKET"));
        }
        Ok(Err(error)) => return Err(unavailable(socket, error)),
        Err(_) => return Err(unavailable(socket, "the daemon does not accept")),
    };
    check_peer(socket, &stream)?;
    Ok(Some(stream))
}

/// Connects to a socket and sends `hello`; none when no daemon listens, or it ends before it answers.
async fn greet(socket: &Path) -> Result<Option<DaemonConnection>> {
    let Some(stream) = open(socket).await? else { return Ok(None) };
    let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let connection = Connection::new(stream);
    match timeout(limits::CONNECT_TIMEOUT, connection.ask(line(&Call::Hello))).await {
        Ok(Ok(line)) => {
            let hello = decode_own(&line)?;
            Ok(Some(DaemonConnection { connection, hello, socket: socket.to_owned(), pid }))
        }
        // It ended between the connect and the answer.
        Ok(Err(Failure::NotTaken | Failure::Unanswered)) => Ok(None),
        Err(_) => {
            let process = pid.map_or_else(String::new, |pid| format!(", process {pid},"));
            let error = unavailable(socket, format!("the daemon{process} does not answer"));
            Err(match pid {
                Some(pid) => error.hint(kill_hint(pid)),
                None => error,
            })
        }
    }
}

/// Checks that a daemon speaks the protocol of this version.
fn check_protocol(hello: &Hello) -> Result<()> {
    if hello.protocol == PROTOCOL {
        return Ok(());
    }
    let Hello { version, protocol, pid, .. } = hello;
    let message = format!(
        "the daemon, kv {version} in process {pid}, speaks protocol {protocol}, and this kv {} speaks {PROTOCOL}",
        env!("CARGO_PKG_VERSION")
    );
    Err(Error::new(Code::Unsupported, message).hint(if *protocol > PROTOCOL {
        "use the newer kv, or end the daemon with: kv daemon stop"
    } else {
        "restart it with: kv daemon restart"
    }))
}

impl DaemonConnection {
    /// Asks the daemon to end, and waits until its process has ended.
    ///
    /// # Errors
    /// `timeout` when it lives longer than [`limits::STOP_TIMEOUT`].
    pub(super) async fn end_daemon(&self) -> Result<()> {
        // The daemon may end by itself before it answers; whether it has ended is checked below.
        let _ = self.connection.ask(line(&Call::Shutdown)).await;
        let place = Place::at(&self.socket)?;
        let pid = self.hello.pid;
        // A daemon in another container tells the pid that it has there, which is that of another process here.
        let is_visible = self.pid.is_some_and(|seen| i64::from(seen) == i64::from(pid));
        let process = PathBuf::from(format!("/proc/{pid}/exe"));
        let deadline = Instant::now() + limits::STOP_TIMEOUT;
        while is_alive_as(&place, pid) || (is_visible && process.exists()) {
            if Instant::now() >= deadline {
                return Err(Error::new(Code::Timeout, format!("the daemon, process {pid}, does not end"))
                    .hint(kill_hint(pid)));
            }
            tokio::time::sleep(limits::DRAIN_PAUSE).await;
        }
        Ok(())
    }
}

fn kill_hint(pid: impl Display) -> String {
    format!("kill -9 {pid}: no acknowledged write is lost")
}

/// Starts the daemon on a thread that may block, and returns the path of its socket.
async fn start(place: Place, launch: Launch) -> Result<PathBuf> {
    tokio::task::spawn_blocking(move || spawn::start(&place, &launch))
        .await
        .map_err(|error| Error::new(Code::Internal, error.to_string()))?
}

/// The line of a call that is alone on its connection.
fn line(call: &Call) -> Vec<u8> {
    encode_request(&Id::number(0), call)
}

/// An error that names the socket.
pub(super) fn unavailable(socket: &Path, why: impl Display) -> Error {
    Error::new(Code::Unavailable, format!("{}: {why}", socket.display()))
}

/// The error when no daemon listens at a socket.
pub(super) fn no_daemon(socket: &Path) -> Error {
    Error::new(Code::Unavailable, format!("no daemon listens at {}", socket.display()))
        .hint("start it with: kv daemon start")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A listener that is closed during a connect resets or refuses it, or its socket is gone.
    #[tokio::test]
    async fn a_daemon_that_ends_during_a_connect_counts_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let path = socket.clone();
        let coming_and_going = std::thread::spawn(move || {
            for _ in 0..20_000 {
                drop(UnixListener::bind(&path));
                let _ = std::fs::remove_file(&path);
            }
        });
        while !coming_and_going.is_finished() {
            let opened = open(&socket).await;
            assert!(opened.is_ok(), "{opened:?}");
        }
        coming_and_going.join().unwrap();
    }
}
