//! Removes records in time that have expired, while nobody writes.
//!
//! Nobody can see a record whose time is over; this makes the change that tells of it. The plan under the write lock decides, so
//! of any number of processes one removes a record. A process asks what expires next when it begins and whenever it has removed
//! something, and keeps in mind what it writes itself. It asks by the write that removes, which changes nothing when there is
//! nothing to remove. So while nothing expires, nothing is written, and hardly anything is read.

use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::batcher::WeakWriter;
use super::error::Result;
use super::feed::Feed;
use super::reply::{Reply, answer};
use super::request::WriteOperation;
use super::time::Clock;
use crate::limits;

/// The shortest time to live that was written and that nobody has looked at yet.
#[derive(Debug, Default)]
pub(crate) struct WrittenTtl {
    ttl_ms: Mutex<Option<u64>>,
    written: Notify,
}

impl WrittenTtl {
    /// Notes that something was written that expires in so many milliseconds.
    pub(crate) fn note(&self, ttl_ms: u64) {
        let mut shortest = self.lock();
        *shortest = Some(shortest.map_or(ttl_ms, |shortest| shortest.min(ttl_ms)));
        drop(shortest);
        self.written.notify_one();
    }

    fn take(&self) -> Option<u64> {
        self.lock().take()
    }

    fn lock(&self) -> MutexGuard<'_, Option<u64>> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good number.
        self.ttl_ms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The timer of the records that expire.
pub(crate) struct Expirer {
    writer: WeakWriter,
    feed: Arc<Feed>,
    clock: Clock,
    begun: Once,
}

/// What the timer waits for.
struct Alarm {
    /// When the next record expires, in milliseconds since 1970 UTC by the clock of this process.
    next_ms: Option<i64>,
    /// When the store is read again in any case.
    look: Instant,
}

impl Expirer {
    pub(crate) fn new(writer: WeakWriter, feed: Arc<Feed>, clock: Clock) -> Expirer {
        Expirer { writer, feed, clock, begun: Once::new() }
    }

    /// Removes records in time from now on, until the store is closed.
    pub(crate) fn begin(self: &Arc<Self>) {
        self.begun.call_once(|| self.feed.spawn(Arc::clone(self).run()));
    }

    /// Never returns.
    async fn run(self: Arc<Self>) {
        let written = self.feed.written_ttl();
        let mut alarm = Alarm { next_ms: None, look: Instant::now() };
        loop {
            let now_ms = self.clock.now_ms();
            if let Some(ttl_ms) = written.take() {
                let next_ms = later(now_ms, ttl_ms);
                alarm.next_ms = Some(alarm.next_ms.map_or(next_ms, |known_ms| known_ms.min(next_ms)));
            }
            if alarm.next_ms.is_some_and(|next_ms| next_ms <= now_ms) || Instant::now() >= alarm.look {
                alarm = self.remove().await;
            }
            tokio::select! {
                () = written.written.notified() => {}
                () = tokio::time::sleep(self.time_left(&alarm)) => {}
            }
        }
    }

    /// Removes what has expired, and answers what to wait for then.
    async fn remove(&self) -> Alarm {
        let removed = self.remove_expired().await;
        let look = Instant::now() + limits::EXPIRY_LOOK_INTERVAL;
        match removed {
            Ok(left_ms) => {
                let next_ms = left_ms.map(|left_ms| later(self.clock.now_ms(), left_ms));
                Alarm { next_ms, look }
            }
            Err(error) => {
                // Of a store that is not there, or cannot be written, every write tells.
                tracing::debug!(%error, "what has expired is not removed yet");
                let look = if error.retry { Instant::now() + limits::EXPIRY_LOOK_MAX } else { look };
                Alarm { next_ms: None, look }
            }
        }
    }

    /// Answers in how many milliseconds the next record expires; none when none does.
    async fn remove_expired(&self) -> Result<Option<u64>> {
        loop {
            let reply = self.writer.write(WriteOperation::RemoveExpired.into()).await?;
            match answer!(reply, Reply::ExpiredRemoved { removed, next_ms } => (removed, next_ms))? {
                // A slice, so that others have their turn before the next one.
                (1.., Some(0)) => {}
                (_, next_ms) => return Ok(next_ms),
            }
        }
    }

    /// Clocks are set, and stand still while a machine sleeps, so it is not long while something is to expire.
    fn time_left(&self, alarm: &Alarm) -> Duration {
        let look = alarm.look.saturating_duration_since(Instant::now());
        let Some(next_ms) = alarm.next_ms else { return look };
        let left_ms = u64::try_from(next_ms.saturating_sub(self.clock.now_ms())).unwrap_or(0);
        look.min(Duration::from_millis(left_ms)).min(limits::EXPIRY_LOOK_MAX)
    }
}

fn later(now_ms: i64, by_ms: u64) -> i64 {
    now_ms.saturating_add_unsigned(by_ms)
}
