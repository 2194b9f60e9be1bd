//! The replies of a connection, as they become ready.

use std::io;
use std::pin::Pin;

use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;

use super::Connection;
use crate::daemon::memory::Memory;
use crate::daemon::session_locks::OwnedLock;
use crate::daemon::subscriptions::ActiveSubscription;
use crate::daemon::trouble;
use crate::limits;
use crate::protocol::{Id, encode_end, encode_reply};
use crate::store::waiting::Claim;
use crate::store::{Reply, cancelled};

/// A future reply, with the memory of its request, which is held until the reply is written.
pub(super) type PendingReply = Pin<Box<dyn Future<Output = (ReadyReply, Option<OwnedSemaphorePermit>)>>>;

pub(super) enum ReadyReply {
    /// An encoded reply, with its permit when it is a large one.
    Line(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// The reply to a `subscribe`, after which its events come.
    Subscribed(Vec<u8>, Box<ActiveSubscription>),
    /// The reply to a `lock.acquire` that waited, or that is for a lock of this connection.
    Acquired(Vec<u8>, Box<AcquireOutcome>),
    /// The reply to a `lock.release`, with the grant that this connection does not have any more.
    Released(Vec<u8>, Option<(OwnedLock, u64)>),
}

/// The outcome of a `lock.acquire`.
pub(super) struct AcquireOutcome {
    /// The id by which it could be cancelled; none when it did not wait.
    pub(super) waited_as: Option<Id>,
    /// The grant, which is released unless the client is told of it.
    pub(super) claim: Option<Claim>,
    /// The lock, when it is one of this connection.
    pub(super) of_session: Option<OwnedLock>,
    /// Whether it was one when the request was sent.
    pub(super) refreshes: bool,
    /// Whether the request certainly changed nothing.
    pub(super) is_refused: bool,
    pub(super) attached: OwnedSemaphorePermit,
}

impl Connection {
    /// Writes a reply, together with those after it that are ready.
    pub(super) async fn write(
        &mut self,
        first: (ReadyReply, Option<OwnedSemaphorePermit>),
    ) -> io::Result<()> {
        let mut next = Some(first);
        while let Some((ready, permit)) = next.take() {
            // Released if the client is gone before it is told.
            let mut told = None;
            let (mut lines, place) = match ready {
                ReadyReply::Line(line, place) => (line, place),
                ReadyReply::Subscribed(line, active) if self.stopping => {
                    let error = trouble::ending();
                    ([line, encode_end(&active.id, error)].concat(), None)
                }
                ReadyReply::Subscribed(line, active) => {
                    self.subscriptions.begin(*active);
                    (line, None)
                }
                ReadyReply::Acquired(line, acquired) => {
                    let AcquireOutcome { waited_as, claim, of_session, refreshes, is_refused, attached } =
                        *acquired;
                    // A request whose cancel was answered with ok is reported as cancelled, whatever has happened in
                    // the meantime.
                    let is_cancelled = waited_as.as_ref().is_some_and(|id| self.cancellable.remove(id));
                    let (line, claim, is_refused) = if is_cancelled {
                        (encode_reply(waited_as.as_ref(), Err(cancelled())), None, false)
                    } else {
                        (line, claim, is_refused)
                    };
                    match (claim, of_session) {
                        // From now on the lock is released with the connection.
                        (Some(claim), Some(held)) => {
                            if let Ok(Reply::Granted(grant)) = claim.keep() {
                                self.locks.add(held, grant, refreshes, attached);
                            }
                        }
                        (None, Some(held)) if refreshes && is_refused => self.locks.end_refresh(&held),
                        (claim, _) => told = claim,
                    }
                    (line, None)
                }
                ReadyReply::Released(line, released) => {
                    released.inspect(|(held, fence)| self.locks.remove(held, *fence));
                    (line, None)
                }
            };
            let mut permits = vec![permit, place];
            while lines.len() < limits::REPLY_BUFFER_BYTES && next.is_none() {
                match self.pending.next().now_or_never().flatten() {
                    Some((ReadyReply::Line(line, place), permit)) => {
                        lines.extend_from_slice(&line);
                        permits.extend([permit, place]);
                    }
                    Some(other) => next = Some(other),
                    None => break,
                }
            }
            self.send(&lines, Memory::is_short).await?;
            told.map(Claim::keep);
        }
        Ok(())
    }
}

impl ReadyReply {
    /// An encoded reply; releases the permit when the reply is small after all.
    pub(super) fn line(line: Vec<u8>, place: Option<OwnedSemaphorePermit>) -> ReadyReply {
        let is_small = line.len() <= limits::SMALL_MESSAGE_BYTES;
        ReadyReply::Line(line, place.filter(|_| !is_small))
    }
}
