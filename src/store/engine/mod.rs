//! What a kind of database must be able to do: read rows, apply a plan, answer pages. No rule of the store stands
//! here or below.

mod damage;
pub(crate) mod migrations;
pub(crate) mod page;
pub(crate) mod sqlite;

use std::collections::HashMap;

use async_trait::async_trait;

use self::page::{Bounds, ListQuery, StreamQuery};
use super::error::Result;
use super::plan::{ConsumerRow, LockRow, Outcome};
use super::record::{Change, Record};
use super::reply::{Compacted, Identity, Restored};
use super::request::Write;

/// A database that holds one store.
#[async_trait]
pub(crate) trait Engine: Send + Sync {
    /// Creates the store, or brings its schema up to date; answers whether it was created.
    async fn init(&self) -> Result<bool>;

    /// Decides and commits a batch. Its future must be polled to the end: a transaction is open in between.
    async fn write(&self, batch: &[Write]) -> Committed;

    /// Removes a part of what was trimmed, and answers whether something is left. Its future must be polled to the end.
    async fn sweep(&self) -> Result<bool>;

    /// The records of these keys in one snapshot, by key.
    async fn get(&self, keys: &[&str]) -> Result<Got>;

    /// The record of this key, whatever its size.
    async fn get_one(&self, key: &str) -> Result<(u64, Option<Record>)>;

    /// The records that fit one page, with the number of candidates that were looked at.
    async fn list(&self, query: &ListQuery) -> Result<Candidates<Record>>;

    /// The keys that fit one page.
    async fn keys(&self, query: &ListQuery) -> Result<Candidates<String>>;

    /// The head of the snapshot, and how many records lie between the bounds of the query.
    async fn count(&self, query: &ListQuery) -> Result<(u64, u64)>;

    /// The changes that fit one page, with the bounds of the stream in the same snapshot.
    async fn stream(&self, query: &StreamQuery) -> Result<(Bounds, Candidates<Change>)>;

    /// The bounds of the stream and the identity of the store.
    async fn meta(&self) -> Result<(Bounds, Identity)>;

    /// The locks between the bounds of the query that have a row, whether they expired or not, and the time by the
    /// clock that decides about that.
    async fn locks(&self, query: &ListQuery) -> Result<(i64, Candidates<(String, LockRow)>)>;

    /// The consumers between the bounds of the query, and the time by the clock that decides about their leases.
    async fn consumers(&self, query: &ListQuery) -> Result<(i64, Candidates<(String, ConsumerRow)>)>;

    /// Gives what is free in the files of the store back to the file system.
    async fn compact(&self) -> Result<Compacted>;

    /// Puts the store that was staged under this epoch in the place of the one that is there. What is under way is
    /// finished first; a repeat changes nothing.
    async fn restore(&self, epoch: &str) -> Result<Restored>;

    /// When each of these expires that has a holder, in milliseconds since 1970 UTC, and the time by the clock that decides
    /// about that.
    async fn expiries(&self, names: &[Holdable]) -> Result<(i64, HashMap<Holdable, i64>)>;

    /// Whether somebody else may have committed since the last look; true where that is not known.
    async fn look(&self) -> Result<bool>;

    /// Whether this process must not write any more; it should end, and the next one recovers the store.
    fn has_failed(&self) -> bool;

    /// What is done from time to time, whether or not anything is asked: lets go of a store that was moved away, and gives
    /// back room that is not needed any more.
    async fn tend(&self);

    /// Closes every connection.
    async fn close(&self);
}

/// What one holder at a time can have, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Holdable {
    Lock(String),
    Consumer(String),
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) struct Committed {
    /// One for each write, in order.
    pub outcomes: Vec<Outcome>,
    /// Where the store stands after it; none when nothing of it was committed.
    pub bounds: Option<Bounds>,
    /// Whether what was trimmed may still take space: see [`Engine::sweep`].
    pub has_trimmed: bool,
}

/// What [`Engine::get`] found.
#[derive(Debug)]
pub(crate) struct Got {
    /// The head of the snapshot.
    pub seq: u64,
    /// The records that exist.
    pub records: HashMap<String, Found>,
}

/// A record that exists.
#[derive(Debug)]
pub(crate) enum Found {
    /// With its value.
    Inline(Record),
    /// Its value is so large that a read of its own answers it, to bound what a batch holds in memory.
    Large,
}

/// The part of a selection that fits one page.
#[derive(Debug)]
pub(crate) struct Candidates<T> {
    /// The head of the snapshot.
    pub seq: u64,
    /// What fits, in order.
    pub fitting: Vec<T>,
    /// How many were looked at: more than fit when the page ends by its size in bytes.
    pub looked_at: u64,
}
