//! A connection for one call that takes long: so it delays no other call, and ends when its caller goes away.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio_util::bytes::Bytes;
use tokio_util::codec::FramedRead;

use super::connect;
use crate::limits;
use crate::protocol::{Call, Id, Line, LineCodec, encode_request};
use crate::store::{Error, Result};

pub(super) struct OwnConnection(FramedRead<UnixStream, LineCodec>);

impl OwnConnection {
    /// Sends a request to the daemon at this socket, and waits for its reply: for as long as `wait` and any call may take.
    pub(super) async fn open(socket: &Path, call: &Call, wait: Duration) -> Result<(OwnConnection, Bytes)> {
        let stream = connect::open(socket).await?.ok_or_else(|| connect::nobody(socket))?;
        let mut connection = OwnConnection(FramedRead::new(stream, LineCodec::default()));
        connection.send(call).await.map_err(|_| lost(socket))?;
        let reply = tokio::time::timeout(limits::CALL_TIMEOUT.saturating_add(wait), connection.line()).await;
        let reply =
            reply.map_err(|_| connect::unavailable(socket, "the daemon does not answer").unknown())?;
        Ok((connection, reply.ok_or_else(|| lost(socket))?))
    }

    pub(super) async fn send(&mut self, call: &Call) -> std::io::Result<()> {
        self.0.get_mut().write_all(&encode_request(&Id::number(0), call)).await
    }

    /// The next line; none when nothing more comes. Nothing is lost when the future is dropped.
    pub(super) async fn line(&mut self) -> Option<Bytes> {
        match self.0.next().await {
            Some(Ok(Line::Whole(line))) => Some(line),
            _ => None,
        }
    }
}

/// Whether it took what was sent is not known.
fn lost(socket: &Path) -> Error {
    connect::unavailable(socket, "the daemon went away").unknown()
}
