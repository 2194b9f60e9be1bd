//! What the daemon counts and measures: requests, commits and subscriptions.
//!
//! Totals grow from its start on. Percentiles and rates are those of the last [`limits::RECENT`] to twice that: a daemon that
//! lives for months shows how it is now.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::limits;
use crate::protocol::{Answer, CommitFigures, RecentFigures, RequestFigures, SubscriptionStatus};
use crate::store::{Code, Filter, Reply, Result, Subscribe};

/// What the daemon counts and measures.
#[derive(Default)]
pub(super) struct Metrics {
    requests: Mutex<Requests>,
    commits: Mutex<Commits>,
    subscriptions: Mutex<Registry>,
    /// Requests that wait for a lock or a consumer.
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Requests {
    /// All requests, also those of which no time is kept: one that waits for a lock takes as long as the lock is held.
    count: u64,
    errors: BTreeMap<&'static str, u64>,
    /// In microseconds.
    times: Distribution,
}

#[derive(Default)]
struct Commits {
    /// In microseconds.
    times: Distribution,
    /// The number of writes of each.
    writes: Distribution,
}

/// The subscriptions, by the order of their beginning.
#[derive(Default)]
struct Registry {
    begun: u64,
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    process: Option<i32>,
    subscribe: Subscribe,
    /// The last seq that was examined for it.
    position: Arc<AtomicU64>,
}

impl Metrics {
    /// Notes answers, and how long they took; none for a request that may wait as long as it likes.
    pub(super) fn answered(&self, took: Option<Duration>, errors: impl Iterator<Item = Option<Code>>) {
        let mut requests = locked(&self.requests);
        let before = requests.count;
        for error in errors {
            requests.count += 1;
            if let Some(code) = error {
                *requests.errors.entry(code.as_str()).or_default() += 1;
            }
        }
        let count = requests.count - before;
        if let Some(took) = took {
            requests.times.add(microseconds(took), count);
        }
    }

    /// Notes one answer.
    pub(super) fn answered_one(&self, took: Option<Duration>, answer: &Result<Answer>) {
        let code = match answer {
            Err(error) => Some(error.code),
            // It is told as an error.
            Ok(Answer::Store(Reply::Get { record: None, .. })) => Some(Code::NotFound),
            Ok(_) => None,
        };
        self.answered(took, std::iter::once(code));
    }

    /// Notes a committed batch.
    pub(super) fn committed(&self, writes: usize, took: Duration) {
        let mut commits = locked(&self.commits);
        commits.times.add(microseconds(took), 1);
        commits.writes.add(writes as u64, 1);
    }

    /// Counts a request that waits, until the returned value is dropped.
    pub(super) fn wait(self: &Arc<Self>) -> WaitingRequest {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingRequest(Arc::clone(self))
    }

    /// Lists a subscription until the returned value is dropped.
    pub(super) fn begin(self: &Arc<Self>, subscribe: Subscribe, process: Option<i32>) -> ListedSubscription {
        let position = Arc::new(AtomicU64::new(0));
        let mut registry = locked(&self.subscriptions);
        registry.begun += 1;
        let number = registry.begun;
        registry.entries.insert(number, Entry { process, subscribe, position: Arc::clone(&position) });
        ListedSubscription { metrics: Arc::clone(self), number, position }
    }

    pub(super) fn requests(&self) -> RequestFigures {
        let requests = locked(&self.requests);
        RequestFigures {
            count: requests.count,
            errors: requests.errors.iter().map(|(code, count)| ((*code).to_owned(), *count)).collect(),
            seconds: requests.times.sum as f64 / 1e6,
            timed: requests.times.count,
            waiting: self.waiting.load(Ordering::Relaxed),
            recent: requests.times.recent(),
        }
    }

    pub(super) fn commits(&self) -> CommitFigures {
        let commits = locked(&self.commits);
        let sizes = commits.writes.merged();
        CommitFigures {
            count: commits.times.count,
            writes: commits.writes.sum,
            seconds: commits.times.sum as f64 / 1e6,
            recent: commits.times.recent(),
            recent_writes_p50: sizes.value_at_quantile(0.5),
            recent_writes_max: sizes.max(),
        }
    }

    /// The number of subscriptions, and the first [`limits::SUBSCRIPTIONS_TOLD`] of those that are farthest behind the head.
    pub(super) fn subscriptions(&self, head: u64) -> (usize, Vec<SubscriptionStatus>) {
        let registry = locked(&self.subscriptions);
        let mut all: Vec<(u64, &Entry)> =
            registry.entries.values().map(|entry| (entry.position.load(Ordering::Relaxed), entry)).collect();
        // Stable: of two at the same position the older one comes first.
        all.sort_by_key(|(seq, _)| *seq);
        let told = |&(seq, entry): &(u64, &Entry)| {
            let Subscribe { filter: Filter { key, prefix, record_type }, consumer, .. } =
                entry.subscribe.clone();
            let lag = head.saturating_sub(seq);
            SubscriptionStatus { process: entry.process, key, prefix, record_type, consumer, seq, lag }
        };
        (all.len(), all.iter().take(limits::SUBSCRIPTIONS_TOLD).map(told).collect())
    }
}

/// A request that waits, and is counted.
pub(super) struct WaitingRequest(Arc<Metrics>);

impl Drop for WaitingRequest {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A subscription that is listed.
pub(super) struct ListedSubscription {
    metrics: Arc<Metrics>,
    number: u64,
    position: Arc<AtomicU64>,
}

impl ListedSubscription {
    /// Notes the last seq that was examined for it.
    pub(super) fn at(&self, seq: u64) {
        self.position.store(seq, Ordering::Relaxed);
    }
}

impl Drop for ListedSubscription {
    fn drop(&mut self) {
        locked(&self.metrics.subscriptions).entries.remove(&self.number);
    }
}

/// Numbers of which the total is kept, and how those of the last time are distributed.
struct Distribution {
    count: u64,
    sum: u64,
    /// The numbers of the present interval, and of the one before.
    present: Histogram<u32>,
    before: Histogram<u32>,
    /// When the present interval began, and the one before.
    began: [Instant; 2],
}

impl Default for Distribution {
    fn default() -> Distribution {
        let now = Instant::now();
        Distribution { count: 0, sum: 0, present: histogram(), before: histogram(), began: [now, now] }
    }
}

impl Distribution {
    fn add(&mut self, value: u64, count: u64) {
        self.count += count;
        self.sum = self.sum.saturating_add(value.saturating_mul(count));
        let elapsed = self.began[0].elapsed();
        if elapsed >= limits::RECENT {
            let now = Instant::now();
            std::mem::swap(&mut self.present, &mut self.before);
            self.present.reset();
            self.began = [now, self.began[0]];
            if elapsed >= 2 * limits::RECENT {
                // Nothing came for so long that the interval before is over too.
                self.before.reset();
                self.began = [now, now];
            }
        }
        self.present.saturating_record_n(value, u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// The numbers of the last time; none when they are older.
    fn merged(&self) -> Histogram<u32> {
        let mut merged = self.before.clone();
        if self.began[0].elapsed() >= 2 * limits::RECENT {
            merged.reset();
        } else {
            // Both have the same bounds.
            let _ = merged.add(&self.present);
        }
        merged
    }

    /// The distribution of times in microseconds.
    fn recent(&self) -> RecentFigures {
        let merged = self.merged();
        let seconds = self.began[1].elapsed().min(2 * limits::RECENT).as_secs_f64();
        let at = |quantile| merged.value_at_quantile(quantile);
        RecentFigures {
            seconds,
            count: merged.len(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            max_us: merged.max(),
        }
    }
}

/// Two significant digits are enough for people, and keep the memory of a daemon small.
fn histogram() -> Histogram<u32> {
    let bounded = Histogram::new_with_bounds(1, limits::MEASURED_MAX, 2);
    #[expect(clippy::expect_used, reason = "the bounds are constants, and a test makes one")]
    bounded.expect("valid bounds")
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code panics while it holds one of these; a poisoned one would still hold good numbers.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_their_outcome() {
        let metrics = Metrics::default();
        let ms = Duration::from_millis;
        metrics.answered(Some(ms(1)), (0..99).map(|_| None));
        metrics.answered(Some(ms(50)), std::iter::once(Some(Code::NotFound)));
        metrics.answered(None, std::iter::once(Some(Code::Locked)));
        let figures = metrics.requests();
        assert_eq!(figures.count, 101);
        assert_eq!(figures.errors, BTreeMap::from([("locked".to_owned(), 1), ("not_found".to_owned(), 1)]));
        assert!((figures.seconds - 0.149).abs() < 1e-9);
        assert_eq!(figures.recent.count, 100);
        assert!((990..1_010).contains(&figures.recent.p90_us), "{figures:?}");
        assert!((49_500..50_500).contains(&figures.recent.max_us), "{figures:?}");
    }

    #[test]
    fn commits_tell_how_many_writes_share_one() {
        let metrics = Metrics::default();
        for writes in [1, 64, 64] {
            metrics.committed(writes, Duration::from_micros(700));
        }
        let figures = metrics.commits();
        assert_eq!((figures.count, figures.writes), (3, 129));
        assert_eq!((figures.recent_writes_p50, figures.recent_writes_max), (64, 64));
    }

    #[test]
    fn a_subscription_is_listed_while_it_lives_and_the_slowest_comes_first() {
        let metrics = Arc::new(Metrics::default());
        let (fast, slow) =
            (metrics.begin(Subscribe::default(), Some(1)), metrics.begin(Subscribe::default(), Some(2)));
        fast.at(9);
        slow.at(4);
        let (count, listed) = metrics.subscriptions(10);
        let lags: Vec<_> = listed.iter().map(|one| (one.process, one.seq, one.lag)).collect();
        assert_eq!((count, lags), (2, vec![(Some(2), 4, 6), (Some(1), 9, 1)]));
        drop(slow);
        assert_eq!(metrics.subscriptions(10).0, 1);
        let waiting = metrics.wait();
        assert_eq!(metrics.requests().waiting, 1);
        drop(waiting);
        assert_eq!(metrics.requests().waiting, 0);
    }
}
