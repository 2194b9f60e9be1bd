//! A store behind a daemon.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::Bytes;
use tokio_util::codec::FramedRead;

use crate::daemon::place::{Place, check_peer, is_system};
use crate::daemon::spawn::{self, Handover};
use crate::limits;
use crate::protocol::{Call, Hello, Id, Line, LineCodec, Status, decode_own, decode_reply, encode_request};
use crate::store::{Code, Error, Reply, Request, Result, Store};

/// A connection to a daemon. Calls of concurrent callers share it, and are answered in order.
#[derive(Debug)]
pub struct Client {
    calls: mpsc::Sender<Sent>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct Sent {
    line: Vec<u8>,
    answer: oneshot::Sender<Bytes>,
}

impl Client {
    /// Connects to the daemon at this socket. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `unavailable` when nobody listens there, or somebody whom this user should not trust.
    pub async fn connect(socket: &Path) -> Result<Client> {
        Client::find(&[socket]).await?.ok_or_else(|| nobody(socket))
    }

    /// Connects to the daemon of a place, or of the system.
    ///
    /// # Errors
    /// As [`connect`](Client::connect).
    pub async fn connect_to(place: &Place) -> Result<Client> {
        Client::find(&place.candidates()).await?.ok_or_else(|| nobody(place.socket()))
    }

    /// Connects to the daemon of a place, or of the system, and starts it when nobody listens.
    ///
    /// # Errors
    /// What kept it from starting.
    pub async fn connect_or_start(place: &Place, handover: &Handover) -> Result<Client> {
        if let Some(client) = Client::find(&place.candidates()).await? {
            return Ok(client);
        }
        let (place, handover) = (place.clone(), handover.clone());
        let socket = tokio::task::spawn_blocking(move || spawn::start(&place, &handover))
            .await
            .map_err(|error| Error::new(Code::Internal, error.to_string()))??;
        Client::connect(&socket).await
    }

    /// Connects to the first socket where somebody listens, if there is one.
    async fn find(sockets: &[&Path]) -> Result<Option<Client>> {
        use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
        for socket in sockets {
            let unavailable = |why: &dyn std::fmt::Display| {
                Error::new(Code::Unavailable, format!("{}: {why}", socket.display()))
            };
            let stream =
                match tokio::time::timeout(limits::CONNECT_TIMEOUT, UnixStream::connect(socket)).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) if matches!(error.kind(), ConnectionRefused | NotFound) => continue,
                    // Others may not even look into the directory of the system's daemon.
                    Ok(Err(error)) if error.kind() == PermissionDenied && is_system(socket) => continue,
                    Ok(Err(error)) => return Err(unavailable(&error)),
                    Err(_) => return Err(unavailable(&"the daemon does not accept")),
                };
            check_peer(socket, &stream)?;
            let (calls, waiting) = mpsc::channel(limits::CONNECTION_REQUESTS);
            tokio::spawn(run(stream, waiting));
            return Ok(Some(Client { calls, next_id: AtomicU64::new(1) }));
        }
        Ok(None)
    }

    /// Asks the daemon who it is.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn hello(&self) -> Result<Hello> {
        decode_own(&self.line(&Call::Hello, false).await?)
    }

    /// Asks the daemon who it is and what it is doing.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn status(&self) -> Result<Status> {
        decode_own(&self.line(&Call::Status, false).await?)
    }

    /// Asks the daemon to end, once it has answered what it was asked.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub async fn shutdown(&self) -> Result<()> {
        self.line(&Call::Shutdown, false).await.map(drop)
    }

    async fn line(&self, call: &Call, is_write: bool) -> Result<Bytes> {
        let id = Id::number(self.next_id.fetch_add(1, Ordering::Relaxed));
        let (answer, line) = oneshot::channel();
        let sent = Sent { line: encode_request(&id, call), answer };
        let lost = |code, message: &str| {
            let error = Error::new(code, message);
            if is_write {
                error.unknown().hint("read the key to learn whether the write was applied")
            } else {
                error
            }
        };
        let exchange = async {
            self.calls.send(sent).await.map_err(|_| Error::new(Code::Unavailable, "the daemon is gone"))?;
            line.await.map_err(|_| lost(Code::Unavailable, "the daemon went away before it answered"))
        };
        tokio::time::timeout(limits::CALL_TIMEOUT, exchange)
            .await
            .unwrap_or_else(|_| Err(lost(Code::Timeout, "the daemon did not answer in time")))
    }
}

fn nobody(socket: &Path) -> Error {
    Error::new(Code::Unavailable, format!("no daemon listens at {}", socket.display()))
        .hint("start it with: kv daemon start")
}

#[async_trait]
impl Store for Client {
    async fn call(&self, request: Request) -> Result<Reply> {
        request.check()?;
        let is_write = !matches!(request, Request::Read(_));
        let call = Call::Store(request);
        let line = self.line(&call, is_write).await?;
        match &call {
            Call::Store(request) => decode_reply(request, &line),
            _ => Err(Error::new(Code::Internal, "not a request of the store")),
        }
    }
}

/// Sends lines and hands out the replies, which come in the same order. When the connection ends, whoever waits is
/// told by the end of their channel.
async fn run(stream: UnixStream, mut calls: mpsc::Receiver<Sent>) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = FramedRead::new(reader, LineCodec::default());
    let mut waiting: VecDeque<oneshot::Sender<Bytes>> = VecDeque::new();
    let mut unsent: Vec<u8> = Vec::new();
    loop {
        tokio::select! {
            call = calls.recv(), if unsent.len() < limits::REPLY_BUFFER_BYTES => match call {
                Some(Sent { line, answer }) => {
                    unsent.extend_from_slice(&line);
                    waiting.push_back(answer);
                }
                // The client was dropped: nobody waits for what is still to come.
                None => break,
            },
            written = writer.write(&unsent), if !unsent.is_empty() => match written {
                Ok(count) if count > 0 => drop(unsent.drain(..count)),
                _ => break,
            },
            line = lines.next() => match line {
                Some(Ok(Line::Whole(line))) => match waiting.pop_front() {
                    // A caller that timed out is not there any more; its reply is dropped.
                    Some(answer) => drop(answer.send(line)),
                    None => break,
                },
                _ => break,
            },
        }
    }
}
