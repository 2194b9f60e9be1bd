//! Waiting for something that somebody else holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::batcher::{WeakWrites, Writes};
use super::engine::page::ListQuery;
use super::error::{Code, Error, Result};
use super::feed::{Feed, detached};
use super::reply::{Grant, Reply};
use super::request::{ConsumerHold, ConsumerLeave, LockAcquire, LockRelease, Write, WriteOperation};
use super::time::Clock;
use crate::limits;

/// Those who wait in this process. For each lock they are served in the order in which they came.
pub(crate) struct Waiters {
    writes: Writes,
    feed: Arc<Feed>,
    clock: Clock,
    queues: Mutex<HashMap<String, Queue>>,
}

/// Who has the turn is the one who tries. tokio's mutex gives turns in order.
type Queue = Arc<tokio::sync::Mutex<()>>;

/// What somebody wants to have.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    Lock(LockAcquire),
    Consumer(ConsumerHold),
}

impl Wanted {
    /// Those who want the same wait in one queue.
    fn queue(&self) -> String {
        match self {
            Wanted::Lock(acquire) => format!("lock {}", acquire.name),
            Wanted::Consumer(hold) => format!("consumer {}", hold.name),
        }
    }

    fn write(&self) -> Write {
        match self.clone() {
            Wanted::Lock(acquire) => WriteOperation::LockAcquire(acquire).into(),
            Wanted::Consumer(hold) => WriteOperation::ConsumerHold(hold).into(),
        }
    }

    /// Whether only one grant is wanted, which no wait can bring back.
    fn names_its_grant(&self) -> bool {
        matches!(self, Wanted::Lock(LockAcquire { fence: Some(_), .. }))
    }

    /// Gives back what a reply brought; nothing for what one had before, or has refreshed since.
    fn release(&self, reply: &Reply) -> Option<Write> {
        match (self, reply) {
            (Wanted::Lock(LockAcquire { name, owner, .. }), Reply::Granted(grant))
                if grant.refreshes == 0 =>
            {
                let (name, owner, fence) = (name.clone(), owner.clone(), Some(grant.fence));
                let release = LockRelease { name, owner, fence, refreshes: Some(grant.refreshes) };
                Some(WriteOperation::LockRelease(release).into())
            }
            (Wanted::Consumer(ConsumerHold { name, holder, .. }), Reply::Position { .. }) => {
                let (name, holder) = (name.clone(), holder.clone());
                Some(WriteOperation::ConsumerLeave(ConsumerLeave { name, holder }).into())
            }
            _ => None,
        }
    }

    fn refusal(&self) -> Error {
        let message = "others have been waiting for it for longer";
        match self {
            Wanted::Lock(_) => Error::new(Code::Locked, message),
            Wanted::Consumer(_) => Error::new(Code::ConsumerBusy, message),
        }
    }
}

/// Something that was had. It is given back when nobody says that it is kept: so nothing stays held that was had for
/// somebody who went away, whenever that was.
#[derive(Debug)]
pub(crate) struct Had {
    reply: Option<Reply>,
    release: Option<Write>,
    writes: WeakWrites,
}

impl Had {
    /// What it was answered with.
    pub(crate) fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// The one who wanted it knows that it is had.
    pub(crate) fn keep(mut self) -> Result<Reply> {
        self.release = None;
        self.reply.take().ok_or_else(|| Error::new(Code::Internal, "a reply was taken twice"))
    }
}

impl Drop for Had {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            self.writes.give_back(release);
        }
    }
}

impl Waiters {
    pub(crate) fn new(writes: Writes, feed: Arc<Feed>, clock: Clock) -> Waiters {
        Waiters { writes, feed, clock, queues: Mutex::default() }
    }

    /// Where it writes.
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Acquires, as soon as that is possible, for as long as `wait` allows, at most a day. Giving up leaves nothing
    /// behind.
    ///
    /// # Errors
    /// `locked` or `consumer_busy` when somebody else has it at the end of that time.
    pub(crate) async fn acquire(&self, wanted: &Wanted, wait: Duration) -> Result<Had> {
        let deadline = Instant::now() + wait.min(Duration::from_millis(limits::TIMEOUT_MS));
        // Who holds it already waits for nobody.
        if wait.is_zero() || wanted.names_its_grant() || self.is_refresh(wanted).await? {
            match self.attempt(wanted).await {
                // It expired in between, and others were faster.
                Err(error) if is_held(&error) && !wait.is_zero() => {}
                outcome => return outcome,
            }
        }
        let queue = wanted.queue();
        let turn = Turn::take(self, &queue);
        let Ok(_turn) = timeout_at(deadline, turn.get()).await else { return Err(wanted.refusal()) };
        let mut known = self.feed.listen();
        loop {
            // Looked at before the attempt, so that no release behind it is missed.
            let seen = known.borrow_and_update().as_ref().map(|known| known.lock_seq);
            let refused = match self.attempt(wanted).await {
                Err(error) if is_held(&error) && Instant::now() < deadline => error,
                outcome => return outcome,
            };
            let until = deadline.min(Instant::now() + self.time_left(&refused));
            let released = async {
                while known.borrow_and_update().as_ref().map(|known| known.lock_seq) == seen {
                    // The feed lives as long as this.
                    let _ = known.changed().await;
                }
            };
            // Whether it was released, expired, or is only to be looked at again, shows in the next attempt.
            let _ = timeout_at(until, released).await;
        }
    }

    /// Whether the same owner holds the lock.
    async fn is_refresh(&self, wanted: &Wanted) -> Result<bool> {
        let Wanted::Lock(LockAcquire { name, owner, .. }) = wanted else { return Ok(false) };
        let (engine, query) = (Arc::clone(self.feed.engine()), ListQuery::of_one(name));
        let (now_ms, found) = detached(async move { engine.locks(&query).await }).await?;
        let holder = found.fitting.first().and_then(|(name, row)| row.held(name, now_ms));
        Ok(holder.is_some_and(|lock| lock.owner == *owner))
    }

    /// Until a lock expires, but at most a second: clocks are set, and stand still while a machine sleeps.
    fn time_left(&self, refused: &Error) -> Duration {
        let left_ms = refused.details.expires_ms.map_or(i64::MAX, |expires| expires - self.clock.now_ms());
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        left.clamp(limits::LOCK_LOOK_MIN, limits::LOCK_LOOK_MAX)
    }

    /// In a task of its own: who gives up in the middle of an attempt must not keep what it brings.
    async fn attempt(&self, wanted: &Wanted) -> Result<Had> {
        let (answer, answered) = oneshot::channel();
        let (wanted, writes) = (wanted.clone(), self.writes.clone());
        tokio::spawn(async move {
            let had = writes.write(wanted.write()).await.map(|reply| Had {
                release: wanted.release(&reply),
                reply: Some(reply),
                writes: writes.downgrade(),
            });
            // When nobody is there any more, it is dropped, and so given back.
            let _ = answer.send(had);
        });
        answered
            .await
            .unwrap_or_else(|_| Err(Error::new(Code::Internal, "an attempt ended without an answer")))
    }
}

/// Whether an error says that somebody else has it.
pub(crate) fn is_held(error: &Error) -> bool {
    matches!(error.code, Code::Locked | Code::ConsumerBusy)
}

impl TryFrom<Had> for Grant {
    type Error = Error;

    fn try_from(had: Had) -> Result<Grant> {
        had.keep()?.try_into()
    }
}

/// A place in a queue, which is forgotten with its last one.
struct Turn<'a> {
    waiters: &'a Waiters,
    name: &'a str,
    queue: Option<Queue>,
}

impl<'a> Turn<'a> {
    fn take(waiters: &'a Waiters, name: &'a str) -> Turn<'a> {
        let queue = Arc::clone(queues(waiters).entry(name.to_owned()).or_default());
        Turn { waiters, name, queue: Some(queue) }
    }

    async fn get(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        match &self.queue {
            Some(queue) => Some(queue.lock().await),
            None => None,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queues = queues(self.waiters);
        self.queue = None;
        if queues.get(self.name).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(self.name);
        }
    }
}

fn queues(waiters: &Waiters) -> std::sync::MutexGuard<'_, HashMap<String, Queue>> {
    // Nobody panics while holding this mutex; a poisoned one would still hold good queues.
    waiters.queues.lock().unwrap_or_else(PoisonError::into_inner)
}
