//! One client's life: lines in, replies out in the same order, until it ends its side or says `bye`.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedWriteHalf;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::codec::FramedRead;

use super::dispatch::{Dispatch, Lane};
use crate::limits;
use crate::protocol::{Call, Incoming, Line, LineCodec, decode_request, encode_reply};
use crate::store::{Code, Error};

/// A reply under way: the encoded line, and the permit that is held until it is written.
type Pending = Pin<Box<dyn Future<Output = (Vec<u8>, Option<OwnedSemaphorePermit>)>>>;

/// Serves one client to its end.
pub(super) async fn serve(stream: UnixStream, dispatch: Arc<Dispatch>) {
    let (reader, writer) = stream.into_split();
    let mut connection = Connection {
        lines: FramedRead::new(reader, LineCodec::default()),
        writer,
        pending: FuturesOrdered::new(),
        lane: Lane::Read,
        held: VecDeque::new(),
        reading: true,
        dispatch,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%error, "a connection ended");
    }
}

struct Connection {
    lines: FramedRead<tokio::net::unix::OwnedReadHalf, LineCodec>,
    writer: OwnedWriteHalf,
    pending: FuturesOrdered<Pending>,
    /// Which kind of requests is under way.
    lane: Lane,
    /// A request that waits until those of the other kind are answered.
    held: VecDeque<(Incoming, OwnedSemaphorePermit)>,
    reading: bool,
    dispatch: Arc<Dispatch>,
}

impl Connection {
    async fn run(&mut self) -> std::io::Result<()> {
        let stop = self.dispatch.stop.clone();
        loop {
            if self.pending.is_empty() {
                if let Some((incoming, permit)) = self.held.pop_front() {
                    self.start(incoming, permit);
                } else if !self.reading {
                    return self.writer.shutdown().await;
                }
            }
            let may_read =
                self.reading && self.held.is_empty() && self.pending.len() < limits::CONNECTION_REQUESTS;
            tokio::select! {
                biased;
                Some(reply) = self.pending.next(), if !self.pending.is_empty() => self.write(reply).await?,
                line = self.lines.next(), if may_read => match line {
                    Some(Ok(line)) => self.take(line).await,
                    Some(Err(error)) => return Err(error),
                    None => self.reading = false,
                },
                () = stop.cancelled(), if self.reading => self.reading = false,
            }
        }
    }

    async fn take(&mut self, line: Line) {
        let line = match line {
            Line::Whole(line) => line,
            Line::TooLong => {
                let message = format!("a line is over {} bytes", limits::LINE_BYTES);
                return self.fail(None, Error::new(Code::TooLarge, message));
            }
            Line::CutOff => {
                let error =
                    Error::new(Code::ParseError, "the last line has no newline, so it was not executed");
                return self.fail(None, error.hint("end every line with a newline"));
            }
        };
        let incoming = match decode_request(&line) {
            Ok(incoming) => incoming,
            Err((id, error)) => return self.fail(id, error),
        };
        let weight = u32::try_from(line.len().max(limits::REQUEST_WEIGHT_BYTES)).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.dispatch.permits);
        // Replies are written while the permit is waited for: other connections hold it, or this one's own.
        let mut permit = Box::pin(permits.acquire_many_owned(weight));
        let permit = loop {
            tokio::select! {
                permit = &mut permit => break permit,
                Some(reply) = self.pending.next(), if !self.pending.is_empty() => {
                    if self.write(reply).await.is_err() {
                        self.reading = false;
                        return;
                    }
                }
            }
        };
        // The semaphore is never closed.
        let Ok(permit) = permit else { return };
        let lane = Dispatch::lane(&incoming.call);
        if self.pending.is_empty() || (lane == self.lane && lane != Lane::Alone) {
            self.start(incoming, permit);
        } else {
            self.held.push_back((incoming, permit));
        }
    }

    fn start(&mut self, incoming: Incoming, permit: OwnedSemaphorePermit) {
        self.lane = Dispatch::lane(&incoming.call);
        if incoming.call == Call::Bye {
            self.reading = false;
        }
        let id = incoming.id.clone();
        let answer = self.dispatch.start(incoming);
        self.pending
            .push_back(Box::pin(async move { (encode_reply(id.as_ref(), answer.await), Some(permit)) }));
    }

    fn fail(&mut self, id: Option<crate::protocol::Id>, error: Error) {
        let reply = encode_reply(id.as_ref(), Err(error));
        self.pending.push_back(Box::pin(std::future::ready((reply, None))));
    }

    /// Writes a reply together with those that are ready behind it.
    async fn write(
        &mut self,
        (mut replies, permit): (Vec<u8>, Option<OwnedSemaphorePermit>),
    ) -> std::io::Result<()> {
        let mut permits = vec![permit];
        while replies.len() < limits::REPLY_BUFFER_BYTES {
            let Some(Some((reply, permit))) = self.pending.next().now_or_never() else { break };
            replies.extend_from_slice(&reply);
            permits.push(permit);
        }
        let mut rest = replies.as_slice();
        while !rest.is_empty() {
            let written = tokio::time::timeout(limits::WRITE_STALL_TIMEOUT, self.writer.write(rest)).await;
            match written {
                Ok(Ok(0)) => return Err(std::io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count?..],
                Err(_) => return Err(std::io::ErrorKind::TimedOut.into()),
            }
        }
        drop(permits);
        Ok(())
    }
}
