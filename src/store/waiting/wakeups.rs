//! Wakes requests that wait for a lock or a consumer, each when that is free.
//!
//! One task serves all waiting requests of this process. When any lock changes, one statement reads the expiries of all
//! locks and consumers that are waited for; at an expiry it reads those that are due. So a change costs one read
//! however many requests wait, and only a request that can succeed writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::limits;
use crate::store::engine::Holdable;
use crate::store::engine::sql::queries::Expiries;
use crate::store::feed::Feed;
use crate::store::time::Clock;

/// The requests that are first in their queues.
pub(super) struct Wakeups {
    feed: Arc<Feed>,
    clock: Clock,
    entries: Mutex<HashMap<Holdable, Entry>>,
    /// Notified when an entry is added.
    added: Notify,
}

/// The first request in the queue for one lock or consumer.
struct Entry {
    wake: Arc<Notify>,
    /// When that lock or consumer expires, in milliseconds since 1970 UTC by the clock of this process; none = to be
    /// read.
    expires_ms: Option<i64>,
}

/// The expiry of an entry that was woken: its next attempt shows whether it succeeds.
const WOKEN: Option<i64> = Some(i64::MAX);

/// The entry of a request while it waits; dropping it removes the entry.
pub(super) struct WaitingRequest<'a> {
    wakeups: &'a Wakeups,
    what: &'a Holdable,
    wake: Arc<Notify>,
}

impl Wakeups {
    pub(super) fn new(feed: Arc<Feed>, clock: Clock) -> Wakeups {
        Wakeups { feed, clock, entries: Mutex::default(), added: Notify::new() }
    }

    /// Begins to wait after an attempt was refused because of a holder until `expires_ms`. `lock_seq` is the level of
    /// the feed before that attempt: when it has changed since, the refusal may be out of date.
    pub(super) fn wait<'a>(
        &'a self,
        what: &'a Holdable,
        expires_ms: Option<i64>,
        lock_seq: Option<u64>,
    ) -> WaitingRequest<'a> {
        let wake = Arc::new(Notify::new());
        let mut entries = self.entries();
        let is_current = self.feed.lock_seq() == lock_seq;
        let expires_ms = expires_ms.filter(|_| is_current);
        entries.insert(what.clone(), Entry { wake: Arc::clone(&wake), expires_ms });
        drop(entries);
        self.added.notify_one();
        WaitingRequest { wakeups: self, what, wake }
    }

    /// Wakes waiting requests. Never returns.
    pub(super) async fn run(self: Arc<Self>) {
        // The last level that was seen, also before there were entries.
        let mut seen = None;
        loop {
            // Without entries there is no need to poll for the commits of other processes.
            while self.entries().is_empty() {
                self.added.notified().await;
            }
            let mut level = self.feed.listen();
            while !self.entries().is_empty() {
                let lock_seq = level.borrow_and_update().as_ref().map(|latest| latest.lock_seq);
                if lock_seq != seen {
                    seen = lock_seq;
                    self.entries().values_mut().for_each(|entry| entry.expires_ms = None);
                }
                self.wake_those_who_can().await;
                tokio::select! {
                    // The feed lives as long as this task.
                    _ = level.changed() => {}
                    () = self.added.notified() => {}
                    () = tokio::time::sleep(self.time_left()) => {}
                }
            }
        }
    }

    /// Reads the expiries that are due or not known, and wakes the requests whose lock or consumer may be free.
    async fn wake_those_who_can(&self) {
        let now_ms = self.clock.now_ms();
        let due: HashMap<Holdable, Arc<Notify>> = self
            .entries()
            .iter()
            .filter(|(_, entry)| entry.expires_ms.is_none_or(|expires_ms| expires_ms <= now_ms))
            .map(|(what, entry)| (what.clone(), Arc::clone(&entry.wake)))
            .collect();
        if due.is_empty() {
            return;
        }
        let read = self.feed.engine().query(Expiries::of(due.keys().cloned())).await;
        let now_ms = self.clock.now_ms();
        let mut entries = self.entries();
        for (what, wake) in due {
            // By now another request may be first in the queue, which has read more recently.
            let Some(entry) = entries.get_mut(&what).filter(|entry| Arc::ptr_eq(&entry.wake, &wake)) else {
                continue;
            };
            let left_ms = match &read {
                // By the clock that decides about the expiry, which need not be the one of this process.
                Ok(found) => found.rows.get(&what).map(|expires_ms| expires_ms - found.now_ms),
                // The attempt of the waiting request will meet the error.
                Err(_) => None,
            };
            entry.expires_ms = match left_ms {
                Some(left_ms) if left_ms > 0 => Some(now_ms.saturating_add(left_ms)),
                _ => {
                    wake.notify_one();
                    WOKEN
                }
            };
        }
    }

    /// The time until the first expiry, but at most a second: clocks are set, and stand still while a machine sleeps.
    fn time_left(&self) -> Duration {
        let first_ms = self.entries().values().filter_map(|entry| entry.expires_ms).min();
        let left_ms = first_ms.unwrap_or(i64::MAX).saturating_sub(self.clock.now_ms());
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
        left.clamp(limits::LOCK_LOOK_MIN, limits::LOCK_LOOK_MAX)
    }

    /// The number of requests that wait.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        self.entries().len()
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<Holdable, Entry>> {
        // No code panics while it holds this mutex; a poisoned one would still hold good entries.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WaitingRequest<'_> {
    /// Waits until the lock or consumer may be free.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }
}

impl Drop for WaitingRequest<'_> {
    fn drop(&mut self) {
        self.wakeups.entries().remove(self.what);
    }
}
