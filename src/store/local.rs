//! A store on a database of this process.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::task::AbortHandle;

use super::Store;
use super::batcher::{Batcher, Point};
use super::engine::Engine;
use super::engine::page::{ListQuery, StreamQuery};
use super::error::{Code, Result};
use super::feed::{Feed, detached};
use super::follow::{Follower, Following};
use super::open::Address;
use super::reply::{Page, Reply};
use super::request::{List, Read, Request};
use super::subscription::{Subscribe, Subscription};
use super::time::Clock;

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
    /// Looks for what other processes commit, from the first who waits for that on.
    lookout: OnceLock<AbortOnDrop>,
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl LocalStore {
    /// Opens the store at this address. Nothing is touched before the first request, and nothing but
    /// [`init`](Store::init) creates anything. Must be called within a tokio runtime with its timers enabled.
    #[must_use]
    pub fn open(address: &Address, clock: Clock) -> LocalStore {
        let engine = address.engine(clock);
        let feed = Arc::new(Feed::new(Arc::clone(&engine)));
        LocalStore { batcher: Batcher::start(&engine, &feed), engine, feed, lookout: OnceLock::new() }
    }

    /// What all who wait for this store share.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        self.lookout
            .get_or_init(|| AbortOnDrop(tokio::spawn(Arc::clone(&self.feed).keep_looking()).abort_handle()));
        &self.feed
    }

    /// Whether a commit failed in a way that only the next process can recover from: this one should end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.engine.has_failed()
    }

    /// Finishes what was asked for and closes the database.
    pub async fn close(self) {
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
                detached(async move {
                    let query = ListQuery::of_locks(&list);
                    let (now_ms, found) = engine.locks(&query).await?;
                    let Page { seq, items, next } = query.page(found, |(name, _)| name);
                    let items = items.iter().filter_map(|(name, row)| row.held(name, now_ms)).collect();
                    Ok(Reply::Locks(Page { seq, items, next }))
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
            Request::Write(write) => self.batcher.write(write).await,
            Request::Read(read) => self.read(read).await,
        }
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        let (follower, seq, identity) = Follower::begin(self.feed(), subscribe).await?;
        Ok(Subscription::new(identity, seq, Following::new(follower)))
    }
}
