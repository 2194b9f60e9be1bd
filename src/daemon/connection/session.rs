//! The state that ends with a connection: its subscriptions, its locks, and its requests that wait for a lock.

use std::io;
use std::sync::Arc;

use futures_util::stream::FuturesOrdered;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::Connection;
use super::replies::{AcquireOutcome, PendingReply, ReadyReply};
use crate::daemon::memory::Memory;
use crate::daemon::session_locks::OwnedLock;
use crate::daemon::subscriptions::{
    ActiveSubscription, DueSubscription, EndedSubscription, change_lines, progress_line,
};
use crate::daemon::trouble;
use crate::limits;
use crate::protocol::{Acquire, Answer, Id, Subscribed, encode_end, encode_reply};
use crate::store::follow::Wake;
use crate::store::{Code, ConsumerLeave, Error, Result, Subscribe};

impl Connection {
    /// Begins a subscription. The memory of the request is not held while it waits: the request was decoded, and is
    /// small by now.
    pub(super) fn subscribe(&mut self, id: Option<Id>, subscribe: Subscribe, timeout_ms: Option<u64>) {
        let (name, attached) = match self.subscriptions.name(id.as_ref()).and_then(|name| {
            let attached = self.dispatch.memory.attach()?;
            Ok((name, attached))
        }) {
            Ok(named) => named,
            Err(error) => return self.fail(id, error),
        };
        let metrics = Arc::clone(&self.dispatch.metrics);
        let waiting = (!subscribe.wait.is_zero()).then(|| metrics.wait());
        let peer_pid = self.peer_pid;
        let begun = self.dispatch.follow(subscribe.clone(), peer_pid, timeout_ms);
        self.pending.push_back(Box::pin(async move {
            let begun = begun.await;
            drop(waiting);
            let (answer, active) = match begun {
                Ok((follower, seq, identity)) => {
                    let holder = follower.consumer().map(|(_, holder)| holder.to_owned());
                    let answer = Answer::Subscribed(Subscribed::new(&name, seq, identity, holder));
                    let listed = metrics.begin(subscribe, peer_pid);
                    (Ok(answer), Some(ActiveSubscription::new(name, follower, attached, listed)))
                }
                Err(error) => (Err(error), None),
            };
            metrics.answered_one(None, &answer);
            let line = encode_reply(id.as_ref(), answer);
            let ready = match active {
                Some(active) => ReadyReply::Subscribed(line, Box::new(active)),
                None => ReadyReply::Line(line, None),
            };
            (ready, None)
        }));
    }

    /// Answers an `unsubscribe`, after another session can follow as the same consumer.
    pub(super) fn unsubscribed(&mut self, id: Option<Id>, name: &Id, ended: Option<EndedSubscription>) {
        let Some(EndedSubscription { consumer }) = ended else {
            return self.answer_end_of(id.as_ref(), false, "subscription", name);
        };
        let left = consumer.map(|(name, holder)| self.dispatch.leave(ConsumerLeave { name, holder }));
        self.pending.push_back(Box::pin(async move {
            if let Some(left) = left {
                left.await;
            }
            (ReadyReply::Line(encode_reply(id.as_ref(), Ok(Answer::Done)), None), None)
        }));
    }

    /// Acquires a lock. A request with a wait and an id is answered when its time has come, any other one in its turn.
    pub(super) fn acquire(&mut self, id: Option<Id>, acquire: Acquire, timeout_ms: Option<u64>) {
        let given_up = CancellationToken::new();
        let waited_as = id.clone().filter(|_| !acquire.wait.is_zero());
        let held = OwnedLock::new(&acquire.acquire.name, &acquire.acquire.owner);
        let attached = match self.prepare(&acquire, &held, waited_as.as_ref(), &given_up) {
            Ok(attached) => attached,
            Err(error) => return self.fail(id, error),
        };
        let is_waiting = waited_as.is_some();
        let refreshes = self.locks.begin_refresh(&held);
        let of_session = (acquire.session || refreshes).then_some(held);
        let metrics = Arc::clone(&self.dispatch.metrics);
        let waiting = (!acquire.wait.is_zero()).then(|| metrics.wait());
        let acquired = self.dispatch.acquire(acquire, timeout_ms, given_up);
        let reply: PendingReply = Box::pin(async move {
            let (answer, claim, is_refused) = match acquired.await {
                Ok(claim) => {
                    let reply = claim.reply().cloned().map(Answer::Store).ok_or_else(trouble::ending);
                    (reply, Some(claim), false)
                }
                // After a cancel or a lost answer, an attempt may have been under way.
                Err(error) => {
                    let is_refused = !error.maybe && error.code != Code::Cancelled;
                    (Err(error), None, is_refused)
                }
            };
            drop(waiting);
            metrics.answered_one(None, &answer);
            let line = encode_reply(id.as_ref(), answer);
            let acquired = AcquireOutcome { waited_as, claim, of_session, refreshes, is_refused, attached };
            (ReadyReply::Acquired(line, Box::new(acquired)), None)
        });
        if is_waiting {
            self.waiting.push(reply);
        } else {
            self.pending.push_back(reply);
        }
    }

    fn prepare(
        &mut self,
        acquire: &Acquire,
        held: &OwnedLock,
        waited_as: Option<&Id>,
        given_up: &CancellationToken,
    ) -> Result<OwnedSemaphorePermit> {
        if self.waiting.len() >= limits::CONNECTION_REQUESTS {
            let message = format!("{} requests of this connection wait already", self.waiting.len());
            return Err(Error::new(Code::TooLarge, message).hint("cancel some, or open another connection"));
        }
        if acquire.session {
            self.locks.check(held)?;
        }
        let attached = self.dispatch.memory.attach()?;
        waited_as.map_or(Ok(()), |id| self.cancellable.add(id.clone(), given_up.clone()))?;
        Ok(attached)
    }

    /// Replies to `unsubscribe` and `cancel`: ok, or `not_found` when there is nothing of that name.
    pub(super) fn answer_end_of(&mut self, id: Option<&Id>, is_there: bool, what: &str, name: &Id) {
        let answer = if is_there {
            Ok(Answer::Done)
        } else {
            Err(Error::new(Code::NotFound, format!("there is no {what} {}", name.as_json())))
        };
        let reply = ReadyReply::Line(encode_reply(id, answer), None);
        self.pending.push_back(Box::pin(std::future::ready((reply, None))));
    }

    /// Releases what belonged to this connection.
    pub(super) async fn leave(&mut self) {
        self.subscriptions.end_all();
        self.waiting.clear();
        self.pending = FuturesOrdered::new();
        self.dispatch.release(self.locks.take_all()).await;
    }

    /// Sends the events of a subscription, which are loaded only now that the socket can take some.
    pub(super) async fn deliver(
        &mut self,
        DueSubscription { mut active, wake }: DueSubscription,
    ) -> io::Result<()> {
        let mut held = None;
        let lines = match wake {
            Ok(Wake::Quiet) => Ok(progress_line(&active)),
            Ok(Wake::News) => {
                let stalled =
                    tokio::time::timeout(limits::STALL_TIMEOUT, self.outlet.socket.writable()).await;
                stalled.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
                match active.follower.read().await {
                    // The lines are encoded when there is memory for them: until then all subscriptions share the page.
                    Ok(piece) => match piece.bytes(active.id.as_json().len()) {
                        0 => Ok(Vec::new()),
                        bytes => {
                            held = Some(self.dispatch.memory.events(bytes).await);
                            Ok(change_lines(&active.id, &piece))
                        }
                    },
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        };
        let lines = match lines {
            Ok(lines) => {
                active.note_position();
                self.subscriptions.wait(active);
                lines
            }
            Err(error) => {
                self.subscriptions.end(&active.id);
                encode_end(&active.id, error)
            }
        };
        let sent = self.send(&lines, Memory::is_short_of_events).await;
        drop(held);
        sent
    }
}
