//! One client's life: lines in, replies out in the same order, until it ends its side or says `bye`.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::stream::{FuturesOrdered, FuturesUnordered};
use futures_util::{FutureExt as _, StreamExt as _};
use rustix::net::Shutdown;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::codec::FramedRead;
use tokio_util::sync::CancellationToken;

use super::dispatch::{Answered, Dispatch, Lane, Large};
use super::session_locks::{Cancellable, Held, SessionLocks};
use super::subscriptions::{Subscriptions, Woken, change_lines, progress_line};
use crate::limits;
use crate::protocol::{
    Acquire, Answer, Call, Id, Incoming, Line, LineCodec, Subscribed, decode_request, encode_end,
    encode_reply,
};
use crate::store::follow::{Follower, Wake};
use crate::store::{Code, Error, Request, Subscribe, Write, WriteOperation};

/// A reply under way, with the memory of its request, which is held until the reply is written.
type Pending = Pin<Box<dyn Future<Output = (Ready, Option<OwnedSemaphorePermit>)>>>;

enum Ready {
    /// An encoded reply, with its place when it is a large one.
    Line(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// A reply that is only loaded when its turn has come, so that a connection holds one at a time.
    Large(Option<Id>, Large),
    /// The reply to a `subscribe`, behind which the events come.
    Subscribed(Vec<u8>, Id, Box<Follower>),
    /// The reply to a `lock.acquire` that waited, or that is for this connection.
    Acquired { line: Vec<u8>, waited_as: Option<Id>, not_held: Option<Held> },
}

/// Serves one client to its end.
pub(super) async fn serve(stream: UnixStream, dispatch: Arc<Dispatch>) {
    let (reader, writer) = stream.into_split();
    let mut connection = Connection {
        lines: FramedRead::with_capacity(reader, LineCodec::telling_long_lines(), limits::READ_BUFFER_BYTES),
        writer,
        pending: FuturesOrdered::new(),
        lane: Lane::Read,
        held: VecDeque::new(),
        long_line: None,
        subscriptions: Subscriptions::default(),
        waiting: FuturesUnordered::new(),
        cancellable: Cancellable::default(),
        locks: SessionLocks::default(),
        reading: true,
        stopping: false,
        dispatch,
    };
    if let Err(error) = connection.run().await {
        tracing::debug!(%error, "a connection ended");
    }
    connection.leave().await;
}

struct Connection {
    lines: FramedRead<OwnedReadHalf, LineCodec>,
    writer: OwnedWriteHalf,
    pending: FuturesOrdered<Pending>,
    /// Which kind of requests is under way.
    lane: Lane,
    /// A request that waits until those of the other kind are answered.
    held: VecDeque<(Incoming, OwnedSemaphorePermit)>,
    /// The place of a long line that is being read, and since when.
    long_line: Option<(OwnedSemaphorePermit, Instant)>,
    subscriptions: Subscriptions,
    /// Requests that answer when their time has come, out of order.
    waiting: FuturesUnordered<Pending>,
    cancellable: Cancellable,
    locks: SessionLocks,
    reading: bool,
    stopping: bool,
    dispatch: Arc<Dispatch>,
}

impl Connection {
    async fn run(&mut self) -> io::Result<()> {
        let dispatch = Arc::clone(&self.dispatch);
        loop {
            if self.pending.is_empty() {
                if let Some((incoming, permit)) = self.held.pop_front() {
                    self.start(incoming, permit);
                } else if !self.reading && self.subscriptions.is_empty() && self.waiting.is_empty() {
                    return self.writer.shutdown().await;
                }
            }
            let under_way = self.pending.len() + self.waiting.len();
            let may_read = self.reading && self.held.is_empty() && under_way < limits::CONNECTION_REQUESTS;
            let since = self.long_line.as_ref().map(|(_, since)| *since);
            let line = async {
                let line = self.lines.next().map(Option::transpose);
                match since {
                    Some(since) => dispatch.memory.patiently(since, line).await,
                    None => line.await,
                }
            };
            let is_half_closed = !self.reading;
            tokio::select! {
                Some(reply) = self.pending.next(), if !self.pending.is_empty() => self.write(reply).await?,
                Some(reply) = self.waiting.next(), if !self.waiting.is_empty() => self.write(reply).await?,
                woken = self.subscriptions.next() => self.deliver(woken).await?,
                () = is_gone(&self.writer), if is_half_closed => return Ok(()),
                line = line, if may_read => match line? {
                    Some(line) => self.take(line).await?,
                    None => self.reading = false,
                },
                () = dispatch.stop.cancelled(), if !self.stopping => {
                    self.stopping = true;
                    let error = Error::new(Code::Unavailable, "the daemon is ending");
                    for id in self.subscriptions.end_all() {
                        self.send(&encode_end(&id, error.clone())).await?;
                    }
                    // What was sent before this moment is still read and answered; what comes later fails at the
                    // client, which so knows that it was not taken.
                    rustix::net::shutdown(self.lines.get_ref().as_ref(), Shutdown::Read)?;
                }
            }
        }
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
            None => self.small(line.len() + Dispatch::reply_bytes(&incoming.call)).await?,
        };
        let lane = Dispatch::lane(&incoming.call);
        if self.pending.is_empty() || (lane == self.lane && lane != Lane::Alone) {
            self.start(incoming, permit);
        } else {
            self.held.push_back((incoming, permit));
        }
        Ok(())
    }

    /// Waits for memory. Replies are written meanwhile: other connections hold what is missing, or this one's own.
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

    /// Waits for the place of a large line, when all before it is answered: so no connection ever waits for a place
    /// while it has another one, and none waits for ever.
    async fn large_line_place(&mut self) -> io::Result<OwnedSemaphorePermit> {
        loop {
            if let Some(reply) = self.pending.next().await {
                self.write(reply).await?;
            } else if let Some((incoming, permit)) = self.held.pop_front() {
                self.start(incoming, permit);
            } else {
                return Ok(self.dispatch.memory.large_line().await);
            }
        }
    }

    fn start(&mut self, mut incoming: Incoming, permit: OwnedSemaphorePermit) {
        self.lane = Dispatch::lane(&incoming.call);
        let id = incoming.id.clone();
        match &mut incoming.call {
            Call::Subscribe(subscribe) => return self.subscribe(id, subscribe.clone(), permit),
            Call::Unsubscribe(subscription) => {
                let is_there = self.subscriptions.end(subscription);
                return self.done(id.as_ref(), is_there, "subscription", subscription);
            }
            Call::Acquire(acquire) => return self.acquire(id, acquire.clone(), incoming.timeout_ms, permit),
            Call::Cancel(target) => {
                let is_there = self.cancellable.cancel(target);
                return self.done(id.as_ref(), is_there, "request that waits as", target);
            }
            Call::Store(Request::Write(Write {
                operation: WriteOperation::ConsumerCommit(commit), ..
            })) => {
                commit.holder = self.subscriptions.holder_of(&commit.name);
            }
            Call::Bye => {
                self.reading = false;
                self.subscriptions.end_all();
                self.waiting.clear();
            }
            _ => {}
        }
        let answered = self.dispatch.start(incoming);
        self.pending.push_back(Box::pin(async move {
            let ready = match answered.await {
                Answered::Now(answer, place) => Ready::line(encode_reply(id.as_ref(), answer), place),
                Answered::Large(large) => Ready::Large(id, large),
            };
            (ready, Some(permit))
        }));
    }

    fn subscribe(&mut self, id: Option<Id>, subscribe: Subscribe, permit: OwnedSemaphorePermit) {
        let name = match self.subscriptions.name(id.as_ref()) {
            Ok(name) => name,
            Err(error) => return self.fail(id, error),
        };
        let begun = self.dispatch.follow(subscribe, CancellationToken::new().drop_guard());
        self.pending.push_back(Box::pin(async move {
            let ready = match begun.await {
                Ok((follower, seq, identity)) => {
                    let answer = Answer::Subscribed(Subscribed::new(&name, seq, identity));
                    Ready::Subscribed(encode_reply(id.as_ref(), Ok(answer)), name, Box::new(follower))
                }
                Err(error) => Ready::Line(encode_reply(id.as_ref(), Err(error)), None),
            };
            (ready, Some(permit))
        }));
    }

    /// Asks for a lock. With a wait and an id it answers when its time has come, else in its turn.
    fn acquire(
        &mut self,
        id: Option<Id>,
        acquire: Acquire,
        timeout_ms: Option<u64>,
        permit: OwnedSemaphorePermit,
    ) {
        let given_up = CancellationToken::new();
        let waited_as = id.clone().filter(|_| !acquire.wait.is_zero());
        if let Some(name) = &waited_as
            && let Err(error) = self.cancellable.add(name.clone(), given_up.clone())
        {
            return self.fail(id, error);
        }
        let mut noted = None;
        if acquire.session {
            let held = Held::of(&acquire.acquire);
            match self.locks.note(held.clone(), self.dispatch.attach()) {
                Ok(is_new) => noted = Some(held).filter(|_| is_new),
                Err(error) => return self.fail(id, error),
            }
        }
        let attached = self.dispatch.attach();
        let acquired = self.dispatch.acquire(acquire, timeout_ms, given_up);
        let is_waiting = waited_as.is_some();
        let reply: Pending = Box::pin(async move {
            let answer = acquired.await;
            let is_refused = answer.as_ref().is_err_and(|error| !error.maybe);
            let line = encode_reply(id.as_ref(), answer.map(Answer::Store));
            drop(attached);
            (Ready::Acquired { line, waited_as, not_held: noted.filter(|_| is_refused) }, Some(permit))
        });
        if is_waiting {
            self.waiting.push(reply);
        } else {
            self.pending.push_back(reply);
        }
    }

    /// Answers who ends something of this connection.
    fn done(&mut self, id: Option<&Id>, is_there: bool, what: &str, name: &Id) {
        let answer = if is_there {
            Ok(Answer::Done)
        } else {
            Err(Error::new(Code::NotFound, format!("there is no {what} {}", name.as_json())))
        };
        let reply = Ready::Line(encode_reply(id, answer), None);
        self.pending.push_back(Box::pin(std::future::ready((reply, None))));
    }

    /// Gives back what belonged to this connection.
    async fn leave(&mut self) {
        self.subscriptions.end_all();
        self.waiting.clear();
        self.dispatch.release(self.locks.take_all()).await;
    }

    /// Sends what a subscription has, which is loaded only now that the socket can take something.
    async fn deliver(&mut self, Woken { mut active, wake }: Woken) -> io::Result<()> {
        let lines = match wake {
            Ok(Wake::Quiet) => Ok(progress_line(&active)),
            Ok(Wake::News) => {
                let stalled = tokio::time::timeout(limits::STALL_TIMEOUT, self.writer.writable()).await;
                stalled.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                active.follower.read().await.map(|piece| change_lines(&active.id, &piece))
            }
            Err(error) => Err(error),
        };
        let (lines, goes_on) = match lines {
            Ok(lines) => (lines, true),
            Err(error) => (encode_end(&active.id, error), false),
        };
        if goes_on {
            self.subscriptions.wait(active);
        } else {
            self.subscriptions.end(&active.id);
        }
        if lines.is_empty() {
            return Ok(());
        }
        let _held = self.dispatch.memory.events(lines.len()).await;
        self.send(&lines).await
    }

    fn fail(&mut self, id: Option<Id>, error: Error) {
        let reply = Ready::Line(encode_reply(id.as_ref(), Err(error)), None);
        self.pending.push_back(Box::pin(std::future::ready((reply, None))));
    }

    /// Writes a reply together with those that are ready behind it.
    async fn write(&mut self, first: (Ready, Option<OwnedSemaphorePermit>)) -> io::Result<()> {
        let mut next = Some(first);
        while let Some((ready, permit)) = next.take() {
            let (mut lines, place) = match ready {
                Ready::Line(line, place) => (line, place),
                Ready::Subscribed(line, name, follower) => {
                    self.subscriptions.begin(name, *follower, self.dispatch.attach());
                    (line, None)
                }
                Ready::Acquired { line, waited_as, not_held } => {
                    waited_as.inspect(|id| self.cancellable.remove(id));
                    not_held.inspect(|held| self.locks.forget(held));
                    (line, None)
                }
                Ready::Large(id, large) => {
                    let (answer, place) = self.dispatch.load(large).await;
                    (encode_reply(id.as_ref(), answer), Some(place))
                }
            };
            let mut permits = vec![permit, place];
            while lines.len() < limits::REPLY_BUFFER_BYTES && next.is_none() {
                match self.pending.next().now_or_never().flatten() {
                    Some((Ready::Line(line, place), permit)) => {
                        lines.extend_from_slice(&line);
                        permits.extend([permit, place]);
                    }
                    Some(other) => next = Some(other),
                    None => break,
                }
            }
            self.send(&lines).await?;
        }
        Ok(())
    }

    async fn send(&mut self, mut rest: &[u8]) -> io::Result<()> {
        let since = Instant::now();
        while !rest.is_empty() {
            match self.dispatch.memory.patiently(since, self.writer.write(rest)).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => rest = &rest[count..],
            }
        }
        Ok(())
    }
}

/// Waits until the other side is gone, where only its end of input was heard: `nc` with a subscription half-closes and
/// goes on listening.
async fn is_gone(writer: &OwnedWriteHalf) {
    loop {
        match writer.ready(Interest::WRITABLE).await {
            Ok(ready) if !ready.is_write_closed() => tokio::time::sleep(limits::GONE_INTERVAL).await,
            _ => return,
        }
    }
}

impl Ready {
    /// A place that was taken for a reply that is small after all is given back.
    fn line(line: Vec<u8>, place: Option<OwnedSemaphorePermit>) -> Ready {
        let is_small = line.len() <= limits::SMALL_MESSAGE_BYTES;
        Ready::Line(line, place.filter(|_| !is_small))
    }
}
