//! Waiting for a lock that somebody else holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::batcher::Writes;
use super::error::{Code, Error, Result};
use super::feed::Feed;
use super::reply::Reply;
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
pub(crate) struct Wanted {
    /// Those who want the same wait in one queue.
    pub(crate) queue: String,
    pub(crate) acquire: WriteOperation,
    /// Gives it back, when nobody is there any more to be told that it was had.
    pub(crate) release: WriteOperation,
    /// Also when it was had at once: else it may be one's own from before.
    pub(crate) is_for_session: bool,
}

impl Wanted {
    /// A lock.
    pub(crate) fn lock(acquire: LockAcquire, is_for_session: bool) -> Wanted {
        let LockAcquire { name, owner, .. } = acquire.clone();
        Wanted {
            queue: format!("lock {name}"),
            acquire: WriteOperation::LockAcquire(acquire),
            release: WriteOperation::LockRelease(LockRelease { name, owner }),
            is_for_session,
        }
    }

    /// A consumer, for a session.
    pub(crate) fn consumer(hold: ConsumerHold) -> Wanted {
        let ConsumerHold { name, holder, .. } = hold.clone();
        Wanted {
            queue: format!("consumer {name}"),
            acquire: WriteOperation::ConsumerHold(hold),
            release: WriteOperation::ConsumerLeave(ConsumerLeave { name, holder }),
            is_for_session: true,
        }
    }
}

impl Waiters {
    /// Where it writes.
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    pub(crate) fn new(writes: Writes, feed: Arc<Feed>, clock: Clock) -> Waiters {
        Waiters { writes, feed, clock, queues: Mutex::default() }
    }

    /// Acquires, as soon as that is possible, for as long as `wait` allows. Giving up leaves nothing behind.
    ///
    /// # Errors
    /// `locked` or `consumer_busy` when somebody else has it at the end of that time.
    pub(crate) async fn acquire(&self, wanted: &Wanted, wait: Duration) -> Result<Reply> {
        let deadline = Instant::now() + wait;
        if wait.is_zero() {
            return self.attempt(wanted, wanted.is_for_session).await;
        }
        let turn = Turn::take(self, &wanted.queue);
        let Ok(_turn) = timeout_at(deadline, turn.get()).await else {
            return Err(Error::new(Code::Locked, "others have been waiting for it for longer"));
        };
        let mut known = self.feed.listen();
        let mut is_first = true;
        loop {
            // Looked at before the attempt, so that no release behind it is missed.
            let seen = known.borrow_and_update().as_ref().map(|known| known.lock_seq);
            let refused = match self.attempt(wanted, wanted.is_for_session || !is_first).await {
                Err(error) if is_held(&error) && Instant::now() < deadline => error,
                outcome => return outcome,
            };
            is_first = false;
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

    /// Until a lock expires, but at most a second: clocks are set, and stand still while a machine sleeps.
    fn time_left(&self, refused: &Error) -> Duration {
        let left_ms = refused.details.expires_ms.map_or(i64::MAX, |expires| expires - self.clock.now_ms());
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        left.clamp(limits::LOCK_LOOK_MIN, limits::LOCK_LOOK_MAX)
    }

    /// In a task of its own: who gives up in the middle of an attempt must not keep what it brings.
    async fn attempt(&self, wanted: &Wanted, gives_back: bool) -> Result<Reply> {
        let (answer, answered) = oneshot::channel();
        let (acquire, release) = (wanted.acquire.clone(), wanted.release.clone());
        let writes = self.writes.clone();
        tokio::spawn(async move {
            let outcome = writes.write(Write::from(acquire)).await;
            if let Err(Ok(_)) = answer.send(outcome)
                && gives_back
                && let Err(error) = writes.write(Write::from(release)).await
            {
                tracing::warn!(%error, "a lock that nobody waits for any more could not be given back");
            }
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
