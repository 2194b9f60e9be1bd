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

/// A reply under way, with the memory of its request, which is held until the reply is written.
pub(super) type Pending = Pin<Box<dyn Future<Output = (Ready, Option<OwnedSemaphorePermit>)>>>;

pub(super) enum Ready {
    /// An encoded reply, with its place when it is a large one.
    Line(Vec<u8>, Option<OwnedSemaphorePermit>),
    /// The reply to a `subscribe`, behind which the events come.
    Subscribed(Vec<u8>, Box<ActiveSubscription>),
    /// The reply to a `lock.acquire` that waited, or that is for this connection.
    Acquired(Vec<u8>, Box<Acquired>),
    /// The reply to a `lock.release` of a lock of this connection, and the grant that is not its own any more.
    Released(Vec<u8>, Option<(OwnedLock, u64)>),
}

/// What a `lock.acquire` brought.
pub(super) struct Acquired {
    /// It could be cancelled by this name.
    pub(super) waited_as: Option<Id>,
    /// Given back, unless the client is told.
    pub(super) claim: Option<Claim>,
    /// Where it is a lock of this connection.
    pub(super) of_session: Option<OwnedLock>,
    /// Whether it was that when it was asked for.
    pub(super) refreshes: bool,
    /// Whether nothing was done.
    pub(super) is_refused: bool,
    pub(super) attached: OwnedSemaphorePermit,
}

impl Connection {
    /// Writes a reply together with those that are ready behind it.
    pub(super) async fn write(&mut self, first: (Ready, Option<OwnedSemaphorePermit>)) -> io::Result<()> {
        let mut next = Some(first);
        while let Some((ready, permit)) = next.take() {
            // What is given back, should the client be gone before it is told.
            let mut told = None;
            let (mut lines, place) = match ready {
                Ready::Line(line, place) => (line, place),
                Ready::Subscribed(line, active) if self.stopping => {
                    let error = trouble::ending();
                    ([line, encode_end(&active.id, error)].concat(), None)
                }
                Ready::Subscribed(line, active) => {
                    self.subscriptions.begin(*active);
                    (line, None)
                }
                Ready::Acquired(line, acquired) => {
                    let Acquired { waited_as, claim, of_session, refreshes, is_refused, attached } =
                        *acquired;
                    // A cancel that was answered ok is one, whatever happened in the meantime.
                    let is_cancelled = waited_as.as_ref().is_some_and(|id| self.cancellable.remove(id));
                    let (line, claim, is_refused) = if is_cancelled {
                        (encode_reply(waited_as.as_ref(), Err(cancelled())), None, false)
                    } else {
                        (line, claim, is_refused)
                    };
                    match (claim, of_session) {
                        // From now on it is released with the connection.
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
                Ready::Released(line, released) => {
                    released.inspect(|(held, fence)| self.locks.remove(held, *fence));
                    (line, None)
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
            self.send(&lines, Memory::is_short).await?;
            told.map(Claim::keep);
        }
        Ok(())
    }
}

impl Ready {
    /// A place that was taken for a reply that is small after all is given back.
    pub(super) fn line(line: Vec<u8>, place: Option<OwnedSemaphorePermit>) -> Ready {
        let is_small = line.len() <= limits::SMALL_MESSAGE_BYTES;
        Ready::Line(line, place.filter(|_| !is_small))
    }
}
