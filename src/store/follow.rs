//! The cursor of one subscription. It never grows.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::{Code, Error, Result};
use super::feed::{Feed, TailPage, event_bytes};
use super::lease::Lease;
use super::position::Position;
use super::record::Change;
use super::reply::Identity;
use super::request::ConsumerHold;
use super::subscription::{Event, Source, Start, Subscribe, check_position, epoch_changed, no_consumer};
use super::waiting::Waiters;
use crate::limits;

/// The cursor of one subscription: a place in the stream that moves on.
pub(crate) struct Follower {
    feed: Arc<Feed>,
    latest: watch::Receiver<Option<Position>>,
    wanted: Subscribe,
    /// The hold on the consumer, if it follows as one.
    lease: Option<Lease>,
    /// The position of the store when it was last read.
    store: Position,
    /// The first seq that was not examined.
    next: u64,
    /// Whether changes that are not wanted were passed over since the last event.
    progress_is_due: bool,
    /// The time of the last event.
    quiet_since: Instant,
    /// Whether the last page was empty although the head said otherwise: then the next read waits for the next signal.
    waits_for_news: bool,
}

fn check_epoch(wanted: &Subscribe, position: &Position) -> Result<()> {
    let is_other = wanted.epoch.as_ref().is_some_and(|epoch| *epoch != position.epoch);
    if is_other { Err(epoch_changed()) } else { Ok(()) }
}

/// Why a subscription is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// There is something to read.
    News,
    /// No wanted change has come for so long that the progress must be told.
    Quiet,
}

/// The wanted changes of a page, at most as many as are sent at once.
pub(crate) struct Piece {
    page: Arc<TailPage>,
    /// The indexes of the changes in the page.
    positions: Vec<usize>,
    bytes: usize,
}

impl Follower {
    /// Begins a subscription. Answers its cursor, the head of the stream and the identity of the store.
    ///
    /// `session` is the name of the holder, for a subscription as a consumer.
    ///
    /// # Errors
    /// As [`Store::subscribe`](super::Store::subscribe).
    pub(crate) async fn begin(
        feed: &Arc<Feed>,
        waiters: &Waiters,
        mut wanted: Subscribe,
        session: String,
    ) -> Result<(Follower, u64, Identity)> {
        wanted.check()?;
        let feed = Arc::clone(feed);
        // It listens before it reads the position, so that no commit in between is missed.
        let latest = feed.listen();
        let lease = match &wanted.consumer {
            None => None,
            Some(name) => {
                // Checked before anything is written.
                check_epoch(&wanted, &feed.refresh().await?.0)?;
                let hold = ConsumerHold {
                    name: name.clone(),
                    holder: session,
                    duration: limits::CONSUMER_LEASE,
                    start: wanted.start.take(),
                    filter: wanted.filter.clone(),
                    renew: false,
                };
                let (lease, position, filter) = Lease::gain(waiters, hold, wanted.wait).await?;
                (wanted.start, wanted.filter) = (Some(Start::After(position)), filter);
                Some(lease)
            }
        };
        let (position, identity) = feed.refresh().await?;
        let next = first_wanted(&wanted, &position)?;
        let head = position.head;
        let follower = Follower {
            feed,
            latest,
            wanted,
            lease,
            store: position,
            next,
            progress_is_due: false,
            quiet_since: Instant::now(),
            waits_for_news: false,
        };
        Ok((follower, head, identity))
    }

    /// The consumer as which it follows, and the session that holds it.
    pub(crate) fn consumer(&self) -> Option<(&str, &str)> {
        self.wanted.consumer.as_deref().zip(self.lease.as_ref().map(Lease::holder))
    }

    /// Waits until there is something to do. It may be called again after its future was dropped.
    ///
    /// # Errors
    /// `consumer_busy` when the hold on the consumer was lost, `unavailable` when the store is closing.
    pub(crate) async fn wait(&mut self) -> Result<Wake> {
        // A session that has lost the consumer must not read on.
        self.lease.as_ref().map_or(Ok(()), Lease::check)?;
        let until = self.quiet_since + self.patience();
        let is_quiet = Instant::now() >= until;
        match if is_quiet { None } else { tokio::time::timeout_at(until, self.news()).await.ok() } {
            Some(news) => news.map(|()| Wake::News),
            None => {
                self.quiet_since = Instant::now();
                self.progress_is_due = false;
                Ok(Wake::Quiet)
            }
        }
    }

    /// The longest time without an event. A consumer learns its progress sooner, so that its position moves past
    /// changes that it does not want.
    fn patience(&self) -> Duration {
        if self.lease.is_some() && self.progress_is_due {
            limits::CONSUMER_PROGRESS_INTERVAL
        } else {
            limits::PROGRESS_INTERVAL
        }
    }

    async fn news(&mut self) -> Result<()> {
        loop {
            let is_there = |latest: &Position| !latest.is_same_store(&self.store) || latest.head >= self.next;
            let may_read = self.latest.borrow_and_update().as_ref().is_some_and(is_there);
            if may_read && !std::mem::take(&mut self.waits_for_news) {
                return Ok(());
            }
            let ended = || Error::new(Code::Unavailable, "the store is closing");
            let lost = async {
                match &mut self.lease {
                    Some(lease) => lease.lost().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.latest.changed() => changed.map_err(|_| ended())?,
                error = lost => return Err(error),
                () = self.feed.closed.cancelled() => return Err(ended()),
            }
        }
    }

    /// Reads the next changes. The cursor moves only at the end, so nothing is lost when the future is dropped.
    ///
    /// # Errors
    /// `epoch_changed`, `trimmed` or `future` when the store at the address is another one by now, and those of a read.
    pub(crate) async fn read(&mut self) -> Result<Piece> {
        let is_same = self.latest.borrow().as_ref().is_some_and(|latest| latest.is_same_store(&self.store));
        if !is_same {
            self.check_cursor().await?;
        }
        let page = self.feed.page(&self.wanted, &self.store, self.next).await?;
        if !page.store.is_same_store(&self.store) {
            self.check_cursor().await?;
            return Ok(Piece { page, positions: Vec::new(), bytes: 0 });
        }
        let start = page.changes.partition_point(|change| change.seq < self.next);
        let (mut positions, mut bytes, mut next) = (Vec::new(), 0, page.next);
        for (position, change) in page.changes.iter().enumerate().skip(start) {
            if !self.wanted.filter.covers(&change.record) {
                continue;
            }
            let weight = event_bytes(change);
            if bytes > 0 && bytes + weight > limits::EVENTS_BYTES {
                next = change.seq;
                break;
            }
            bytes += weight;
            positions.push(position);
        }
        if !positions.is_empty() {
            self.quiet_since = Instant::now();
        }
        let told = positions.last().map(|&position| page.changes[position].seq);
        self.progress_is_due = told.map_or(self.progress_is_due || next > self.next, |told| next > told + 1);
        self.waits_for_news = next == self.next;
        self.next = next;
        Ok(Piece { page, positions, bytes })
    }

    /// Checks the cursor after the store was opened again: at its address there may be another file, or an older copy
    /// of the same one.
    async fn check_cursor(&mut self) -> Result<()> {
        let (position, _) = self.feed.refresh().await?;
        if position.epoch != self.store.epoch {
            return Err(epoch_changed());
        }
        check_position(self.next - 1, position.first, position.head)?;
        self.store = position;
        Ok(())
    }

    /// The seq up to which everything was examined, and how many changes of the store come after it.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let seq = self.next - 1;
        let head = self.latest.borrow().as_ref().map_or(seq, |latest| latest.head);
        (seq, head.saturating_sub(seq))
    }
}

/// The first seq that a new subscription wants, if the stream has it or will have it next.
fn first_wanted(wanted: &Subscribe, position: &Position) -> Result<u64> {
    check_epoch(wanted, position)?;
    match wanted.start {
        None | Some(Start::Now) => Ok(position.head + 1),
        Some(Start::After(seq)) => check_position(seq, position.first, position.head).map(|()| seq + 1),
    }
}

impl Piece {
    /// The most bytes that its events take for a subscription whose name has `name_bytes`; 0 when there are none.
    pub(crate) fn bytes(&self, name_bytes: usize) -> usize {
        self.bytes + self.positions.len() * name_bytes
    }

    pub(crate) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.positions.iter().map(|&position| &self.page.changes[position])
    }

    /// The page and the indexes of the changes in it, for the lines that are shared by all subscriptions.
    pub(crate) fn in_page(&self) -> (&TailPage, &[usize]) {
        (&self.page, &self.positions)
    }
}

/// A subscription in the process that has opened the store.
pub(crate) struct LocalSubscription {
    follower: Follower,
    ready: VecDeque<Change>,
}

impl LocalSubscription {
    pub(crate) fn new(follower: Follower) -> LocalSubscription {
        LocalSubscription { follower, ready: VecDeque::new() }
    }
}

#[async_trait]
impl Source for LocalSubscription {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(Event::Change(change));
            }
            match self.follower.wait().await? {
                Wake::News => self.ready.extend(self.follower.read().await?.changes().cloned()),
                Wake::Quiet => {
                    let (seq, lag) = self.follower.progress();
                    return Ok(Event::Progress { seq, lag });
                }
            }
        }
    }

    async fn commit(&mut self, seq: u64) -> Result<u64> {
        self.follower.lease.as_ref().ok_or_else(no_consumer)?.commit(seq).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Address, Clock, EngineKind, Filter, JsonText, LocalStore, Put, Store as _};

    fn at(first: u64, head: u64) -> Position {
        Position { epoch: "e".to_owned(), opened: 0, head, first, fence: 0, lock_seq: 0 }
    }

    /// Runs on a clock that moves on when no task is ready, as soon as nothing is written any more: writes are waited for, and
    /// the clock would move on meanwhile.
    #[tokio::test]
    async fn who_finds_nothing_for_half_a_minute_is_told_how_far_it_is() {
        let address = Address::parse(EngineKind::Sqlite, ":memory:").unwrap();
        let store = LocalStore::open(&address, Clock::System);
        store.init().await.unwrap();
        let wanted = Subscribe { filter: Filter::prefix("a"), ..Subscribe::default() };
        let mut subscription = store.subscribe(wanted).await.unwrap();
        for key in ["b", "c"] {
            store.put(Put::new(key, JsonText::of(&1).unwrap())).await.unwrap();
        }
        tokio::time::pause();
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(subscription.next().await, Ok(Event::Progress { seq: 2, lag: 0 }));
        }
        assert!(begun.elapsed() >= limits::PROGRESS_INTERVAL * 2);
        tokio::time::resume();
        store.put(Put::new("a", JsonText::of(&1).unwrap())).await.unwrap();
        assert!(matches!(subscription.next().await, Ok(Event::Change(change)) if change.seq == 3));
        store.close().await;
    }

    /// The position of a consumer must move on, whether or not a change before it was wanted.
    #[tokio::test(start_paused = true)]
    async fn a_consumer_is_told_soon_of_what_it_does_not_want() {
        let address = Address::parse(EngineKind::Sqlite, ":memory:").unwrap();
        let store = LocalStore::open(&address, Clock::System);
        store.init().await.unwrap();
        for key in ["a", "b", "c"] {
            store.put(Put::new(key, JsonText::of(&1).unwrap())).await.unwrap();
        }
        let wanted = Subscribe { filter: Filter::prefix("a"), ..Subscribe::consumer("mail") };
        let mut subscription = store.subscribe(wanted).await.unwrap();
        assert!(matches!(subscription.next().await, Ok(Event::Change(change)) if change.seq == 1));
        let begun = Instant::now();
        assert_eq!(subscription.next().await, Ok(Event::Progress { seq: 3, lag: 0 }));
        assert!(begun.elapsed() < limits::CONSUMER_PROGRESS_INTERVAL * 2, "{:?}", begun.elapsed());
        store.close().await;
    }

    /// A program that drops a subscription and closes the store leaves no consumer held.
    #[tokio::test]
    async fn what_is_dropped_before_the_store_is_closed_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("kv.db").display().to_string();
        let address = Address::parse(EngineKind::Sqlite, &path).unwrap();
        let store = LocalStore::open(&address, Clock::System);
        store.init().await.unwrap();
        let wanted = Subscribe { consumer: Some("mail".to_owned()), ..Subscribe::default() };
        drop(store.subscribe(wanted).await.unwrap());
        store.close().await;
        let store = LocalStore::open(&address, Clock::System);
        let (_, consumer) = store.consumer_status("mail").await.unwrap();
        assert_eq!(consumer.unwrap().holder, None);
        store.close().await;
    }

    #[test]
    fn a_cursor_is_where_it_says_or_is_told_why_not() {
        let begin =
            |after, position: &Position| first_wanted(&Subscribe::after(after), position).map_err(|e| e.code);
        assert_eq!(begin(0, &at(1, 0)), Ok(1), "a fresh store");
        assert_eq!(begin(0, &at(1, 9)), Ok(1));
        assert_eq!(begin(9, &at(1, 9)), Ok(10));
        assert_eq!(begin(10, &at(1, 9)), Err(Code::Future));
        assert_eq!(begin(u64::MAX, &at(1, 9)), Err(Code::Future));
        // Of 1 to 9 the first four were trimmed.
        assert_eq!(begin(4, &at(5, 9)), Ok(5));
        assert_eq!(begin(3, &at(5, 9)), Err(Code::Trimmed));
        assert_eq!(begin(0, &at(5, 9)), Err(Code::Trimmed));
        assert_eq!(begin(9, &at(10, 9)), Ok(10), "all of it was trimmed");
        assert_eq!(first_wanted(&Subscribe::default(), &at(5, 9)).unwrap(), 10);
        let other = Subscribe { epoch: Some("f".to_owned()), ..Subscribe::default() };
        assert_eq!(first_wanted(&other, &at(1, 9)).unwrap_err().code, Code::EpochChanged);
    }
}
