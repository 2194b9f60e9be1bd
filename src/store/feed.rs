//! The newest known position of the store, and the changes that were committed last.
//!
//! Subscriptions and requests that wait for locks watch one level: the newest head and count of lock changes. Nothing
//! is queued, so a wake-up cannot be lost, and a slow reader costs nothing. The database is the truth: the level only
//! says that there is something to read.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::batcher::ended;
use super::engine::sql::queries::WhichStore;
use super::engine::{Engine, Snapshot};
use super::error::Result;
use super::expiry::WrittenTtl;
use super::page::{StreamQuery, weight_bytes};
use super::position::Position;
use super::record::Change;
use super::reply::Identity;
use super::request::Stream;
use super::subscription::Subscribe;
use crate::limits;

/// The state that all subscriptions and waiting requests of a store share.
pub(crate) struct Feed {
    engine: Arc<dyn Engine>,
    latest: watch::Sender<Option<Position>>,
    /// Notified when a receiver begins to listen.
    listened: Notify,
    /// The pages that were read last, for subscriptions that are up to date.
    tail: Mutex<Tail>,
    /// Held while the next page of the tail is read for all of them.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// Limits the pages that are read for single subscriptions, which are far behind.
    replays: Arc<Semaphore>,
    written_ttl: WrittenTtl,
    /// The head of the stream after the last commit of this process; 0 before the first one.
    written_head: AtomicU64,
    /// Cancelled when the store is being closed.
    pub(crate) closed: CancellationToken,
    tasks: TaskTracker,
}

impl Feed {
    pub(crate) fn new(engine: Arc<dyn Engine>) -> Feed {
        Feed {
            engine,
            latest: watch::Sender::new(None),
            listened: Notify::new(),
            tail: Mutex::default(),
            reading: Arc::default(),
            replays: Arc::new(Semaphore::new(limits::REPLAY_READS)),
            written_ttl: WrittenTtl::default(),
            written_head: AtomicU64::new(0),
            closed: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Runs a task until it ends or the store is closed.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let closed = self.closed.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = closed.cancelled() => {}
            }
        });
    }

    /// Ends every task, and every wait for news.
    pub(crate) async fn close(&self) {
        self.closed.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    pub(crate) fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    /// What was written last that expires.
    pub(crate) fn written_ttl(&self) -> &WrittenTtl {
        &self.written_ttl
    }

    /// Makes a position known to all receivers, unless a newer one is known.
    pub(crate) fn publish(&self, position: Position) {
        self.latest.send_if_modified(|latest| match latest {
            // A read that began before a commit may be published after it.
            Some(latest) if latest.opened > position.opened => false,
            Some(latest) if latest.is_same_store(&position) => {
                let is_news = latest.head < position.head || latest.lock_seq < position.lock_seq;
                latest.head = latest.head.max(position.head);
                latest.lock_seq = latest.lock_seq.max(position.lock_seq);
                is_news
            }
            _ => {
                *latest = Some(position);
                true
            }
        });
    }

    /// A receiver of the newest position and of each later one.
    pub(crate) fn listen(&self) -> watch::Receiver<Option<Position>> {
        let receiver = self.latest.subscribe();
        self.listened.notify_one();
        receiver
    }

    /// The head of the stream after the last commit of this process; none before the first change.
    pub(crate) fn written_head(&self) -> Option<u64> {
        Some(self.written_head.load(Ordering::Relaxed)).filter(|&head| head > 0)
    }

    /// As [`publish`](Feed::publish), for a commit of this process.
    pub(crate) fn publish_own(&self, position: Position) {
        self.written_head.store(position.head, Ordering::Relaxed);
        self.publish(position);
    }

    /// The count of lock changes in the newest position; none before the first position.
    pub(crate) fn lock_seq(&self) -> Option<u64> {
        self.latest.borrow().as_ref().map(|latest| latest.lock_seq)
    }

    /// Reads the position of the store, and publishes it.
    pub(crate) async fn refresh(&self) -> Result<(Position, Identity)> {
        let Snapshot { position, rows, .. } = self.engine.query(WhichStore).await?;
        self.publish(position.clone());
        Ok((position, rows))
    }

    /// Publishes the commits of other processes while there are receivers. Never returns.
    pub(crate) async fn follow_others(self: Arc<Self>) {
        // Whether other processes have committed something that is not published yet.
        let mut is_behind = false;
        loop {
            while self.latest.receiver_count() == 0 {
                self.tail().clear();
                self.listened.notified().await;
            }
            if !is_behind {
                tokio::select! {
                    changed = self.engine.changed() => match changed {
                        Ok(()) => {}
                        Err(error) => {
                            tracing::debug!(%error, "whether other processes have committed cannot be read");
                            continue;
                        }
                    },
                    () = self.latest.closed() => continue,
                }
            }
            match self.refresh().await {
                Ok(_) => is_behind = false,
                Err(error) => {
                    tracing::debug!(%error, "the position of the store cannot be read");
                    is_behind = true;
                    tokio::time::sleep(limits::LOOK_INTERVAL).await;
                }
            }
        }
    }

    /// A page that begins at this seq or before it. It holds every wanted change up to its `next`, and may hold others.
    pub(crate) async fn page(
        self: &Arc<Self>,
        wanted: &Subscribe,
        store: &Position,
        seq: u64,
    ) -> Result<Arc<TailPage>> {
        if let Some(page) = self.tail().find(store, seq) {
            return Ok(page);
        }
        let head = self.latest.borrow().as_ref().map_or(0, |latest| latest.head);
        if head.saturating_sub(seq) < limits::PAGE_RECORDS as u64 {
            let turn = Arc::clone(&self.reading).lock_owned().await;
            if let Some(page) = self.tail().find(store, seq) {
                return Ok(page);
            }
            // It goes on when nobody waits for it any more: who waits for less time than it takes, again and again, finds
            // it in the end.
            let feed = Arc::clone(self);
            let reading = tokio::spawn(async move {
                let _turn = turn;
                let all = Stream { seq, ..Stream::default() };
                let page = feed.read(StreamQuery::of(&all), None).await?;
                feed.tail().push(Arc::clone(&page));
                Ok(page)
            });
            return reading.await.unwrap_or_else(|_| Err(ended()));
        }
        // Held as long as the page lives, so that there are few of them, however many subscriptions are waiting to send
        // theirs.
        let permit = Arc::clone(&self.replays).acquire_owned().await.ok();
        let filter = wanted.filter.clone();
        let mut query = StreamQuery::of(&Stream { seq, filter, ..Stream::default() });
        query.size.bytes = limits::EVENTS_BYTES;
        self.read(query, permit).await
    }

    async fn read(&self, query: StreamQuery, permit: Option<OwnedSemaphorePermit>) -> Result<Arc<TailPage>> {
        let Snapshot { position, rows, .. } = self.engine.query(query.clone()).await?;
        let changes = query.page(&position, rows)?;
        let bytes = changes.changes.iter().map(event_bytes).sum();
        Ok(Arc::new(TailPage {
            store: position,
            _permit: permit,
            first: query.from,
            next: changes.next,
            changes: changes.changes,
            bytes,
            lines: OnceLock::new(),
        }))
    }

    fn tail(&self) -> std::sync::MutexGuard<'_, Tail> {
        // No code panics while it holds this mutex; a poisoned one would still hold good pages.
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page of the stream that several subscriptions may share.
#[derive(Debug)]
pub(crate) struct TailPage {
    /// The position of the store when the page was read.
    pub(crate) store: Position,
    _permit: Option<OwnedSemaphorePermit>,
    first: u64,
    /// The first seq that was not examined.
    pub(crate) next: u64,
    pub(crate) changes: Vec<Change>,
    bytes: usize,
    /// The lines that a daemon makes of the changes, once for all subscriptions.
    pub(crate) lines: OnceLock<Vec<Bytes>>,
}

/// The pages that were read last, up to a total size.
#[derive(Debug, Default)]
struct Tail(VecDeque<Arc<TailPage>>);

impl Tail {
    fn find(&self, store: &Position, seq: u64) -> Option<Arc<TailPage>> {
        let covers =
            |page: &&Arc<TailPage>| page.store.is_same_store(store) && (page.first..page.next).contains(&seq);
        self.0.iter().rev().find(covers).cloned()
    }

    fn push(&mut self, page: Arc<TailPage>) {
        self.0.push_back(page);
        while self.0.len() > limits::TAIL_PAGES
            // Each change is held as a record and as a line.
            || (self.0.len() > 1 && self.0.iter().map(|page| page.bytes * 2).sum::<usize>() > limits::TAIL_BYTES)
        {
            self.0.pop_front();
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

/// The size of the event of a change, in bytes: its key and value, and the fixed part of the line.
pub(crate) fn event_bytes(change: &Change) -> usize {
    weight_bytes(&change.record) + limits::EVENT_HEAD_BYTES
}
