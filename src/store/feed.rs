//! Where the store stands, as far as this process knows, and the changes that were committed last.
//!
//! Whoever waits for changes or locks looks at one level: the newest head and lock number. Nothing is queued, so a
//! wake-up cannot be lost, and who is slow costs nothing. The database is the truth: the level only says that there
//! is something to read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::engine::Engine;
use super::engine::page::{Bounds, StreamQuery, weight_bytes};
use super::error::{Code, Error, Result};
use super::record::Change;
use super::reply::Identity;
use super::request::Stream;
use super::subscription::Subscribe;
use crate::limits;

/// What all who wait for a store share.
pub(crate) struct Feed {
    engine: Arc<dyn Engine>,
    known: watch::Sender<Option<Bounds>>,
    /// Somebody began to listen.
    listened: Notify,
    /// The changes that were read last, for those who are up to date.
    tail: Mutex<Tail>,
    /// Held by the one who reads the next page of the tail for all.
    reading: tokio::sync::Mutex<()>,
    /// For pages that only one wants, who is far behind.
    replays: Arc<Semaphore>,
    /// The store is closing.
    pub(crate) closed: CancellationToken,
}

impl Feed {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Feed {
        Feed {
            engine,
            known: watch::Sender::new(None),
            listened: Notify::new(),
            tail: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
            replays: Arc::new(Semaphore::new(limits::REPLAY_READS)),
            closed: CancellationToken::new(),
        }
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// Tells all who wait where the store stands.
    pub(crate) fn publish(&self, bounds: Bounds) {
        self.known.send_if_modified(|known| match known {
            // Who looked before a commit may tell of it later.
            Some(known) if known.opened > bounds.opened => false,
            Some(known) if known.is_same_store(&bounds) => {
                let is_news = known.head < bounds.head || known.lock_seq < bounds.lock_seq;
                known.head = known.head.max(bounds.head);
                known.lock_seq = known.lock_seq.max(bounds.lock_seq);
                is_news
            }
            _ => {
                *known = Some(bounds);
                true
            }
        });
    }

    /// The newest level, and its changes from now on.
    pub(crate) fn listen(&self) -> watch::Receiver<Option<Bounds>> {
        let receiver = self.known.subscribe();
        self.listened.notify_one();
        receiver
    }

    /// The newest level of the locks, as far as it is known.
    pub(crate) fn lock_seq(&self) -> Option<u64> {
        self.known.borrow().as_ref().map(|known| known.lock_seq)
    }

    /// Asks the store where it stands, and tells all who wait.
    pub(crate) async fn refresh(self: &Arc<Self>) -> Result<(Bounds, Identity)> {
        let feed = Arc::clone(self);
        let (bounds, identity) = detached(async move { feed.engine.meta().await }).await?;
        self.publish(bounds.clone());
        Ok((bounds, identity))
    }

    /// Looks, as long as somebody waits, whether another process has committed. Ends never.
    pub(crate) async fn keep_looking(self: Arc<Self>) {
        // Whether something was seen that those who wait were not told yet.
        let mut is_news = false;
        loop {
            while self.known.receiver_count() == 0 {
                self.tail().clear();
                self.listened.notified().await;
            }
            tokio::time::sleep(limits::LOOK_INTERVAL).await;
            let feed = Arc::clone(&self);
            match detached(async move { feed.engine.look().await }).await {
                Ok(seen) => is_news |= seen,
                Err(error) => tracing::debug!(%error, "the store cannot be looked at"),
            }
            if is_news {
                match self.refresh().await {
                    Ok(_) => is_news = false,
                    Err(error) => tracing::debug!(%error, "where the store stands cannot be read"),
                }
            }
        }
    }

    /// A page that begins at this seq, or before it. It may hold more than what is wanted, but all of that up to its
    /// `next`.
    pub(crate) async fn page(
        self: &Arc<Self>,
        wanted: &Subscribe,
        store: &Bounds,
        seq: u64,
    ) -> Result<Arc<Page>> {
        if let Some(page) = self.tail().find(store, seq) {
            return Ok(page);
        }
        let head = self.known.borrow().as_ref().map_or(0, |known| known.head);
        if head.saturating_sub(seq) < limits::PAGE_RECORDS as u64 {
            let _turn = self.reading.lock().await;
            if let Some(page) = self.tail().find(store, seq) {
                return Ok(page);
            }
            let all = Stream { seq, ..Stream::default() };
            let page = self.read(StreamQuery::of(&all), None).await?;
            self.tail().push(Arc::clone(&page));
            return Ok(page);
        }
        // As long as the page lives: so there are few of them, however many wait to send theirs.
        let permit = Arc::clone(&self.replays).acquire_owned().await.ok();
        let Subscribe { prefix, record_type, .. } = wanted.clone();
        let query = StreamQuery::of(&Stream { seq, limit: None, prefix, record_type });
        self.read(StreamQuery { bytes: limits::EVENTS_BYTES, ..query }, permit).await
    }

    async fn read(
        self: &Arc<Self>,
        query: StreamQuery,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Arc<Page>> {
        let feed = Arc::clone(self);
        detached(async move {
            let (bounds, found) = feed.engine.stream(&query).await?;
            let changes = query.page(&bounds, found)?;
            let bytes = changes.changes.iter().map(event_bytes).sum();
            Ok(Arc::new(Page {
                store: bounds,
                _permit: permit,
                first: query.from,
                next: changes.next,
                changes: changes.changes,
                bytes,
                lines: OnceLock::new(),
            }))
        })
        .await
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        // Nobody panics while holding this mutex; a poisoned one would still hold good pages.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page of the stream that several may look at.
#[derive(Debug)]
pub(crate) struct Page {
    /// Where the store stood when it was read.
    pub(crate) store: Bounds,
    _permit: Option<OwnedSemaphorePermit>,
    first: u64,
    /// The first seq that was not examined.
    pub(crate) next: u64,
    pub(crate) changes: Vec<Change>,
    bytes: usize,
    /// What a daemon makes of the changes, once for all who are sent them.
    pub(crate) lines: OnceLock<Vec<Bytes>>,
}

/// The pages that were read last, up to a size.
#[derive(Debug, Default)]
struct Tail(VecDeque<Arc<Page>>);

impl Tail {
    fn find(&self, store: &Bounds, seq: u64) -> Option<Arc<Page>> {
        let covers =
            |page: &&Arc<Page>| page.store.is_same_store(store) && (page.first..page.next).contains(&seq);
        self.0.iter().rev().find(covers).cloned()
    }

    fn push(&mut self, page: Arc<Page>) {
        self.0.push_back(page);
        while self.0.len() > limits::TAIL_PAGES
            // Each change is there as a record and as a line.
            || (self.0.len() > 1 && self.0.iter().map(|page| page.bytes * 2).sum::<usize>() > limits::TAIL_BYTES)
        {
            self.0.pop_front();
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// What the event of a change takes, in bytes: a line is larger than the record by what all lines have.
pub(crate) fn event_bytes(change: &Change) -> usize {
    weight_bytes(&change.record) + limits::EVENT_HEAD_BYTES
}

/// Runs a read in a task of its own, so that a caller who goes away does not leave a connection in the middle of a
/// statement.
pub(crate) async fn detached<T: Send + 'static>(
    read: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    tokio::spawn(read)
        .await
        .unwrap_or_else(|_| Err(Error::new(Code::Internal, "a read ended without an answer")))
}
