//! One who follows the stream: a cursor, and nothing that grows.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::engine::page::{Bounds, weight_bytes};
use super::error::{Code, Error, Result};
use super::feed::{Feed, Page};
use super::lease::{Lease, session_name};
use super::local::LocalStore;
use super::record::Change;
use super::reply::Identity;
use super::request::ConsumerHold;
use super::subscription::{Event, Source, Start, Subscribe, check_position, epoch_changed, no_consumer};
use crate::limits;

/// A place in the stream that moves on.
pub(crate) struct Follower {
    feed: Arc<Feed>,
    known: watch::Receiver<Option<Bounds>>,
    wanted: Subscribe,
    /// Held by who follows as a consumer.
    lease: Option<Lease>,
    epoch: String,
    /// The first seq that was not looked at.
    next: u64,
    /// When something that is wanted was found last, or the progress was told.
    quiet_since: Instant,
    /// The last page had nothing, although there should have been something: so it is waited for news.
    is_ahead: bool,
}

/// Why somebody who follows the stream is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// There is something to read.
    News,
    /// Nothing that is wanted came for so long that the progress is to be told.
    Quiet,
}

/// Some changes that are wanted, and as many as are sent at once.
pub(crate) struct Piece {
    page: Arc<Page>,
    /// Where they stand in the page.
    positions: Vec<usize>,
}

impl Follower {
    /// Begins to follow, with the head of the stream and which store it is.
    pub(crate) async fn begin(
        store: &LocalStore,
        mut wanted: Subscribe,
    ) -> Result<(Follower, u64, Identity)> {
        wanted.check()?;
        let feed = Arc::clone(store.feed());
        // It listens before it asks, so that it hears of what is committed in between.
        let known = feed.listen();
        let lease = match &wanted.consumer {
            None => None,
            Some(name) => {
                let hold = ConsumerHold {
                    name: name.clone(),
                    holder: session_name(),
                    duration_ms: limits::CONSUMER_LEASE_MS,
                    start: wanted.start.take(),
                };
                let (lease, position) = Lease::gain(store.waiters(), hold, wanted.wait).await?;
                wanted.start = Some(Start::After(position));
                Some(lease)
            }
        };
        let (bounds, identity) = feed.refresh().await?;
        let next = first_wanted(&wanted, &bounds)?;
        let Bounds { epoch, head, .. } = bounds;
        let quiet_since = Instant::now();
        let follower = Follower { feed, known, wanted, lease, epoch, next, quiet_since, is_ahead: false };
        Ok((follower, head, identity))
    }

    /// The consumer that it follows as, and the session that holds it.
    pub(crate) fn consumer(&self) -> Option<(&str, &str)> {
        self.wanted.consumer.as_deref().zip(self.lease.as_ref().map(Lease::holder))
    }

    /// Waits until there is something to do. It may be called again when its future was dropped.
    pub(crate) async fn wait(&mut self) -> Result<Wake> {
        let until = self.quiet_since + limits::PROGRESS_INTERVAL;
        let is_quiet = Instant::now() >= until;
        match if is_quiet { None } else { tokio::time::timeout_at(until, self.news()).await.ok() } {
            Some(news) => news.map(|()| Wake::News),
            None => {
                self.quiet_since = Instant::now();
                Ok(Wake::Quiet)
            }
        }
    }

    async fn news(&mut self) -> Result<()> {
        loop {
            let is_there = |known: &Bounds| known.epoch != self.epoch || known.head >= self.next;
            let may_read = self.known.borrow_and_update().as_ref().is_some_and(is_there);
            if may_read && !std::mem::take(&mut self.is_ahead) {
                return Ok(());
            }
            let ended = |_| Error::new(Code::Unavailable, "the store is closing");
            let lost = async {
                match &mut self.lease {
                    Some(lease) => lease.lost().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.known.changed() => changed.map_err(ended)?,
                error = lost => return Err(error),
            }
        }
    }

    /// Looks on. The cursor moves at the end only, so nothing is lost when the future is dropped.
    pub(crate) async fn read(&mut self) -> Result<Piece> {
        let page = self.feed.page(&self.wanted, &self.epoch, self.next).await?;
        if page.epoch != self.epoch {
            return Err(epoch_changed());
        }
        let start = page.changes.partition_point(|change| change.seq < self.next);
        let (mut positions, mut bytes, mut next) = (Vec::new(), 0, page.next);
        for (position, change) in page.changes.iter().enumerate().skip(start) {
            if !self.wanted.covers(change) {
                continue;
            }
            // A line is larger than the record by what all lines have.
            let weight = weight_bytes(&change.record) + limits::EVENT_HEAD_BYTES;
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
        self.is_ahead = next == self.next;
        self.next = next;
        Ok(Piece { page, positions })
    }

    /// The seq up to which everything was looked at, and how many changes of the store are still to be.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let seq = self.next - 1;
        let head = self.known.borrow().as_ref().map_or(seq, |known| known.head);
        (seq, head.saturating_sub(seq))
    }
}

/// The first seq that somebody wants who was there before, as far as that is still, and already, possible.
fn first_wanted(wanted: &Subscribe, bounds: &Bounds) -> Result<u64> {
    if wanted.epoch.as_ref().is_some_and(|epoch| *epoch != bounds.epoch) {
        return Err(epoch_changed());
    }
    match wanted.start {
        None | Some(Start::Now) => Ok(bounds.head + 1),
        Some(Start::After(seq)) => check_position(seq, bounds.first, bounds.head).map(|()| seq + 1),
    }
}

impl Piece {
    pub(crate) fn changes(&self) -> impl Iterator<Item = &Change> {
        self.positions.iter().map(|&position| &self.page.changes[position])
    }

    /// The positions in the page, for what was made of its changes once for all.
    pub(crate) fn in_page(&self) -> (&Page, &[usize]) {
        (&self.page, &self.positions)
    }
}

/// A subscription in the process that opened the store.
pub(crate) struct Following {
    follower: Follower,
    ready: VecDeque<Change>,
}

impl Following {
    pub(crate) fn new(follower: Follower) -> Following {
        Following { follower, ready: VecDeque::new() }
    }
}

#[async_trait]
impl Source for Following {
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
    use crate::store::{Address, Clock, EngineKind, JsonText, Put, Store as _};

    fn bounds(first: u64, head: u64) -> Bounds {
        Bounds { epoch: "e".to_owned(), head, first, lock_seq: 0 }
    }

    /// With a clock that runs when nothing else does.
    #[tokio::test(start_paused = true)]
    async fn who_finds_nothing_for_half_a_minute_is_told_how_far_it_is() {
        let address = Address::parse(EngineKind::Sqlite, ":memory:").unwrap();
        let store = LocalStore::open(&address, Clock::System);
        store.init().await.unwrap();
        let wanted = Subscribe { prefix: Some("a".to_owned()), ..Subscribe::default() };
        let mut subscription = store.subscribe(wanted).await.unwrap();
        for key in ["b", "c"] {
            store.put(Put::new(key, JsonText::of(&1).unwrap())).await.unwrap();
        }
        let begun = Instant::now();
        for _ in 0..3 {
            assert_eq!(subscription.next().await, Ok(Event::Progress { seq: 2, lag: 0 }));
        }
        assert!(begun.elapsed() >= limits::PROGRESS_INTERVAL * 2);
        store.put(Put::new("a", JsonText::of(&1).unwrap())).await.unwrap();
        assert!(matches!(subscription.next().await, Ok(Event::Change(change)) if change.seq == 3));
        store.close().await;
    }

    #[test]
    fn a_cursor_is_where_it_says_or_is_told_why_not() {
        let begin =
            |after, bounds: &Bounds| first_wanted(&Subscribe::after(after), bounds).map_err(|e| e.code);
        assert_eq!(begin(0, &bounds(1, 0)), Ok(1), "a fresh store");
        assert_eq!(begin(0, &bounds(1, 9)), Ok(1));
        assert_eq!(begin(9, &bounds(1, 9)), Ok(10));
        assert_eq!(begin(10, &bounds(1, 9)), Err(Code::Future));
        assert_eq!(begin(u64::MAX, &bounds(1, 9)), Err(Code::Future));
        // Of 1 to 9 the first four were trimmed.
        assert_eq!(begin(4, &bounds(5, 9)), Ok(5));
        assert_eq!(begin(3, &bounds(5, 9)), Err(Code::Trimmed));
        assert_eq!(begin(0, &bounds(5, 9)), Err(Code::Trimmed));
        assert_eq!(begin(9, &bounds(10, 9)), Ok(10), "all of it was trimmed");
        assert_eq!(first_wanted(&Subscribe::default(), &bounds(5, 9)).unwrap(), 10);
        let other = Subscribe { epoch: Some("f".to_owned()), ..Subscribe::default() };
        assert_eq!(first_wanted(&other, &bounds(1, 9)).unwrap_err().code, Code::EpochChanged);
    }
}
