//! One connection of a client: lines in, replies out in the same order, until the client ends its side or sends `bye`.

mod groups;
mod replies;
mod session;
mod socket;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use rustix::net::Shutdown;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::bytes::BytesMut;
use tokio_util::codec::Decoder as _;

use self::groups::LargeGets;
use self::replies::{PendingReply, ReadyReply};
use self::socket::{is_gone, read_more};
use super::dispatch::{Dispatch, Lane};
use super::memory::Memory;
use super::outlet::Outlet;
use super::session_locks::{CancellableRequests, OwnedLock, SessionLocks};
use super::subscriptions::Subscriptions;
use super::trouble;
use crate::limits;
use crate::meeting::place::{Admission, refused};
use crate::protocol::{
    Acquire, Call, Id, Incoming, Line, LineCodec, decode_request, encode_end, encode_reply,
};
use crate::store::{Code, Error, Read, Request, Write, WriteOperation};

/// Serves one client until its connection ends.
pub(super) async fn serve(stream: UnixStream, dispatch: Arc<Dispatch>) {
    let peer = stream.peer_cred().ok();
    let peer_pid = peer.and_then(|peer| peer.pid());
    let is_owner = peer.is_some_and(|peer| Admission::of_this_process().admits(peer.uid()));
    let (reader, writer) = stream.into_split();
    let mut connection = Connection {
        outlet: Arc::new(Outlet::new(writer)),
        reader,
        buffer: BytesMut::new(),
        codec: LineCodec::telling_long_lines(),
        next: None,
        large_gets: Arc::new(LargeGets::default()),
        pending: FuturesOrdered::new(),
        lane: Lane::Alone,
        held: None,
        long_line: None,
        subscriptions: Subscriptions::default(),
        waits_in_turn: false,
        waiting: FuturesUnordered::new(),
        cancellable: CancellableRequests::default(),
        locks: SessionLocks::default(),
        peer_pid,
        is_owner,
        reading: true,
        stopping: false,
        dispatch,
    };
    let stop = connection.dispatch.stop.clone();
    let drained = async {
        stop.cancelled().await;
        tokio::time::sleep(limits::DRAIN_CONNECTION_TIMEOUT).await;
    };
    tokio::select! {
        ended = connection.run() => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended");
            }
        }
        // A client that reads nothing must not keep the daemon from releasing what belonged to it.
        () = drained => tracing::debug!("a connection was left"),
    }
    connection.leave().await;
    // A client that sees the end of its connection can rely on it that its locks are free.
    let _ = rustix::net::shutdown(connection.outlet.socket.as_ref(), Shutdown::Write);
}

struct Connection {
    outlet: Arc<Outlet>,
    reader: OwnedReadHalf,
    /// The bytes that were read and not yet cut into lines.
    buffer: BytesMut,
    codec: LineCodec,
    /// The next line, which waits until the requests before it allow it.
    next: Option<Line>,
    large_gets: Arc<LargeGets>,
    pending: FuturesOrdered<PendingReply>,
    /// The lane of the requests that are under way.
    lane: Lane,
    /// A request that waits until those of another lane are answered.
    held: Option<(Incoming, OwnedSemaphorePermit)>,
    /// The permit for a long line that is being read, and since when.
    long_line: Option<(OwnedSemaphorePermit, Instant)>,
    subscriptions: Subscriptions,
    /// Whether the request that was started last waits for a lock or consumer, and is answered in its turn.
    waits_in_turn: bool,
    /// Requests that are answered out of order, when their time has come.
    waiting: FuturesUnordered<PendingReply>,
    cancellable: CancellableRequests,
    locks: SessionLocks,
    /// The process at the other end, to show it to people.
    peer_pid: Option<i32>,
    /// Whether the client runs as the user of this daemon or as root, and is not only a member of its group.
    is_owner: bool,
    reading: bool,
    stopping: bool,
    dispatch: Arc<Dispatch>,
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        let dispatch = Arc::clone(&self.dispatch);
        let mut stopped = pin!(dispatch.stop.cancelled());
        loop {
            if self.outlet.has_unsent() {
                self.send(&[], Memory::is_short).await?;
            }
            self.go_on().await?;
            if self.is_finished() {
                return Ok(());
            }
            let since = self.long_line.as_ref().map(|(_, since)| *since);
            // Checked in each turn, whatever else happens on the connection.
            if since.is_some_and(|since| dispatch.memory.is_overdue(since)) {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let may_read = self.reading && self.next.is_none() && !self.is_held_up();
            let read = async {
                let read = read_more(&mut self.reader, &mut self.buffer);
                match since {
                    Some(since) => dispatch.memory.patiently(since, read, Memory::is_short).await,
                    None => read.await,
                }
            };
            tokio::select! {
                Some(reply) = self.pending.next(), if !self.pending.is_empty() => self.write(reply).await?,
                Some(reply) = self.waiting.next(), if !self.waiting.is_empty() => self.write(reply).await?,
                woken = self.subscriptions.next(), if !self.subscriptions.is_empty() => {
                    self.deliver(woken).await?;
                }
                () = self.outlet.changed() => {}
                // While the connection is not read from, the end of the client must be noticed in another way.
                () = is_gone(&self.outlet.socket), if !may_read => return Ok(()),
                read = read, if may_read => self.reading = read? > 0,
                () = &mut stopped, if !self.stopping => {
                    self.stopping = true;
                    let error = trouble::ending();
                    for id in self.subscriptions.end_all() {
                        self.send(&encode_end(&id, error.clone()), Memory::is_short).await?;
                    }
                    // Requests that were sent before this moment are still read and answered; later ones fail at the
                    // client, which so knows that they were not taken.
                    rustix::net::shutdown(self.outlet.socket.as_ref(), Shutdown::Read)?;
                }
            }
        }
    }

    /// Starts the requests that were read, as far as those under way allow.
    async fn go_on(&mut self) -> io::Result<()> {
        loop {
            if self.next.is_none() {
                self.next = self.decode()?;
            }
            let is_more = self.next.is_some() || self.held.is_some() || !self.reading;
            if self.outlet.has_group(is_more) {
                return Ok(());
            }
            if self.pending.is_empty() {
                if let Some((incoming, permit)) = self.held.take() {
                    self.start(incoming, Some(permit));
                    continue;
                }
                let large = groups::lock(&self.large_gets).pop_front();
                if let Some((id, key)) = large {
                    // The memory of the request has been released by now, and its reply takes a permit of its own.
                    let call = Call::Store(Request::Read(Read::Get { key }));
                    self.start(Incoming { id, timeout_ms: None, call }, None);
                    continue;
                }
            }
            if self.is_held_up() {
                return Ok(());
            }
            let Some(mut line) = self.next.take() else { return Ok(()) };
            if self.pending.is_empty() {
                match self.start_group(line).await? {
                    Some(not_plain) => line = not_plain,
                    None => continue,
                }
            }
            self.take(line).await?;
        }
    }

    /// The next line in the buffer.
    fn decode(&mut self) -> io::Result<Option<Line>> {
        if self.buffer.is_empty() && self.reading {
            // Most connections are idle most of the time: an empty buffer holds no memory.
            self.buffer = BytesMut::new();
            return Ok(None);
        }
        if self.reading {
            self.codec.decode(&mut self.buffer)
        } else {
            self.codec.decode_eof(&mut self.buffer)
        }
    }

    /// Whether every request is answered, and no more will come.
    fn is_finished(&self) -> bool {
        !self.reading
            && (self.next.is_none() && self.held.is_none() && self.pending.is_empty())
            && (self.subscriptions.is_empty() && self.waiting.is_empty())
            && groups::lock(&self.large_gets).is_empty()
            && !self.outlet.has_group(true)
            && !self.outlet.has_unsent()
    }

    /// Whether no further request may be started now: one waits for those before it, or those before wait for a lock or
    /// consumer, or too many are under way.
    fn is_held_up(&self) -> bool {
        self.held.is_some()
            || (self.waits_in_turn && !self.pending.is_empty())
            || self.pending.len() >= limits::CONNECTION_REQUESTS
    }

    async fn take(&mut self, line: Line) -> io::Result<()> {
        let place = match (&line, self.long_line.take()) {
            (_, Some((place, _))) => Some(place),
            (Line::Long, None) => {
                self.long_line = Some((self.large_line_place().await?, Instant::now()));
                return Ok(());
            }
            _ => None,
        };
        let line = match line {
            Line::Whole(line) => line,
            Line::Long => return Ok(()),
            Line::TooLong => {
                let message = format!("a line is over {} bytes", limits::LINE_BYTES);
                self.fail(None, Error::new(Code::TooLarge, message));
                return Ok(());
            }
            Line::CutOff => {
                let error =
                    Error::new(Code::ParseError, "the last line has no newline, so it was not executed");
                self.fail(None, error.hint("end every line with a newline"));
                return Ok(());
            }
        };
        let incoming = match decode_request(&line) {
            Ok(incoming) => incoming,
            Err((id, error)) => {
                self.fail(id, error);
                return Ok(());
            }
        };
        let permit = match place {
            Some(place) => place,
            None if line.len() > limits::SMALL_MESSAGE_BYTES => self.large_line_place().await?,
            None => self.small(line.len()).await?,
        };
        let lane = Dispatch::lane(&incoming.call);
        if self.pending.is_empty() || (lane == self.lane && lane != Lane::Alone) {
            self.start(incoming, Some(permit));
        } else {
            self.held = Some((incoming, permit));
        }
        Ok(())
    }

    /// Waits for memory. Replies are written in the meantime: the missing memory may be theirs.
    async fn small(&mut self, bytes: usize) -> io::Result<OwnedSemaphorePermit> {
        let dispatch = Arc::clone(&self.dispatch);
        let mut permit = std::pin::pin!(dispatch.memory.small(bytes));
        loop {
            tokio::select! {
                permit = &mut permit => return Ok(permit),
                Some(reply) = self.pending.next(), if !self.pending.is_empty() => self.write(reply).await?,
            }
        }
    }

    /// Waits for the permit of a large line, after all requests before it are answered. So no connection waits for a
    /// permit while it holds another one, and none waits for ever.
    async fn large_line_place(&mut self) -> io::Result<OwnedSemaphorePermit> {
        while let Some(reply) = self.pending.next().await {
            self.write(reply).await?;
        }
        Ok(self.dispatch.memory.large_line().await)
    }

    fn start(&mut self, mut incoming: Incoming, permit: Option<OwnedSemaphorePermit>) {
        self.lane = Dispatch::lane(&incoming.call);
        self.waits_in_turn = match &incoming.call {
            Call::Subscribe(subscribe) => !subscribe.wait.is_zero(),
            Call::Acquire(acquire) => !acquire.wait.is_zero() && incoming.id.is_none(),
            _ => false,
        };
        let id = incoming.id.clone();
        let mut released = None;
        match &mut incoming.call {
            Call::Subscribe(subscribe) => return self.subscribe(id, subscribe.clone(), incoming.timeout_ms),
            Call::Unsubscribe(subscription) => {
                let ended = self.subscriptions.end(subscription);
                return self.unsubscribed(id, subscription, ended);
            }
            Call::Acquire(acquire) => return self.acquire(id, acquire.clone(), incoming.timeout_ms),
            Call::Cancel(target) => {
                let is_there = self.cancellable.cancel(target);
                return self.answer_end_of(id.as_ref(), is_there, "request that waits as", target);
            }
            Call::Store(Request::Write(Write {
                operation: WriteOperation::ConsumerCommit(commit), ..
            })) => {
                let own = || self.subscriptions.holder_of(&commit.name);
                commit.holder = commit.holder.take().or_else(own);
            }
            Call::Store(Request::Write(Write {
                operation: WriteOperation::LockAcquire(acquire), ..
            })) if self.locks.has(&OwnedLock::new(&acquire.name, &acquire.owner)) => {
                // A lock of this connection stays one, so the refresh must be counted.
                let acquire = Acquire { acquire: acquire.clone(), wait: Duration::ZERO, session: false };
                return self.acquire(id, acquire, incoming.timeout_ms);
            }
            Call::Store(Request::Write(Write {
                operation: WriteOperation::LockRelease(release), ..
            })) => {
                let held = OwnedLock::new(&release.name, &release.owner);
                let fence = self.locks.fence(&held);
                // A request for another fence means another grant.
                let fence = fence.filter(|fence| release.fence.is_none_or(|meant| meant == *fence));
                released = fence.map(|fence| (held, fence));
            }
            Call::Store(Request::Restore { .. }) if !self.is_owner => {
                let error = refused("only the owner of a store, or root, replaces it by another one");
                return self.fail(id, error);
            }
            Call::Bye => {
                self.reading = false;
                (self.buffer, self.next) = (BytesMut::new(), None);
                self.subscriptions.end_all();
                self.cancellable.cancel_all();
            }
            _ => {}
        }
        let (metrics, begun) = (Arc::clone(&self.dispatch.metrics), Instant::now());
        let answered = self.dispatch.start(incoming);
        self.pending.push_back(Box::pin(async move {
            let (answer, place) = answered.await;
            metrics.answered_one(Some(begun.elapsed()), &answer);
            let is_ok = answer.is_ok();
            let line = encode_reply(id.as_ref(), answer);
            let ready = match released {
                Some(released) => ReadyReply::Released(line, Some(released).filter(|_| is_ok)),
                None => ReadyReply::line(line, place),
            };
            (ready, permit)
        }));
    }

    fn fail(&mut self, id: Option<Id>, error: Error) {
        let answer = Err(error);
        self.dispatch.metrics.answered_one(None, &answer);
        let reply = ReadyReply::Line(encode_reply(id.as_ref(), answer), None);
        self.pending.push_back(Box::pin(std::future::ready((reply, None))));
    }
}
