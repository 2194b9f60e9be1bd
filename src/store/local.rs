//! A store on a database of this process.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;

use super::Store;
use super::batcher::{Batcher, Point};
use super::engine::Engine;
use super::engine::page::{ListQuery, StreamQuery};
use super::error::{Code, Result};
use super::feed::{Feed, detached};
use super::follow::{Follower, Following};
use super::lease::session_name;
use super::open::Address;
use super::plan::first_position;
use super::reply::{Grant, Lock, Page, Reply};
use super::request::{ConsumerGet, List, LockAcquire, NameList, Read, Request, Stream, WriteOperation};
use super::subscription::{Subscribe, Subscription};
use super::time::Clock;
use super::waiting::{Claimable, Waiters};

/// A store on a database that this process opens itself.
///
/// Requests of concurrent callers are committed together. Any number of processes may open the same store.
///
/// It leaves the signals of the process alone. A program that may run under a file-size limit (`ulimit -f`) handles or
/// ignores SIGXFSZ itself, as the program `kv` does: then a write beyond the limit is `store_full`, else the system
/// ends the process.
///
/// ```
/// use kv::store::{Address, Clock, EngineKind, JsonText, LocalStore, Put, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// let address = Address::parse(EngineKind::Sqlite, ":memory:")?;
/// let store = LocalStore::open(&address, Clock::System);
/// store.init().await?;
/// let written = store.put(Put::new("hello", JsonText::of(&"world")?)).await?;
/// assert_eq!(written.version, 1);
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
pub struct LocalStore {
    engine: Arc<dyn Engine>,
    batcher: Batcher,
    feed: Arc<Feed>,
    waiters: Waiters,
    /// Looks for what other processes commit, from the first who waits for that on.
    lookout: OnceLock<Lookout>,
}

impl LocalStore {
    /// Opens the store at this address. Nothing is touched before the first request, and nothing but
    /// [`init`](Store::init) creates anything. Must be called within a tokio runtime with its timers enabled.
    #[must_use]
    pub fn open(address: &Address, clock: Clock) -> LocalStore {
        let engine = address.engine(clock.clone());
        let feed = Arc::new(Feed::new(Arc::clone(&engine)));
        let batcher = Batcher::start(&engine, &feed);
        let waiters = Waiters::new(batcher.writes().clone(), Arc::clone(&feed), clock);
        LocalStore { engine, batcher, feed, waiters, lookout: OnceLock::new() }
    }

    /// What all who wait for this store share.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        self.lookout.get_or_init(|| Lookout(tokio::spawn(Arc::clone(&self.feed).keep_looking())));
        &self.feed
    }

    /// Those who wait for something that others hold.
    pub(crate) fn waiters(&self) -> &Waiters {
        self.feed();
        &self.waiters
    }

    /// Whether a commit failed in a way that only the next process can recover from: this one should end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.engine.has_failed()
    }

    /// Lets go of a database that was moved away, and gives back room that its log does not need any more. To be called from
    /// time to time by a program that keeps a store open for long.
    pub async fn tend(&self) {
        let engine = Arc::clone(&self.engine);
        let tended = detached(async move {
            engine.tend().await;
            Ok(())
        });
        // What could not be done now is done the next time.
        let _ = tended.await;
    }

    /// Finishes what was asked for and closes the database.
    pub async fn close(self) {
        self.feed.closed.cancel();
        self.waiters.close().await;
        if let Some(mut lookout) = self.lookout.into_inner() {
            lookout.0.abort();
            // It was looking just now, or not: either way it has let go of the database.
            let _ = (&mut lookout.0).await;
        }
        self.batcher.close().await;
        self.engine.close().await;
    }

    /// Reads one record, unless its value is large: then none, and [`Read::Get`] loads it by itself.
    pub(crate) async fn get_small(&self, key: String) -> Result<Option<Reply>> {
        let request = Request::Read(Read::Get { key });
        request.check()?;
        let Request::Read(Read::Get { key }) = request else { return Ok(None) };
        match self.batcher.point(Point::Small(key)).await {
            Err(error) if error.code == Code::TooLarge => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    async fn read(&self, read: Read) -> Result<Reply> {
        let engine = Arc::clone(&self.engine);
        match read {
            Read::Get { key } => self.batcher.point(Point::One(key)).await,
            Read::GetBatch { keys } => self.batcher.point(Point::Many(keys)).await,
            Read::List(list) => detached(run_list(engine, list)).await,
            Read::Count(selector) => {
                let query = ListQuery::of(&List { selector, ..List::default() });
                detached(
                    async move { engine.count(&query).await.map(|(seq, count)| Reply::Count { seq, count }) },
                )
                .await
            }
            Read::Stream(stream) => {
                detached(async move {
                    let query = StreamQuery::of(&stream);
                    let (bounds, found) = engine.stream(&query).await?;
                    query.page(&bounds, found).map(Reply::Changes)
                })
                .await
            }
            Read::StreamSeq => {
                let meta = async move { engine.meta().await };
                detached(async {
                    meta.await.map(|(bounds, _)| Reply::Head { seq: bounds.head, first: bounds.first })
                })
                .await
            }
            Read::LockStatus { name } => {
                detached(async move {
                    let (now_ms, found) = engine.locks(&ListQuery::of_one(&name)).await?;
                    let lock = found.fitting.first().and_then(|(name, row)| row.held(name, now_ms));
                    Ok(Reply::Lock { seq: found.seq, lock })
                })
                .await
            }
            Read::LockList(list) => {
                detached(async move { run_lock_list(engine, list).await.map(Reply::Locks) }).await
            }
            Read::ConsumerGet(get) => detached(run_consumer_get(engine, get)).await,
            Read::ConsumerStatus { name } => {
                detached(async move {
                    let (now_ms, found) = engine.consumers(&ListQuery::of_one(&name)).await?;
                    let consumer = found.fitting.first().map(|(name, row)| row.shown(name, now_ms));
                    Ok(Reply::Consumer { seq: found.seq, consumer })
                })
                .await
            }
            Read::ConsumerList(list) => {
                detached(async move {
                    let query = ListQuery::of_names(&list);
                    let (now_ms, found) = engine.consumers(&query).await?;
                    let Page { seq, items, next } = query.page(found, |(name, _)| name);
                    let items = items.iter().map(|(name, row)| row.shown(name, now_ms)).collect();
                    Ok(Reply::Consumers(Page { seq, items, next }))
                })
                .await
            }
            Read::Identity => {
                detached(async move { engine.meta().await.map(|(_, identity)| Reply::Identity(identity)) })
                    .await
            }
        }
    }
}

/// The task that looks; it ends with its store.
struct Lookout(JoinHandle<()>);

impl Drop for Lookout {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The position is read first: what is committed in between makes the page begin earlier than it had to, never later.
async fn run_consumer_get(engine: Arc<dyn Engine>, get: ConsumerGet) -> Result<Reply> {
    let ConsumerGet { name, start, limit, prefix, record_type } = get;
    let (_, found) = engine.consumers(&ListQuery::of_one(&name)).await?;
    let position = match found.fitting.first() {
        Some((_, row)) => row.position,
        None => {
            let (bounds, _) = engine.meta().await?;
            first_position(start.as_ref(), bounds.first, bounds.head)?
        }
    };
    let query = StreamQuery::of(&Stream { seq: position + 1, limit, prefix, record_type });
    let (bounds, found) = engine.stream(&query).await?;
    let changes = query.page(&bounds, found)?;
    Ok(Reply::Consumed { changes, position })
}

/// A page of the locks that are held. Rows of those that expired are passed over: a page is only empty when nothing follows.
async fn run_lock_list(engine: Arc<dyn Engine>, mut list: NameList) -> Result<Page<Lock>> {
    loop {
        let query = ListQuery::of_names(&list);
        let (now_ms, found) = engine.locks(&query).await?;
        let Page { seq, items, next } = query.page(found, |(name, _)| name);
        let items: Vec<Lock> = items.iter().filter_map(|(name, row)| row.held(name, now_ms)).collect();
        if !items.is_empty() || next.is_none() {
            return Ok(Page { seq, items, next });
        }
        list.after = next;
    }
}

async fn run_list(engine: Arc<dyn Engine>, list: List) -> Result<Reply> {
    let query = ListQuery::of(&list);
    if list.keys_only {
        let found = engine.keys(&query).await?;
        return Ok(Reply::Keys(query.page(found, |key| key)));
    }
    let found = engine.list(&query).await?;
    Ok(Reply::Records(query.page(found, |record| &record.key)))
}

#[async_trait]
impl Store for LocalStore {
    async fn call(&self, request: Request) -> Result<Reply> {
        request.check()?;
        match request {
            Request::Init => {
                let engine = Arc::clone(&self.engine);
                detached(async move { engine.init().await.map(|created| Reply::Init { created }) }).await
            }
            Request::Write(write) => self.batcher.writes().write(write).await,
            Request::Compact => {
                let engine = Arc::clone(&self.engine);
                detached(async move { engine.compact().await.map(Reply::Compacted) }).await
            }
            Request::Restore { epoch } => {
                let engine = Arc::clone(&self.engine);
                let restored = detached(async move { engine.restore(&epoch).await }).await;
                // Whoever follows the stream, or waits for a lock, hears of it now.
                if let Err(error) = self.feed.refresh().await {
                    tracing::debug!(%error, "the store cannot be asked where it stands");
                }
                restored.map(Reply::Restored)
            }
            Request::Read(read) => self.read(read).await,
        }
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        let (follower, seq, identity) = Follower::begin(self, subscribe, session_name()).await?;
        Ok(Subscription::new(identity, seq, Following::new(follower)))
    }

    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant> {
        let request = Request::Write(WriteOperation::LockAcquire(acquire.clone()).into());
        request.check()?;
        self.waiters().acquire(&Claimable::Lock(acquire), wait).await?.try_into()
    }
}
