//! A subscription through a daemon, on a connection of its own: so one that is read slowly delays no other call.

use std::path::Path;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio_util::bytes::Bytes;
use tokio_util::codec::FramedRead;

use super::connect::{self, Target};
use crate::limits;
use crate::protocol::{Call, Id, Line, LineCodec, Subscribed, decode_event, decode_own, encode_request};
use crate::store::subscription::Source;
use crate::store::{Event, Identity, Result, Start, Subscribe, Subscription};

/// Goes on with the next daemon when one ends, behind what was seen last.
struct Remote {
    target: Target,
    wanted: Subscribe,
    lines: Option<Lines>,
}

type Lines = FramedRead<UnixStream, LineCodec>;

/// Begins a subscription at the daemon that listens on this socket.
pub(super) async fn begin(target: Target, socket: &Path, wanted: Subscribe) -> Result<Subscription> {
    wanted.check()?;
    let (lines, Subscribed { seq, store_id, epoch, .. }) = subscribe(socket, &wanted).await?;
    // From here on it is known what was seen, and in which history.
    let start = match wanted.start {
        Start::Now => Start::After(seq),
        start @ Start::After(_) => start,
    };
    let wanted = Subscribe { start, epoch: Some(epoch.clone()), ..wanted };
    let remote = Remote { target, wanted, lines: Some(lines) };
    Ok(Subscription::new(Identity { store_id, epoch }, seq, remote))
}

async fn subscribe(socket: &Path, wanted: &Subscribe) -> Result<(Lines, Subscribed)> {
    let mut stream = connect::open(socket).await?.ok_or_else(|| connect::nobody(socket))?;
    let lost = || connect::unavailable(socket, "the daemon went away");
    let request = encode_request(&Id::number(0), &Call::Subscribe(wanted.clone()));
    stream.write_all(&request).await.map_err(|_| lost())?;
    let mut lines = FramedRead::new(stream, LineCodec::default());
    let reply = tokio::time::timeout(limits::CALL_TIMEOUT, next_line(&mut lines)).await;
    let reply = reply.map_err(|_| connect::unavailable(socket, "the daemon does not answer"))?;
    let subscribed = decode_own(&reply.ok_or_else(lost)?)?;
    Ok((lines, subscribed))
}

/// None when nothing more comes.
async fn next_line(lines: &mut Lines) -> Option<Bytes> {
    match lines.next().await {
        Some(Ok(Line::Whole(line))) => Some(line),
        _ => None,
    }
}

impl Remote {
    /// Subscribes anew, at the daemon that there is by then.
    async fn resume(&mut self) -> Result<()> {
        let deadline = Instant::now() + limits::RESUME_TIMEOUT;
        loop {
            let resumed = match self.target.connect().await {
                Ok(greeted) => subscribe(&greeted.socket, &self.wanted).await,
                Err(error) => Err(error),
            };
            match resumed {
                Ok((lines, _)) => {
                    self.lines = Some(lines);
                    return Ok(());
                }
                Err(error) if error.retry && Instant::now() < deadline => {
                    tokio::time::sleep(limits::RESUME_INTERVAL).await;
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl Source for Remote {
    async fn next(&mut self) -> Result<Event> {
        loop {
            let Some(lines) = &mut self.lines else {
                self.resume().await?;
                continue;
            };
            let Some(line) = next_line(lines).await else {
                self.lines = None;
                continue;
            };
            match decode_event(&line) {
                Ok(None) => {}
                Ok(Some(event)) => {
                    let seq = match &event {
                        Event::Change(change) => change.seq,
                        Event::Progress { seq, .. } => *seq,
                    };
                    self.wanted.start = Start::After(seq);
                    return Ok(event);
                }
                Err(error) => {
                    self.lines = None;
                    // What passes by itself, as the end of a daemon, is no end.
                    if !error.retry {
                        return Err(error);
                    }
                }
            }
        }
    }
}
