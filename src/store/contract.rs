//! The contract of a store: one `call`, and everything else is built on it.

use std::time::Duration;

use async_trait::async_trait;

use super::error::{Code, Error, Result};
use super::record::{Change, Record};
use super::reply::{
    Changes, Compacted, Consumer, Deleted, Grant, Identity, Imported, Lock, MutationResult, Page, Reply,
    Restored, Written, answer,
};
use super::request::{
    ConsumerCommit, ConsumerGet, Delete, Expire, Import, Increment, List, LockAcquire, LockRelease, Mutation,
    NameList, Patch, Put, Read, Request, Retention, Selector, Stream, Trim, WriteOperation,
};
use super::subscription::{Subscribe, Subscription};

/// A key-value store with versions, conditions and a stream of its changes.
///
/// Every call takes effect at one instant between its start and its answer, also when other processes and hosts
/// use the same store; only the [`Delete`] of a large range takes several. A write that returns an error was not applied, unless [`Error::maybe`] is set.
///
/// Three methods must be implemented: [`call`](Store::call), [`subscribe`](Store::subscribe) and
/// [`lock_acquire_within`](Store::lock_acquire_within). The others are built on `call`: they fail with its errors and, where
/// they say so, with some of their own.
#[async_trait]
pub trait Store: Send + Sync {
    /// Runs one request. Requests of concurrent callers are committed together.
    ///
    /// # Errors
    /// - `bad_request`, `too_large`: no store could answer the request; [`Request::check`] refuses it.
    /// - `not_initialized`: [`init`](Store::init) has not been called, or an older version of kv made the store.
    /// - `unavailable`: the database or the daemon cannot be reached, is closing, or the store is damaged.
    /// - `busy`: other processes kept the store for too long.
    /// - `read_only`, `store_full`: the store cannot be written to.
    /// - `unsupported`: this version of kv, or this kind of database, cannot do it.
    /// - `fenced`: the [`Fence`](super::Fence) of a write is no longer that of its lock.
    /// - `too_many_connections`, `timeout`: from a [`Client`](crate::Client), when the daemon takes no further connection or
    ///   does not answer in time.
    /// - `internal`: a rule inside kv is broken.
    /// - Those of the method for this operation, which are listed there.
    async fn call(&self, request: Request) -> Result<Reply>;

    /// Follows the stream: the changes that it has, then those that are committed, in order and without a gap.
    ///
    /// A subscription that starts after the `seq` of a listing keeps a mirror of it up to date: no change is missing.
    ///
    /// # Errors
    /// `trimmed` when the stream begins later than `start`, `future` when it ends before it, `epoch_changed` when `epoch` is
    /// not that of the store, `consumer_busy` while another session follows as the consumer; otherwise those of
    /// [`call`](Store::call).
    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription>;

    /// Creates the store, or brings its schema up to date. Answers whether it was created. It may be called again, also by
    /// several processes at once.
    ///
    /// # Errors
    /// `unsupported` when the database is not one of kv or was made by a newer version, `read_only` when its place cannot be
    /// written to; otherwise those of [`call`](Store::call).
    async fn init(&self) -> Result<bool> {
        answer!(self.call(Request::Init).await?, Reply::Init { created } => created)
    }

    /// The record of this key; none when there is none.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn get(&self, key: &str) -> Result<Option<Record>> {
        let reply = self.call(Read::Get { key: key.to_owned() }.into()).await?;
        answer!(reply, Reply::Get { record, .. } => record)
    }

    /// The records of these keys (at most 1,000), in the order of the keys; missing ones are left out.
    ///
    /// # Errors
    /// `too_large` for more than 1,000 keys; otherwise those of [`call`](Store::call).
    async fn get_batch(&self, keys: &[&str]) -> Result<Vec<Record>> {
        let mut wanted: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let mut records = Vec::new();
        loop {
            let reply = self.call(Read::GetBatch { keys: wanted.clone() }.into()).await?;
            let page: Page<Record> = reply.try_into()?;
            records.extend(page.items);
            let Some(next) = page.next else { return Ok(records) };
            match wanted.iter().position(|key| *key == next) {
                Some(position) if position > 0 => wanted.drain(..position),
                _ => return Err(Error::new(Code::Internal, "a page of get_batch went nowhere")),
            };
        }
    }

    /// One page of a listing: at most 1,000 records and about 1 MiB. Its `next` is the `after` of the next page.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn page(&self, list: List) -> Result<Page<Record>> {
        self.call(Read::List(List { keys_only: false, ..list }).into()).await?.try_into()
    }

    /// One page of the keys of a listing: at most 1,000 keys. Its `next` is the `after` of the next page.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn keys(&self, list: List) -> Result<Page<String>> {
        let reply = self.call(Read::List(List { keys_only: true, ..list }).into()).await?;
        answer!(reply, Reply::Keys(page) => page)
    }

    /// All records of a listing up to its limit, page by page: each page is one instant of the store, the whole is
    /// not.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn records(&self, list: List) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        let mut request = Some(list);
        while let Some(list) = request {
            let page = self.page(list.clone()).await?;
            request = list.after_page(&page);
            records.extend(page.items);
        }
        Ok(records)
    }

    /// At most `limit` records in key order, after the first `offset` ones.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn list(&self, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        self.records(List { offset, limit, ..List::default() }).await
    }

    /// The records whose key starts with the prefix, in key order: at most `limit`, after the first `offset` ones.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn get_prefix(&self, prefix: &str, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        let selector = Selector::Prefix(prefix.to_owned());
        self.records(List { selector, offset, limit, ..List::default() }).await
    }

    /// The records with `from <= key < to`, in key order: at most `limit`, after the first `offset` ones.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn get_range(&self, from: &str, to: &str, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        let selector = Selector::Range { from: from.to_owned(), to: to.to_owned() };
        self.records(List { selector, offset, limit, ..List::default() }).await
    }

    /// The records of this type, in key order: at most `limit`, after the first `offset` ones.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn get_type(&self, record_type: &str, offset: u64, limit: Option<u64>) -> Result<Vec<Record>> {
        let selector = Selector::Type(record_type.to_owned());
        self.records(List { selector, offset, limit, ..List::default() }).await
    }

    /// How many records a selection has.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn count_of(&self, selector: Selector) -> Result<u64> {
        answer!(self.call(Read::Count(selector).into()).await?, Reply::Count { count, .. } => count)
    }

    /// How many records there are.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn count(&self) -> Result<u64> {
        self.count_of(Selector::All).await
    }

    /// How many keys start with the prefix.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn count_prefix(&self, prefix: &str) -> Result<u64> {
        self.count_of(Selector::Prefix(prefix.to_owned())).await
    }

    /// How many keys have `from <= key < to`.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn count_range(&self, from: &str, to: &str) -> Result<u64> {
        self.count_of(Selector::Range { from: from.to_owned(), to: to.to_owned() }).await
    }

    /// Stores a value.
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold.
    async fn put(&self, put: Put) -> Result<Written> {
        answer!(self.call(Mutation::Put(put).into()).await?, Reply::Written(written) => written)
    }

    /// Changes a part of a value.
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold, `too_large` when the new value would be; for a JSON Patch
    /// `not_found` when the key is absent and `patch_failed` when one of its operations fails.
    async fn patch(&self, patch: Patch) -> Result<Written> {
        answer!(self.call(Mutation::Patch(patch).into()).await?, Reply::Written(written) => written)
    }

    /// Stores a record as it was in another store.
    ///
    /// # Errors
    /// `version_mismatch` when another record is there, unless the import says what happens then.
    async fn import(&self, import: Import) -> Result<Imported> {
        answer!(self.call(Mutation::Import(import).into()).await?, Reply::Imported(imported) => imported)
    }

    /// Sets or removes the expiry of a record.
    ///
    /// # Errors
    /// `not_found` when the key is absent, `version_mismatch` when the condition does not hold.
    async fn expire(&self, expire: Expire) -> Result<Written> {
        answer!(self.call(Mutation::Expire(expire).into()).await?, Reply::Written(written) => written)
    }

    /// Adds to the number under a key, and answers the sum as its new value.
    ///
    /// # Errors
    /// `patch_failed` when the value is not a number, `too_large` when the sum would have too many characters,
    /// `version_mismatch` when the condition does not hold.
    async fn increment(&self, increment: Increment) -> Result<Written> {
        answer!(self.call(Mutation::Increment(increment).into()).await?, Reply::Written(written) => written)
    }

    /// Removes records and answers how many were there. A large range is removed in several transactions: see [`Delete`].
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold. Any error with `maybe` when a part of a large range is removed.
    async fn delete(&self, delete: Delete) -> Result<Deleted> {
        answer!(self.call(Mutation::Delete(delete).into()).await?, Reply::Deleted(deleted) => deleted)
    }

    /// Removes the records whose key starts with the prefix, in key order, and answers how many: at most `limit`, after the
    /// first `offset` ones. Many records are removed in several transactions: see [`Delete`].
    ///
    /// # Errors
    /// `bad_request` when the prefix is empty: [`Delete::all`] says that every record is meant.
    async fn delete_prefix(&self, prefix: &str, offset: u64, limit: Option<u64>) -> Result<u64> {
        let delete = Delete { offset, limit, ..Delete::prefix(prefix) };
        self.delete(delete).await.map(|deleted| deleted.deleted)
    }

    /// Removes the records with `from <= key < to`, in key order, and answers how many: at most `limit`, after the first
    /// `offset` ones. Many records are removed in several transactions: see [`Delete`].
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn delete_range(&self, from: &str, to: &str, offset: u64, limit: Option<u64>) -> Result<u64> {
        let delete = Delete { offset, limit, ..Delete::range(from, to) };
        self.delete(delete).await.map(|deleted| deleted.deleted)
    }

    /// Runs mutations (at most 1,000) in order, all or none; each sees the effects of those before it. Answers one result
    /// for each.
    ///
    /// # Errors
    /// That of the first mutation that fails, with its position in [`Details::index`](super::Details::index). `too_large` when its deletes of
    /// prefixes and ranges cover more than 10,000 records together, or its patches change values of more than 32 MiB.
    async fn mutate_all(&self, mutations: Vec<Mutation>) -> Result<Vec<MutationResult>> {
        let reply = self.call(WriteOperation::Mutate(mutations).into()).await?;
        answer!(reply, Reply::Mutated(results) => results)
    }

    /// One page of the stream: at most 1,000 changes and about 1 MiB.
    ///
    /// # Errors
    /// `trimmed` when `seq` > 0 lies before the first change that is kept.
    async fn changes(&self, stream: Stream) -> Result<Changes> {
        answer!(self.call(Read::Stream(stream).into()).await?, Reply::Changes(changes) => changes)
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
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn stream_seq(&self) -> Result<u64> {
        answer!(self.call(Read::StreamSeq.into()).await?, Reply::Head { seq, .. } => seq)
    }

    /// Says how much of the stream is kept from now on. The processes that write to the store apply it, some seconds later.
    ///
    /// # Errors
    /// `bad_request` for an age of 0 or of more than 100 years.
    async fn stream_retain(&self, retention: Retention) -> Result<()> {
        answer!(self.call(WriteOperation::Retain(retention).into()).await?, Reply::Retained => ())
    }

    /// How much of the stream is kept.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn stream_retention(&self) -> Result<Retention> {
        answer!(self.call(Read::Retention.into()).await?, Reply::Retention { retention, .. } => retention)
    }

    /// Removes the oldest part of the stream and answers how many changes that were. Their numbers are never used again.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn stream_trim(&self, trim: Trim) -> Result<u64> {
        answer!(self.call(WriteOperation::Trim(trim).into()).await?, Reply::Trimmed { trimmed } => trimmed)
    }

    /// Acquires a lock for between 1 ms and 100 years. When its owner acquires it again, it is refreshed: it keeps its fence
    /// and never expires earlier. Writes that carry the fence (see [`Guarded`](super::Guarded)) are refused after another owner has acquired
    /// the lock.
    ///
    /// # Errors
    /// `locked` while another owner holds it, with the holder and the expiry. When the outcome is unknown
    /// ([`Error::maybe`]), regard the lock as not held; to find out, acquire it again as the same owner.
    async fn lock_acquire(&self, name: &str, owner: &str, duration: Duration) -> Result<Grant> {
        let acquire = LockAcquire::new(name, owner, duration);
        self.call(WriteOperation::LockAcquire(acquire).into()).await?.try_into()
    }

    /// Refreshes the grant of a lock that has this fence, for between 1 ms and 100 years. It may have expired, for up to a
    /// day: as long as no other owner has acquired the lock since and it was not released, its owner keeps the same fence.
    ///
    /// # Errors
    /// `not_owner` when another grant was made or the lock was released; then nothing is granted, and the same call will fail
    /// again.
    async fn lock_refresh(&self, name: &str, owner: &str, fence: u64, duration: Duration) -> Result<Grant> {
        let acquire = LockAcquire::new(name, owner, duration).refresh(fence);
        self.call(WriteOperation::LockAcquire(acquire).into()).await?.try_into()
    }

    /// Acquires a lock as soon as it is free, waiting at most `wait` for that. Requests that wait through one daemon get the
    /// lock in the order in which they came. When the future is dropped, the lock is not kept.
    ///
    /// # Errors
    /// `locked` when another owner still holds it after that time; otherwise as [`lock_acquire`](Store::lock_acquire). A
    /// request with a `fence` does not wait: it is answered at once, as [`lock_refresh`](Store::lock_refresh) is.
    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant>;

    /// Releases a lock and answers whether it was held: false when it was free.
    ///
    /// # Errors
    /// `not_owner` while another owner holds it.
    async fn lock_release(&self, name: &str, owner: &str) -> Result<bool> {
        let release = LockRelease::new(name, owner);
        let reply = self.call(WriteOperation::LockRelease(release).into()).await?;
        answer!(reply, Reply::Released { released } => released)
    }

    /// The present grant of a lock; none when it is free or has expired.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn lock_status(&self, name: &str) -> Result<Option<Lock>> {
        let reply = self.call(Read::LockStatus { name: name.to_owned() }.into()).await?;
        answer!(reply, Reply::Lock { lock, .. } => lock)
    }

    /// One page of the locks that are held, by name. Its `next` is the `after` of the next page.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn locks(&self, list: NameList) -> Result<Page<Lock>> {
        answer!(self.call(Read::LockList(list).into()).await?, Reply::Locks(page) => page)
    }

    /// The locks that are held and whose name starts with the prefix, by name.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn lock_list(&self, prefix: &str) -> Result<Vec<Lock>> {
        let mut list = NameList::prefix(prefix);
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

    /// One page of the changes after the position of a consumer, and that position. A consumer that does not exist yet begins
    /// with the first change that is kept, unless the request says where; its first commit creates it.
    ///
    /// # Errors
    /// `trimmed` when changes after the position were trimmed.
    async fn consumer_get(&self, get: ConsumerGet) -> Result<(Changes, u64)> {
        let reply = self.call(Read::ConsumerGet(get).into()).await?;
        answer!(reply, Reply::Consumed { changes, position } => (changes, position))
    }

    /// Advances the position of a consumer to `seq`, and creates the consumer when it does not exist. Answers the position,
    /// which never goes back. A subscription that follows as the consumer uses [`Subscription::commit`] instead.
    ///
    /// # Errors
    /// `future` beyond the head of the stream, `consumer_busy` while a session follows under the name.
    async fn consumer_commit(&self, name: &str, seq: u64) -> Result<u64> {
        let commit = ConsumerCommit { name: name.to_owned(), seq, ..ConsumerCommit::default() };
        self.call(WriteOperation::ConsumerCommit(commit).into()).await?.into_position()
    }

    /// The head of the stream, and the position and the present session of a consumer; none when there is no such consumer.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn consumer_status(&self, name: &str) -> Result<(u64, Option<Consumer>)> {
        let reply = self.call(Read::ConsumerStatus { name: name.to_owned() }.into()).await?;
        answer!(reply, Reply::Consumer { seq, consumer } => (seq, consumer))
    }

    /// Removes a consumer, and answers whether there was one.
    ///
    /// # Errors
    /// `consumer_busy` while a session follows under the name.
    async fn consumer_delete(&self, name: &str) -> Result<bool> {
        let delete = WriteOperation::ConsumerDelete { name: name.to_owned() };
        answer!(self.call(delete.into()).await?, Reply::Forgotten { deleted } => deleted)
    }

    /// One page of the consumers, by name. Its `next` is the `after` of the next page.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn consumers(&self, list: NameList) -> Result<Page<Consumer>> {
        answer!(self.call(Read::ConsumerList(list).into()).await?, Reply::Consumers(page) => page)
    }

    /// Returns the free space in the files of the store, as a trim leaves it, to the file system. Answers their size before
    /// and after. Reads go on meanwhile; writes wait.
    ///
    /// # Errors
    /// `store_full` without room for a copy of the store, `busy` while another process writes, `unsupported` for a memory
    /// store and on PostgreSQL: then nothing was changed.
    async fn compact(&self) -> Result<Compacted> {
        answer!(self.call(Request::Compact).await?, Reply::Compacted(compacted) => compacted)
    }

    /// Puts the store that [`maintenance::stage`](super::maintenance::stage) has prepared under this epoch in the place of this one, which is kept in a
    /// file beside it. Requests under way are finished first; subscriptions end with `epoch_changed`. Calling it again with
    /// the same epoch changes nothing.
    ///
    /// # Errors
    /// `busy` while another process uses the store, `unavailable` when nothing was staged under this epoch, `unsupported` for
    /// a memory store and on PostgreSQL: then nothing was changed.
    async fn restore(&self, epoch: &str) -> Result<Restored> {
        let reply = self.call(Request::Restore { epoch: epoch.to_owned() }).await?;
        answer!(reply, Reply::Restored(restored) => restored)
    }

    /// The ids of this store and of its history.
    ///
    /// # Errors
    /// Those of [`call`](Store::call).
    async fn identity(&self) -> Result<Identity> {
        answer!(self.call(Read::Identity.into()).await?, Reply::Identity(identity) => identity)
    }
}
