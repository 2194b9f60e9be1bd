//! A connection for one caller: what takes long on it delays no other call, and ends when the caller drops it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio_util::bytes::Bytes;
use tokio_util::codec::FramedRead;

use super::connect;
use crate::limits;
use crate::protocol::{Call, Id, Line, LineCodec, encode_request};
use crate::store::Result;

/// A connection to a daemon that one caller uses for itself.
pub(super) struct OwnConnection {
    lines: FramedRead<UnixStream, LineCodec>,
    socket: PathBuf,
}

impl OwnConnection {
    /// Connects to the daemon at this socket.
    ///
    /// # Errors
    /// `unavailable` when no daemon listens there, or one that this user should not trust.
    pub(super) async fn open(socket: &Path) -> Result<OwnConnection> {
        let stream = connect::open(socket).await?.ok_or_else(|| connect::no_daemon(socket))?;
        let lines = FramedRead::new(stream, LineCodec::default());
        Ok(OwnConnection { lines, socket: socket.to_owned() })
    }

    /// The socket on which the daemon listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request, and waits for its reply for `wait` and [`limits::CALL_TIMEOUT`] on top.
    ///
    /// # Errors
    /// `unavailable` with `maybe` when no reply came: whether the daemon executed the request is unknown.
    pub(super) async fn ask(&mut self, call: &Call, wait: Duration) -> Result<Bytes> {
        let reply = async {
            self.lines.get_mut().write_all(&encode_request(&Id::number(0), call)).await.ok()?;
            self.line().await
        };
        let reply = tokio::time::timeout(limits::CALL_TIMEOUT.saturating_add(wait), reply).await;
        // Whether the daemon took what was sent is unknown.
        let failed = |why: &str| connect::unavailable(&self.socket, why).unknown();
        reply.map_err(|_| failed("the daemon does not answer"))?.ok_or_else(|| failed("the daemon went away"))
    }

    /// Whether the daemon closes this connection, as it does when it ends. Waits for that up to
    /// [`limits::RESUME_PATIENCE`].
    pub(super) async fn has_ended(&mut self) -> bool {
        let ended = async { while self.line().await.is_some() {} };
        tokio::time::timeout(limits::RESUME_PATIENCE, ended).await.is_ok()
    }

    /// The next line; none when the connection has ended. No line is lost when the future is dropped.
    pub(super) async fn line(&mut self) -> Option<Bytes> {
        match self.lines.next().await {
            Some(Ok(Line::Whole(line))) => Some(line),
            _ => None,
        }
    }
}
