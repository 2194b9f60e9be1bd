//! The store: what a program can use alone, without a daemon.
//!
//! [`Store`] is the contract. [`LocalStore`] keeps it on a database of this process, [`Client`](crate::Client)
//! through a daemon.
//!
//! - `batcher`: gathers the requests that wait into one batch
//! - `plan`: decides a batch, without I/O: every rule of the store stands there once
//! - `engine`: reads rows and applies a plan; one file for each kind of database
//! - [`maintenance`]: copies and checks of a whole store
//! - `feed`, `follow`: wake those who follow the stream, and read it for them
//! - [`request`], [`reply`], [`record`], [`keys`], [`json_text`], [`time`], [`error`]: the words of the contract

pub(crate) mod batcher;
pub(crate) mod commit;
mod damage;
pub(crate) mod engine;
pub mod error;
pub(crate) mod feed;
pub(crate) mod file_id;
pub(crate) mod files;
pub(crate) mod follow;
mod guarded;
mod json_patch;
pub mod json_text;
pub mod keys;
mod lease;
mod local;
pub mod maintenance;
pub mod merge_patch;
mod open;
pub(crate) mod page;
pub(crate) mod plan;
mod position;
pub mod record;
pub mod reply;
pub mod request;
pub mod subscription;
pub mod time;
pub(crate) mod waiting;
mod work;

use std::time::Duration;

use async_trait::async_trait;

pub(crate) use error::cancelled;
pub use error::{Code, Details, Error, Result};
pub use guarded::Guarded;
pub use json_text::JsonText;
pub use lease::session_name;
pub(crate) use lease::session_name_of;
pub use local::LocalStore;
pub(crate) use open::foreign_owner;
pub use open::{Address, EngineKind};
pub use record::{Action, Change, Record, RecordOf, records_of, value_of, values_of};
use reply::unexpected;
pub use reply::{
    Changes, Compacted, Consumer, Deleted, Grant, Identity, Lock, MutationResult, Page, Reply, Restored,
    Written,
};
pub use request::{
    Check, Condition, ConsumerCommit, ConsumerGet, ConsumerHold, ConsumerLeave, Delete, Fence, List,
    LockAcquire, LockRelease, Mutation, NameList, Patch, PatchFormat, Put, Read, Request, Selector, Stream,
    Target, Trim, TypeChange, Write, WriteOperation,
};
pub use subscription::{Event, Start, Subscribe, Subscription};
pub use time::{Clock, ManualClock, Timestamp};

/// A key-value store with versions, conditions and a stream of its changes.
///
/// Every call takes effect at one instant between its start and its answer, also when other processes and hosts
/// use the same store; only the [`Delete`] of a large range takes several. A write that returns an error was not applied, unless [`Error::maybe`] is set.
///
/// The methods are built on [`call`](Store::call): whoever implements that has them all.
#[async_trait]
pub trait Store: Send + Sync {
    /// Runs one request. Requests of concurrent callers are committed together.
    ///
    /// # Errors
    /// `bad_request` and `too_large` for what no store could answer, `not_initialized` before
    /// [`init`](Store::init), and what the operation says.
    async fn call(&self, request: Request) -> Result<Reply>;

    /// Follows the stream: the changes that are there, then those that come, in order and without a gap.
    ///
    /// With the `seq` of a listing as its start it keeps a mirror: nothing of what changed since is missing.
    ///
    /// # Errors
    /// `trimmed` when the stream begins later than `start`, `future` when it ends before, `epoch_changed` when `epoch`
    /// is another one.
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription>;

    /// Creates the store, or brings its schema up to date. Answers whether it was created; calling it again, also
    /// from several processes at once, is fine.
    async fn init(&self) -> Result<bool> {
        match self.call(Request::Init).await? {
            Reply::Init { created } => Ok(created),
            other => Err(unexpected(&other)),
        }
    }

    /// The record of this key, if there is one.
    async fn get(&self, key: &str) -> Result<Option<Record>> {
        match self.call(Request::Read(Read::Get { key: key.to_owned() })).await? {
            Reply::Get { record, .. } => Ok(record),
            other => Err(unexpected(&other)),
        }
    }

    /// The records of these keys (at most 1,000), in the order asked for; missing ones are left out.
    async fn get_batch(&self, keys: &[&str]) -> Result<Vec<Record>> {
        let mut wanted: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let mut records = Vec::new();
        loop {
            let page = match self.call(Request::Read(Read::GetBatch { keys: wanted.clone() })).await? {
                Reply::Records(page) => page,
                other => return Err(unexpected(&other)),
            };
            records.extend(page.items);
            let Some(next) = page.next else { return Ok(records) };
            match wanted.iter().position(|key| *key == next) {
                Some(position) if position > 0 => wanted.drain(..position),
                _ => return Err(Error::new(Code::Internal, "a page of get_batch went nowhere")),
            };
        }
    }

    /// One page of a listing: at most 1,000 records and about 1 MiB. Its `next` is the `after` of the next page.
    async fn page(&self, list: List) -> Result<Page<Record>> {
        match self.call(Request::Read(Read::List(List { keys_only: false, ..list }))).await? {
            Reply::Records(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of the keys of a listing.
    async fn keys(&self, list: List) -> Result<Page<String>> {
        match self.call(Request::Read(Read::List(List { keys_only: true, ..list }))).await? {
            Reply::Keys(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// All records of a listing up to its limit, page by page: each page is one instant of the store, the whole is
    /// not.
    async fn records(&self, mut list: List) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        loop {
            let page = self.page(list.clone()).await?;
            let count = page.items.len() as u64;
            records.extend(page.items);
            list.offset = 0;
            list.limit = list.limit.map(|limit| limit.saturating_sub(count));
            match page.next {
                Some(next) if list.limit != Some(0) => list.after = Some(next),
                _ => return Ok(records),
            }
        }
    }

    /// The records in key order, from `offset` on, at most `limit`.
    async fn list(&self, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        self.records(List { offset, limit, ..List::default() }).await
    }

    /// The records whose key starts with the prefix, in key order.
    async fn get_prefix(&self, prefix: &str, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        let selector = Selector::Prefix(prefix.to_owned());
        self.records(List { selector, offset, limit, ..List::default() }).await
    }

    /// The records with `from <= key < to`, in key order.
    async fn get_range(&self, from: &str, to: &str, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        let selector = Selector::Range { from: from.to_owned(), to: to.to_owned() };
        self.records(List { selector, offset, limit, ..List::default() }).await
    }

    /// The records of this type, in key order.
    async fn get_type(&self, record_type: &str, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        let selector = Selector::Type(record_type.to_owned());
        self.records(List { selector, offset, limit, ..List::default() }).await
    }

    /// How many records a selection has.
    async fn count_of(&self, selector: Selector) -> Result<u64> {
        match self.call(Request::Read(Read::Count(selector))).await? {
            Reply::Count { count, .. } => Ok(count),
            other => Err(unexpected(&other)),
        }
    }

    /// How many records there are.
    async fn count(&self) -> Result<u64> {
        self.count_of(Selector::All).await
    }

    /// How many keys start with the prefix.
    async fn count_prefix(&self, prefix: &str) -> Result<u64> {
        self.count_of(Selector::Prefix(prefix.to_owned())).await
    }

    /// How many keys have `from <= key < to`.
    async fn count_range(&self, from: &str, to: &str) -> Result<u64> {
        self.count_of(Selector::Range { from: from.to_owned(), to: to.to_owned() }).await
    }

    /// Stores a value.
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold.
    async fn put(&self, put: Put) -> Result<Written> {
        match self.call(Request::Write(Mutation::Put(put).into())).await? {
            Reply::Written(written) => Ok(written),
            other => Err(unexpected(&other)),
        }
    }

    /// Changes a part of a value.
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold, `too_large` when the new value would be; for a JSON Patch
    /// `not_found` when the key is absent and `patch_failed` when one of its operations fails.
    async fn patch(&self, patch: Patch) -> Result<Written> {
        match self.call(Request::Write(Mutation::Patch(patch).into())).await? {
            Reply::Written(written) => Ok(written),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes records and answers how many were there. A large range is removed in several transactions: see [`Delete`].
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold. Any error with `maybe` when a part of a large range is removed.
    async fn delete(&self, delete: Delete) -> Result<Deleted> {
        match self.call(Request::Write(Mutation::Delete(delete).into())).await? {
            Reply::Deleted(deleted) => Ok(deleted),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes the records whose key starts with the prefix, in key order, and answers how many; many of them in several
    /// transactions: see [`Delete`].
    ///
    /// # Errors
    /// `bad_request` when the prefix is empty: [`Delete::all`] says that every record is meant.
    async fn delete_prefix(&self, prefix: &str, offset: u64, limit: Option<u64>) -> Result<u64> {
        let delete = Delete { offset, limit, ..Delete::prefix(prefix) };
        self.delete(delete).await.map(|deleted| deleted.deleted)
    }

    /// Removes the records with `from <= key < to`, in key order, and answers how many; many of them in several transactions:
    /// see [`Delete`].
    async fn delete_range(&self, from: &str, to: &str, offset: u64, limit: Option<u64>) -> Result<u64> {
        let delete = Delete { offset, limit, ..Delete::range(from, to) };
        self.delete(delete).await.map(|deleted| deleted.deleted)
    }

    /// Runs mutations (at most 1,000) in order, each seeing those before it, all or none; answers one result for each.
    ///
    /// # Errors
    /// That of the first mutation that fails, with its position in [`Details::index`]. `too_large` when its deletes of
    /// prefixes and ranges cover more than 10,000 records together, or its patches change values of more than 32 MiB.
    async fn mutate_all(&self, mutations: Vec<Mutation>) -> Result<Vec<MutationResult>> {
        match self.call(Request::Write(WriteOperation::Mutate(mutations).into())).await? {
            Reply::Mutated(results) => Ok(results),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of the stream: at most 1,000 changes and about 1 MiB.
    ///
    /// # Errors
    /// `trimmed` when `seq` > 0 lies before the first change that is kept.
    async fn changes(&self, stream: Stream) -> Result<Changes> {
        match self.call(Request::Read(Read::Stream(stream))).await? {
            Reply::Changes(changes) => Ok(changes),
            other => Err(unexpected(&other)),
        }
    }

    /// The changes with this seq or a later one, at most `limit`, page by page up to the head of the first page.
    ///
    /// # Errors
    /// `trimmed` when `seq` > 0 lies before the first change that is kept.
    async fn stream(&self, seq: u64, limit: Option<u64>) -> Result<Vec<Change>> {
        let mut query = Stream { seq, limit, ..Stream::default() };
        let mut changes = Vec::new();
        let mut head = None;
        loop {
            let page = self.changes(query.clone()).await?;
            let head = *head.get_or_insert(page.seq);
            query.limit = query.limit.map(|limit| limit.saturating_sub(page.changes.len() as u64));
            query.seq = page.next;
            changes.extend(page.changes);
            if query.seq > head || query.limit == Some(0) {
                return Ok(changes);
            }
        }
    }

    /// The last seq of the stream, 0 on a fresh store.
    async fn stream_seq(&self) -> Result<u64> {
        match self.call(Request::Read(Read::StreamSeq)).await? {
            Reply::Head { seq, .. } => Ok(seq),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes the oldest part of the stream and answers how many changes that were. Numbers are never reused.
    async fn stream_trim(&self, trim: Trim) -> Result<u64> {
        match self.call(Request::Write(WriteOperation::Trim(trim).into())).await? {
            Reply::Trimmed { trimmed } => Ok(trimmed),
            other => Err(unexpected(&other)),
        }
    }

    /// Acquires a lock for a time of at least 1 ms. The same owner refreshes it, which keeps its fence and never
    /// shortens it. Writes that carry the fence (see [`Guarded`]) are refused once somebody else acquired the lock.
    ///
    /// # Errors
    /// `locked` while another owner holds it, with the holder and the expiry. When the outcome is unknown, take the
    /// lock as not held; acquiring it again as the same owner tells.
    async fn lock_acquire(&self, name: &str, owner: &str, duration: Duration) -> Result<Grant> {
        let acquire = LockAcquire {
            name: name.to_owned(),
            owner: owner.to_owned(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            fence: None,
        };
        self.call(Request::Write(WriteOperation::LockAcquire(acquire).into())).await?.try_into()
    }

    /// Refreshes the grant of a lock that has this fence, also when it expired: as long as nobody else got the lock since
    /// and it was not released, its owner goes on with the same fence.
    ///
    /// # Errors
    /// `not_owner` when another grant was made or the lock was released; then nothing is granted, and asking again changes
    /// nothing.
    async fn lock_refresh(&self, name: &str, owner: &str, fence: u64, duration: Duration) -> Result<Grant> {
        let acquire = LockAcquire {
            name: name.to_owned(),
            owner: owner.to_owned(),
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            fence: Some(fence),
        };
        self.call(Request::Write(WriteOperation::LockAcquire(acquire).into())).await?.try_into()
    }

    /// Acquires a lock as soon as it is free, for as long as `wait` allows. Those who wait through one daemon get it in
    /// the order in which they came. When the future is dropped, the lock is not kept.
    ///
    /// # Errors
    /// As [`lock_acquire`](Store::lock_acquire): `locked` while another owner holds it at the end of that time. A request
    /// with a `fence` waits for nobody: it is answered at once as [`lock_refresh`](Store::lock_refresh) is.
    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant>;

    /// Gives a lock back and answers whether there was something to give back: false when the lock was free.
    ///
    /// # Errors
    /// `not_owner` while another owner holds it.
    async fn lock_release(&self, name: &str, owner: &str) -> Result<bool> {
        let release =
            LockRelease { name: name.to_owned(), owner: owner.to_owned(), fence: None, refreshes: None };
        match self.call(Request::Write(WriteOperation::LockRelease(release).into())).await? {
            Reply::Released { released } => Ok(released),
            other => Err(unexpected(&other)),
        }
    }

    /// Who holds a lock; none when it is free or expired.
    async fn lock_status(&self, name: &str) -> Result<Option<Lock>> {
        match self.call(Request::Read(Read::LockStatus { name: name.to_owned() })).await? {
            Reply::Lock { lock, .. } => Ok(lock),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of the locks that are held, by name. Its `next` is the `after` of the next page.
    async fn locks(&self, list: NameList) -> Result<Page<Lock>> {
        match self.call(Request::Read(Read::LockList(list))).await? {
            Reply::Locks(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// The locks that are held and whose name starts with this, by name.
    async fn lock_list(&self, prefix: &str) -> Result<Vec<Lock>> {
        let mut list = NameList { prefix: prefix.to_owned(), after: None };
        let mut locks = Vec::new();
        loop {
            let page = self.locks(list.clone()).await?;
            locks.extend(page.items);
            match page.next {
                Some(next) => list.after = Some(next),
                None => return Ok(locks),
            }
        }
    }

    /// The changes behind the position of a consumer, and that position. A consumer that is not there begins with the first
    /// change that is kept, unless the request says where; it is made by its first commit.
    ///
    /// # Errors
    /// `trimmed` when the changes behind the position were trimmed.
    async fn consumer_get(&self, get: ConsumerGet) -> Result<(Changes, u64)> {
        match self.call(Request::Read(Read::ConsumerGet(get))).await? {
            Reply::Consumed { changes, position } => Ok((changes, position)),
            other => Err(unexpected(&other)),
        }
    }

    /// Moves the position of a consumer on, which makes it when it is not there. Answers the position: it never goes back.
    /// Who follows as a consumer uses [`Subscription::commit`].
    ///
    /// # Errors
    /// `future` beyond the head of the stream, `consumer_busy` while a session follows under the name.
    async fn consumer_commit(&self, name: &str, seq: u64) -> Result<u64> {
        let commit = ConsumerCommit { name: name.to_owned(), seq, holder: None };
        self.call(Request::Write(WriteOperation::ConsumerCommit(commit).into())).await?.into_position()
    }

    /// How far a consumer is and who follows as it, with the head of the stream; none when there is no such consumer.
    async fn consumer_status(&self, name: &str) -> Result<(u64, Option<Consumer>)> {
        match self.call(Request::Read(Read::ConsumerStatus { name: name.to_owned() })).await? {
            Reply::Consumer { seq, consumer } => Ok((seq, consumer)),
            other => Err(unexpected(&other)),
        }
    }

    /// Forgets a consumer, and answers whether there was one.
    ///
    /// # Errors
    /// `consumer_busy` while a session follows under the name.
    async fn consumer_delete(&self, name: &str) -> Result<bool> {
        let delete = WriteOperation::ConsumerDelete { name: name.to_owned() };
        match self.call(Request::Write(delete.into())).await? {
            Reply::Forgotten { deleted } => Ok(deleted),
            other => Err(unexpected(&other)),
        }
    }

    /// One page of the consumers, by name. Its `next` is the `after` of the next page.
    async fn consumers(&self, list: NameList) -> Result<Page<Consumer>> {
        match self.call(Request::Read(Read::ConsumerList(list))).await? {
            Reply::Consumers(page) => Ok(page),
            other => Err(unexpected(&other)),
        }
    }

    /// Gives what is free in the files of the store, as after a trim, back to the file system, and answers how large it was
    /// and is. Reads go on meanwhile; writes wait.
    ///
    /// # Errors
    /// `store_full` without room for a copy of the store, `busy` while another process writes: then nothing was changed.
    async fn compact(&self) -> Result<Compacted> {
        match self.call(Request::Compact).await? {
            Reply::Compacted(compacted) => Ok(compacted),
            other => Err(unexpected(&other)),
        }
    }

    /// Puts a store that was staged by [`maintenance::stage`] in the place of this one, which is kept in a file beside it.
    /// What is under way is finished first; whoever follows the stream is told `epoch_changed`. Calling it again with the
    /// same epoch changes nothing.
    ///
    /// # Errors
    /// `busy` while another process uses the store: then nothing was changed.
    async fn restore(&self, epoch: &str) -> Result<Restored> {
        match self.call(Request::Restore { epoch: epoch.to_owned() }).await? {
            Reply::Restored(restored) => Ok(restored),
            other => Err(unexpected(&other)),
        }
    }

    /// Which store this is.
    async fn identity(&self) -> Result<Identity> {
        match self.call(Request::Read(Read::Identity)).await? {
            Reply::Identity(identity) => Ok(identity),
            other => Err(unexpected(&other)),
        }
    }
}
