//! A store on a database of this process.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::DropGuard;

use super::Store;
use super::batcher::{Batcher, Keys, Writer};
use super::commit::CommitObserver;
use super::engine::sql::queries;
use super::engine::{Engine, Point, Snapshot, lock};
use super::error::Result;
use super::expiry::Expirer;
use super::feed::Feed;
use super::follow::{Follower, LocalSubscription};
use super::lease::session_name;
use super::open::Address;
use super::page::{ListQuery, NameQuery, StreamQuery, page};
use super::plan::{filter_of, first_position};
use super::reply::{Changes, Grant, Lock, Page, Reply, Servers};
use super::request::{ConsumerGet, LockAcquire, NameList, Read, Request, Stream, WriteOperation};
use super::retention::{self, Schedule};
use super::subscription::{Subscribe, Subscription};
use super::time::Clock;
use super::waiting::{Claimable, Waiters};
use crate::limits;

/// A store on a database that this process opens itself.
///
/// Requests of concurrent callers are committed together. Any number of processes may open the same store.
///
/// It installs no signal handlers. A program that may run under a file-size limit (`ulimit -f`) must handle or ignore
/// SIGXFSZ itself, as the program `kv` does: then a write beyond the limit fails with `store_full`. Otherwise the
/// system ends the process.
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
    waiters: Arc<Waiters>,
    retention: Mutex<Schedule>,
    expirer: Arc<Expirer>,
    /// Ends the tasks of a store that is dropped without being closed.
    _tasks: DropGuard,
}

impl LocalStore {
    /// Opens the store at this address. Touches nothing before the first request, and only [`init`](Store::init)
    /// creates anything. Must be called within a tokio runtime with its timers and I/O enabled.
    #[must_use]
    pub fn open(address: &Address, clock: Clock) -> LocalStore {
        LocalStore::with_engine(address.engine(clock.clone()), clock, Box::new(|_, _| {}))
    }

    /// As [`open`](LocalStore::open), with an observer of the commits.
    #[cfg(feature = "cli")]
    pub(crate) fn observed(address: &Address, clock: Clock, observer: CommitObserver) -> LocalStore {
        LocalStore::with_engine(address.engine(clock.clone()), clock, observer)
    }

    pub(crate) fn with_engine(engine: Arc<dyn Engine>, clock: Clock, observer: CommitObserver) -> LocalStore {
        let feed = Arc::new(Feed::new(Arc::clone(&engine)));
        let batcher = Batcher::start(&engine, &feed, observer);
        let waiters = Arc::new(Waiters::new(batcher.writer().downgrade(), Arc::clone(&feed), clock.clone()));
        let expirer = Arc::new(Expirer::new(batcher.writer().downgrade(), Arc::clone(&feed), clock));
        // It reads nothing before there is a receiver.
        feed.spawn(Arc::clone(&feed).follow_others());
        let tasks = feed.closed.clone().drop_guard();
        LocalStore { engine, batcher, feed, waiters, expirer, retention: Mutex::default(), _tasks: tasks }
    }

    /// The state that all subscriptions of this store share.
    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The requests that wait for a lock or a consumer.
    pub(crate) fn waiters(&self) -> &Arc<Waiters> {
        &self.waiters
    }

    /// What removes records in time.
    #[cfg(feature = "cli")]
    pub(crate) fn expirer(&self) -> &Arc<Expirer> {
        &self.expirer
    }

    /// Whether a commit failed in a way from which only the next process can recover: this one should end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.engine.has_failed()
    }

    /// Closes a database that was moved away, frees space that the log does not need any more, and applies the retention of
    /// the stream. A program that keeps
    /// a store open for long should call it from time to time.
    pub async fn tend(&self) {
        self.engine.tend().await;
        if let Some(head) = self.feed.written_head()
            && lock(&self.retention).take_due(head)
        {
            match retention::apply(self).await {
                Ok(due) => lock(&self.retention).due = due,
                Err(error) => {
                    tracing::debug!(%error, "the retention of the stream cannot be applied");
                    // It is tried again.
                    lock(&self.retention).has_changed = true;
                }
            }
        }
    }

    /// What the servers behind the store tell of themselves: the nodes of rqlite, or the server of PostgreSQL.
    /// A store in a file has none.
    ///
    /// # Errors
    /// `unavailable` when none of them tells it.
    pub async fn servers(&self) -> Result<Servers> {
        self.engine.servers().await
    }

    /// Ends each delete of a large range after its present slice. To be called when the store is about to be closed while
    /// it is still in use. The caller of such a delete gets an error that tells how many records are gone.
    pub fn break_off(&self) {
        self.batcher.break_off();
    }

    /// Finishes the requests under way and closes the database. Of a delete of a large range only the present slice is
    /// finished.
    pub async fn close(self) {
        self.feed.close().await;
        self.batcher.close().await;
        self.engine.close().await;
    }

    /// What is stored under each of these keys, which must have been checked.
    pub(crate) async fn points(&self, keys: &[&str]) -> Result<Snapshot<Vec<Point>>> {
        self.engine.present(keys, limits::INLINE_VALUE_BYTES).await
    }

    /// The handle for writes that have been checked.
    pub(crate) fn writer(&self) -> &Writer {
        self.batcher.writer()
    }

    async fn read(&self, read: Read) -> Result<Reply> {
        let engine = &*self.engine;
        Ok(match read {
            Read::Get { key } => return self.batcher.read(Keys::One(key)).await,
            Read::GetBatch { keys } => return self.batcher.read(Keys::Many(keys)).await,
            Read::List(list) => {
                let query = ListQuery::of(&list, engine.now());
                if list.keys_only {
                    let found = engine.query(queries::Keys(query)).await?;
                    Reply::Keys(page(found.seq(), found.rows, |key| key))
                } else {
                    let found = engine.query(queries::Records(query)).await?;
                    Reply::Records(page(found.seq(), found.rows, |record| &record.key))
                }
            }
            Read::Count(selector) => {
                let found = engine.query(queries::Count(ListQuery::of_all(selector, engine.now()))).await?;
                Reply::Count { seq: found.seq(), count: found.rows }
            }
            Read::Stream(stream) => Reply::Changes(self.changes(&stream).await?),
            Read::StreamSeq => {
                let position = engine.query(queries::WhichStore).await?.position;
                Reply::Head { seq: position.head, first: position.first }
            }
            Read::LockStatus { name } => {
                let found = engine.query(queries::Locks(NameQuery::one(&name))).await?;
                let lock = found.rows.rows.first().and_then(|(name, row)| row.held(name, found.now_ms));
                Reply::Lock { seq: found.seq(), lock }
            }
            Read::LockList(list) => Reply::Locks(self.lock_list(list).await?),
            Read::ConsumerGet(get) => self.consumer_get(get).await?,
            Read::ConsumerStatus { name } => {
                let found = engine.query(queries::Consumers(NameQuery::one(&name))).await?;
                let consumer = found
                    .rows
                    .rows
                    .first()
                    .map(|listed| listed.row.shown(&listed.name, listed.waiting_since_ms, found.now_ms));
                Reply::Consumer { seq: found.seq(), consumer }
            }
            Read::ConsumerList(list) => {
                let found = engine.query(queries::Consumers(NameQuery::of(&list))).await?;
                let Page { seq, items, next } = page(found.position.head, found.rows, |listed| &listed.name);
                let items = items
                    .iter()
                    .map(|listed| listed.row.shown(&listed.name, listed.waiting_since_ms, found.now_ms))
                    .collect();
                Reply::Consumers(Page { seq, items, next })
            }
            Read::Retention => {
                let found = engine.query(queries::KeptRetention).await?;
                Reply::Retention { seq: found.seq(), retention: found.rows }
            }
            Read::Identity => Reply::Identity(engine.query(queries::WhichStore).await?.rows),
        })
    }

    async fn changes(&self, stream: &Stream) -> Result<Changes> {
        let query = StreamQuery::of(stream);
        let found = self.engine.query(query.clone()).await?;
        query.page(&found.position, found.rows)
    }

    /// The position is read first: a commit in between may make the page begin earlier than necessary, never later.
    async fn consumer_get(&self, get: ConsumerGet) -> Result<Reply> {
        let ConsumerGet { name, start, limit, filter } = get;
        let found = self.engine.query(queries::Consumers(NameQuery::one(&name))).await?;
        let row = found.rows.rows.first().map(|listed| &listed.row);
        let filter = filter_of(&name, row, &filter)?;
        let position = match row {
            Some(row) => row.position,
            None => first_position(start.as_ref(), found.position.first, found.position.head)?,
        };
        let stream = Stream { seq: position + 1, limit, filter, ..Stream::default() };
        let changes = self.changes(&stream).await?;
        Ok(Reply::Consumed { changes, position })
    }

    /// A page of the locks that are held. Rows of expired locks are passed over: a page is empty only at the end of the
    /// listing.
    async fn lock_list(&self, mut list: NameList) -> Result<Page<Lock>> {
        loop {
            let found = self.engine.query(queries::Locks(NameQuery::of(&list))).await?;
            let Page { seq, items, next } = page(found.position.head, found.rows, |(name, _)| name);
            let items: Vec<Lock> =
                items.iter().filter_map(|(name, row)| row.held(name, found.now_ms)).collect();
            if !items.is_empty() || next.is_none() {
                return Ok(Page { seq, items, next });
            }
            list.after = next;
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn call(&self, request: Request) -> Result<Reply> {
        request.check()?;
        match request {
            Request::Init => self.engine.init().await.map(|created| Reply::Init { created }),
            Request::Write(write) => {
                let retains = matches!(write.operation, WriteOperation::Retain(_));
                let written = self.batcher.writer().write(write).await;
                if retains {
                    lock(&self.retention).has_changed = true;
                }
                written
            }
            Request::Compact => self.engine.compact().await.map(Reply::Compacted),
            Request::Restore { epoch } => {
                let restored = self.engine.restore(&epoch).await;
                // Subscriptions and requests that wait for locks are told now.
                if let Err(error) = self.feed.refresh().await {
                    tracing::debug!(%error, "the position of the store cannot be read");
                }
                restored.map(Reply::Restored)
            }
            Request::Read(read) => self.read(read).await,
        }
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        self.expirer.begin();
        let (follower, seq, identity) =
            Follower::begin(&self.feed, &self.waiters, subscribe, session_name()).await?;
        Ok(Subscription::new(identity, seq, LocalSubscription::new(follower)))
    }

    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant> {
        let request = Request::Write(WriteOperation::LockAcquire(acquire.clone()).into());
        request.check()?;
        self.waiters.acquire(&Claimable::Lock(acquire), wait).await?.try_into()
    }
}
