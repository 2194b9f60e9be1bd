//! A connection for one caller: so what takes long delays no other call, and ends when its caller goes away.

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

pub(super) struct OwnConnection {
    lines: FramedRead<UnixStream, LineCodec>,
    socket: PathBuf,
}

impl OwnConnection {
    /// Connects to the daemon at this socket.
    pub(super) async fn open(socket: &Path) -> Result<OwnConnection> {
        let stream = connect::open(socket).await?.ok_or_else(|| connect::nobody(socket))?;
        let lines = FramedRead::new(stream, LineCodec::default());
        Ok(OwnConnection { lines, socket: socket.to_owned() })
    }

    /// Where its daemon listens.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends a request, and waits for its reply: for as long as `wait` and any call may take.
    pub(super) async fn ask(&mut self, call: &Call, wait: Duration) -> Result<Bytes> {
        let reply = async {
            self.lines.get_mut().write_all(&encode_request(&Id::number(0), call)).await.ok()?;
            self.line().await
        };
        let reply = tokio::time::timeout(limits::CALL_TIMEOUT.saturating_add(wait), reply).await;
        // Whether it took what was sent is not known.
        let failed = |why: &str| connect::unavailable(&self.socket, why).unknown();
        reply.map_err(|_| failed("the daemon does not answer"))?.ok_or_else(|| failed("the daemon went away"))
    }

    /// Whether the daemon has ended, or is just ending: it closes its connections then.
    pub(super) async fn has_ended(&mut self) -> bool {
        let ended = async { while self.line().await.is_some() {} };
        tokio::time::timeout(limits::RESUME_PATIENCE, ended).await.is_ok()
    }

    /// The next line; none when nothing more comes. Nothing is lost when the future is dropped.
    pub(super) async fn line(&mut self) -> Option<Bytes> {
        match self.lines.next().await {
            Some(Ok(Line::Whole(line))) => Some(line),
            _ => None,
        }
    }
}
