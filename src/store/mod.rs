//! The store: what a program can use alone, without a daemon.
//!
//! [`Store`] is the contract. [`LocalStore`] keeps it on a database of this process, [`Client`](crate::Client)
//! through a daemon.
//!
//! - `batcher`: gathers the requests that wait into one batch
//! - `plan`: decides a batch, without I/O: every rule of the store stands there once
//! - `engine`: reads rows and applies a plan; one file for each kind of database
//! - [`request`], [`record`], [`keys`], [`json_text`], [`time`], [`error`]: the words of the contract

pub(crate) mod batcher;
pub(crate) mod engine;
pub mod error;
pub mod json_patch;
pub mod json_text;
pub mod keys;
mod local;
pub mod merge_patch;
mod open;
pub(crate) mod plan;
pub mod record;
pub mod request;
pub mod time;

use async_trait::async_trait;

pub use error::{Code, Details, Error, Result};
pub use json_text::JsonText;
pub use local::LocalStore;
pub use open::{Address, EngineKind};
pub use record::{Action, Change, Record};
pub use request::{
    Changes, Condition, Delete, Deleted, Identity, List, Mutation, Page, Patch, PatchFormat, Put, Read,
    Reply, Request, Selector, Stream, TypeChange, Write, WriteOperation, Written,
};
pub use time::{Clock, ManualClock, Timestamp};

/// A key-value store with versions, conditions and a stream of its changes.
///
/// Every call takes effect at one instant between its start and its answer, also when other processes and hosts
/// use the same store. A write that returns an error was not applied, unless [`Error::maybe`] is set.
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
        match self.call(Request::Write(WriteOperation::Apply(Mutation::Put(put)).into())).await? {
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
        match self.call(Request::Write(WriteOperation::Apply(Mutation::Patch(patch)).into())).await? {
            Reply::Written(written) => Ok(written),
            other => Err(unexpected(&other)),
        }
    }

    /// Removes records and answers how many were there.
    ///
    /// # Errors
    /// `version_mismatch` when the condition does not hold.
    async fn delete(&self, delete: Delete) -> Result<Deleted> {
        match self.call(Request::Write(WriteOperation::Apply(Mutation::Delete(delete)).into())).await? {
            Reply::Deleted(deleted) => Ok(deleted),
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

    /// Which store this is.
    async fn identity(&self) -> Result<Identity> {
        match self.call(Request::Read(Read::Identity)).await? {
            Reply::Identity(identity) => Ok(identity),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(reply: &Reply) -> Error {
    Error::new(Code::Internal, format!("the store answered something else: {reply:?}"))
}
