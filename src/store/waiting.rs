//! Waiting for something that somebody else holds.

mod wakeups;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use self::wakeups::Wakeups;

use super::batcher::WeakWriter;
use super::engine::Holdable;
use super::engine::sql::queries;
use super::error::{Code, Error, Result};
use super::feed::Feed;
use super::page::NameQuery;
use super::reply::{Grant, Reply};
use super::request::{ConsumerHold, ConsumerLeave, LockAcquire, LockRelease, Write, WriteOperation};
use super::time::Clock;
use crate::limits;

/// Those who wait in this process. For each lock and each consumer they are served in the order in which they came.
pub(crate) struct Waiters {
    writer: WeakWriter,
    feed: Arc<Feed>,
    queues: Mutex<HashMap<Holdable, Queue>>,
    wakeups: Arc<Wakeups>,
    /// The task of the wake-ups, from the first one who waits on.
    waking: Once,
}

/// Whoever has the turn is the one who tries. tokio's mutex gives turns in order.
type Queue = Arc<tokio::sync::Mutex<()>>;

/// A request for a lock or a consumer that others may hold.
#[derive(Debug, Clone)]
pub(crate) enum Claimable {
    Lock(LockAcquire),
    Consumer(ConsumerHold),
}

impl Claimable {
    /// What it is for. All requests for the same wait in one queue.
    fn what(&self) -> Holdable {
        match self {
            Claimable::Lock(acquire) => Holdable::Lock(acquire.name.clone()),
            Claimable::Consumer(hold) => Holdable::Consumer(hold.name.clone()),
        }
    }

    fn write(&self) -> Write {
        match self.clone() {
            Claimable::Lock(acquire) => WriteOperation::LockAcquire(acquire).into(),
            Claimable::Consumer(hold) => WriteOperation::ConsumerHold(hold).into(),
        }
    }

    /// Whether it is for one grant alone, which no wait can bring back.
    fn names_its_grant(&self) -> bool {
        matches!(self, Claimable::Lock(LockAcquire { fence: Some(_), .. }))
    }

    /// Gives back what a reply brought; nothing for what the caller had before, or has refreshed since.
    fn release(&self, reply: &Reply) -> Option<Write> {
        match (self, reply) {
            (Claimable::Lock(LockAcquire { name, owner, .. }), Reply::Granted(grant))
                if grant.refreshes == 0 =>
            {
                let (name, owner, fence) = (name.clone(), owner.clone(), Some(grant.fence));
                let release = LockRelease { name, owner, fence, refreshes: Some(grant.refreshes) };
                Some(WriteOperation::LockRelease(release).into())
            }
            (Claimable::Consumer(ConsumerHold { name, holder, .. }), Reply::Held { .. }) => {
                let (name, holder) = (name.clone(), holder.clone());
                Some(WriteOperation::ConsumerLeave(ConsumerLeave { name, holder }).into())
            }
            _ => None,
        }
    }

    /// The error of a request whose turn did not come within its time, while nobody holds what it is for.
    fn refusal(&self) -> Error {
        let message = "others have been waiting for it for longer";
        match self {
            Claimable::Lock(_) => Error::new(Code::Locked, message),
            Claimable::Consumer(_) => Error::new(Code::ConsumerBusy, message),
        }
    }
}

/// A lock or consumer that was acquired for a caller. Released on drop unless [`keep`](Claim::keep) was called, so that
/// nothing stays held for a caller that went away.
#[derive(Debug)]
pub(crate) struct Claim {
    reply: Option<Reply>,
    release: Option<Write>,
    writer: WeakWriter,
}

impl Claim {
    /// The reply to the request, until it is kept.
    pub(crate) fn reply(&self) -> Option<&Reply> {
        self.reply.as_ref()
    }

    /// Leaves the lock or consumer to the caller, which knows of it.
    ///
    /// # Errors
    /// `internal` when it was kept before.
    pub(crate) fn keep(mut self) -> Result<Reply> {
        self.release = None;
        self.reply.take().ok_or_else(|| Error::new(Code::Internal, "a reply was taken twice"))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(release) = self.release.take() {
            self.writer.give_back(release);
        }
    }
}

impl Waiters {
    pub(crate) fn new(writer: WeakWriter, feed: Arc<Feed>, clock: Clock) -> Waiters {
        let wakeups = Arc::new(Wakeups::new(Arc::clone(&feed), clock));
        Waiters { writer, feed, queues: Mutex::default(), wakeups, waking: Once::new() }
    }

    /// Where it writes.
    pub(crate) fn writer(&self) -> &WeakWriter {
        &self.writer
    }

    /// Acquires, as soon as that is possible, for as long as `wait` allows, at most a day. Giving up leaves nothing
    /// behind.
    ///
    /// # Errors
    /// `locked` or `consumer_busy`, with the holder, when somebody else has it at the end of that time.
    pub(crate) async fn acquire(&self, claimable: &Claimable, wait: Duration) -> Result<Claim> {
        let deadline = Instant::now() + wait.min(Duration::from_millis(limits::TIMEOUT_MS));
        if wait.is_zero() {
            return self.attempt(claimable).await;
        }
        let what = claimable.what();
        let turn = Turn::take(self, &what);
        let mut place = pin!(turn.get());
        // The place in the queue is taken at the first poll: before the store is asked anything, which may take a while.
        let mut held = place.as_mut().now_or_never();
        // Who holds it already waits for nobody.
        if claimable.names_its_grant() || self.is_refresh(claimable).await? {
            match self.attempt(claimable).await {
                // It expired in between, and others were faster.
                Err(error) if is_held(&error) => {}
                outcome => return outcome,
            }
        }
        if held.is_none() {
            held = timeout_at(deadline, place).await.ok();
        }
        let Some(_turn) = held else {
            return Err(self.present_refusal(&what).await?.unwrap_or_else(|| claimable.refusal()));
        };
        self.waking.call_once(|| self.feed.spawn(Arc::clone(&self.wakeups).run()));
        // From before the first attempt on, so that no release by another process is missed.
        let _listening = self.feed.listen();
        loop {
            let lock_seq = self.feed.lock_seq();
            let refused = match self.attempt(claimable).await {
                Err(error) if is_held(&error) && Instant::now() < deadline => error,
                outcome => return outcome,
            };
            let waiting = self.wakeups.wait(&what, refused.details.expires_ms, lock_seq);
            // Whether it is free, or the time is over, shows in the next attempt.
            let _ = timeout_at(deadline, waiting.woken()).await;
        }
    }

    /// Whether the same owner holds the lock.
    async fn is_refresh(&self, claimable: &Claimable) -> Result<bool> {
        let Claimable::Lock(LockAcquire { name, owner, .. }) = claimable else { return Ok(false) };
        let found = self.feed.engine().query(queries::Locks(NameQuery::one(name))).await?;
        let holder = found.rows.rows.first().and_then(|(name, row)| row.held(name, found.now_ms));
        Ok(holder.is_some_and(|lock| lock.owner == *owner))
    }

    /// The error that an attempt would bring now; none when nobody holds it.
    async fn present_refusal(&self, what: &Holdable) -> Result<Option<Error>> {
        let engine = self.feed.engine();
        Ok(match what {
            Holdable::Lock(name) => {
                let found = engine.query(queries::Locks(NameQuery::one(name))).await?;
                found.rows.rows.first().and_then(|(name, row)| row.refusal(name, found.now_ms))
            }
            Holdable::Consumer(name) => {
                let found = engine.query(queries::Consumers(NameQuery::one(name))).await?;
                found
                    .rows
                    .rows
                    .first()
                    .and_then(|consumer| consumer.row.refusal(&consumer.name, found.now_ms))
            }
        })
    }

    /// In a task of its own: a caller that gives up in the middle of an attempt must not keep what it brings.
    async fn attempt(&self, claimable: &Claimable) -> Result<Claim> {
        let (answer, answered) = oneshot::channel();
        let (claimable, writer) = (claimable.clone(), self.writer.clone());
        tokio::spawn(async move {
            let claim = writer.write(claimable.write()).await.map(|reply| Claim {
                release: claimable.release(&reply),
                reply: Some(reply),
                writer: writer.clone(),
            });
            // When nobody is there any more, it is dropped, and so given back.
            let _ = answer.send(claim);
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

impl TryFrom<Claim> for Grant {
    type Error = Error;

    fn try_from(claim: Claim) -> Result<Grant> {
        claim.keep()?.try_into()
    }
}

/// A place in a queue, which is forgotten with its last one.
struct Turn<'a> {
    waiters: &'a Waiters,
    what: &'a Holdable,
    queue: Option<Queue>,
}

impl<'a> Turn<'a> {
    fn take(waiters: &'a Waiters, what: &'a Holdable) -> Turn<'a> {
        let queue = Arc::clone(queues(waiters).entry(what.clone()).or_default());
        Turn { waiters, what, queue: Some(queue) }
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
        if queues.get(self.what).is_some_and(|queue| Arc::strong_count(queue) == 1) {
            queues.remove(self.what);
        }
    }
}

fn queues(waiters: &Waiters) -> std::sync::MutexGuard<'_, HashMap<Holdable, Queue>> {
    // Nobody panics while holding this mutex; a poisoned one would still hold good queues.
    waiters.queues.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;

    use super::*;
    use crate::store::engine::sqlite::fake::{Calls, Fake};
    use crate::store::{LocalStore, Store as _};

    const OTHERS: usize = 400;
    const HOUR: Duration = Duration::from_secs(3_600);

    fn acquire(name: &str, owner: &str) -> LockAcquire {
        LockAcquire::new(name, owner, Duration::from_secs(86_400))
    }

    /// How many batches were written, and how often it was read until when something is held.
    fn costs(engine: &Fake) -> (usize, usize) {
        let Calls { attempts, names } = engine.take_calls();
        (attempts.len(), names.len())
    }

    /// Lets others go on until something holds.
    async fn until(holds: impl Fn() -> bool) {
        while !holds() {
            tokio::task::yield_now().await;
        }
    }

    /// With a clock that runs when nothing else does.
    #[tokio::test(start_paused = true)]
    async fn waiting_costs_one_read_for_each_change_and_no_write() {
        let engine = Fake::new([]);
        let store =
            Arc::new(LocalStore::with_engine(Arc::clone(&engine) as _, Clock::System, Box::new(|_, _| {})));
        let names: Vec<String> = (0..OTHERS).map(|number| format!("other/{number}")).collect();
        for held in join_all(names.iter().map(|name| store.lock_acquire(name, "holder", HOUR * 24))).await {
            held.unwrap();
        }
        let waiting: Vec<_> = names
            .iter()
            .map(|name| {
                let (store, wanted) = (Arc::clone(&store), acquire(name, "waiter"));
                tokio::spawn(async move { store.lock_acquire_within(wanted, HOUR * 12).await })
            })
            .collect();
        until(|| store.waiters().wakeups.count() == OTHERS).await;
        // Those who came while others acquired are read once more; then it is quiet.
        tokio::time::sleep(Duration::from_secs(5)).await;
        costs(&engine);

        tokio::time::sleep(HOUR).await;
        assert_eq!(costs(&engine), (0, 0), "an hour in which nothing happens");

        store.lock_acquire("unrelated", "a", HOUR).await.unwrap();
        store.lock_release("unrelated", "a").await.unwrap();
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (writes, reads) = costs(&engine);
        assert!(writes == 2 && (1..=2).contains(&reads), "{writes} writes, {reads} reads");

        // One is released: whoever waits for it gets it, and nobody else writes.
        store.lock_release(&names[7], "holder").await.unwrap();
        until(|| waiting[7].is_finished()).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let (writes, reads) = costs(&engine);
        assert!(writes == 2 && (1..=2).contains(&reads), "{writes} writes, {reads} reads");
        assert_eq!(waiting.iter().filter(|one| one.is_finished()).count(), 1);
        for one in &waiting {
            one.abort();
        }
    }
}
