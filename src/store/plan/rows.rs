//! What goes into a plan and what comes out of it.

use std::collections::HashMap;

use super::Outcome;
use super::ranges::{Counted, CountedRange, Progress};
use crate::limits;
use crate::store::filter::Filter;
use crate::store::json_text::JsonText;
use crate::store::record::Action;
use crate::store::request::Retention;

/// The one row of `kv_meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// Which history of the store this is.
    pub epoch: String,
    /// The last seq of the stream, 0 on a fresh store.
    pub head: u64,
    /// The first seq that is kept, or that will be.
    pub first: u64,
    /// The time of the last record, in milliseconds since 1970 UTC.
    pub last_ms: i64,
    /// The last fencing token that was given.
    pub fence: u64,
    /// Counts the grants and releases of locks.
    pub lock_seq: u64,
}

/// The rows that [`Needs`](super::Needs) asked for.
#[derive(Debug)]
pub(crate) struct Rows {
    pub meta: Meta,
    /// Those of keys and of ranges.
    pub records: HashMap<String, Row>,
    /// Records that have expired, those first that expired first, at most
    /// [`EXPIRED_PER_BATCH`](crate::limits::EXPIRED_PER_BATCH), without their values.
    pub expired: Vec<(String, Row)>,
    /// When the first one expires of those that have not, if that was asked for.
    pub next_expiry_ms: Option<i64>,
    /// How many records the ranges gave, each counted as often as it came.
    pub ranged: u64,
    /// What the delete of a range covers.
    pub counted: Counted,
    pub locks: HashMap<String, LockRow>,
    /// Locks that are only looked at to see whether they are over.
    pub swept_locks: Vec<(String, LockRow)>,
    pub consumers: HashMap<String, ConsumerRow>,
    pub once: HashMap<String, OnceRow>,
}

impl Rows {
    /// The lock behind which the next sweep begins; an empty name is before all of them.
    pub(crate) fn swept_to(&self) -> String {
        match self.swept_locks.last() {
            Some((name, _)) if self.swept_locks.len() >= limits::LOCK_SWEEP_ROWS => name.clone(),
            _ => String::new(),
        }
    }
}

/// A row of `kv_record` without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub version: u64,
    pub revision: u64,
    pub record_type: Option<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
    /// The record is gone from this time on; none = it stays.
    pub expires_ms: Option<i64>,
    /// None: the value stands in the database as it was before this batch and was not loaded.
    pub value: Option<JsonText>,
}

impl Row {
    /// The text of the value, when it is in memory.
    pub(crate) fn value_text(&self) -> Option<&str> {
        self.value.as_ref().map(JsonText::get)
    }
}

/// A row of `kv_lock` without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LockRow {
    pub owner: String,
    pub fence: u64,
    /// How often this grant was refreshed.
    pub refreshes: u64,
    pub expires_ms: i64,
}

/// A row of `kv_consumer` without its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ConsumerRow {
    pub position: u64,
    /// The filter that is kept; none where nobody has told it yet: the consumer was made by a commit without one, or by an older
    /// version of kv.
    pub filter: Option<Filter>,
    /// Who follows the stream under the name, or did until it expired.
    pub lease: Option<Lease>,
}

/// The hold of a session on a consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub holder: String,
    pub expires_ms: i64,
}

/// A row of `kv_once` without its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnceRow {
    /// Tells a repeat from another request.
    pub request: String,
    /// What the request was told.
    pub outcome: String,
    pub time_ms: i64,
}

/// A row of `kv_stream`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StreamRow {
    pub seq: u64,
    pub tx: u64,
    pub tx_end: bool,
    pub action: Action,
    pub time_ms: i64,
    pub key: String,
    /// Its value is None where the engine copies it from `kv_record`, as it was before this batch.
    pub row: Row,
}

/// A delete of records that were not loaded: they are numbered in key order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RangeDelete {
    pub range: CountedRange,
    pub deleted: u64,
    /// Records whose time is over by then are left, as they were not counted.
    pub now_ms: i64,
    /// The seq of the first one, which is the `tx` of all of them.
    pub first_seq: u64,
    pub time_ms: i64,
}

/// What a batch does. The engine does it in the order of the members.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One for each request that was decided, in order. The first one always is; those that are not come again in
    /// the next batch.
    pub outcomes: Vec<Outcome>,
    /// How far the delete of a range has come that is the only request and needs more slices: then the outcome is not the
    /// last one.
    pub unfinished: Option<Progress>,
    /// To append to `kv_stream`, before `kv_record` changes.
    pub stream: Vec<StreamRow>,
    /// To append to `kv_stream` and to remove from `kv_record`; alone in its batch.
    pub range_delete: Option<RangeDelete>,
    /// Keys to remove from `kv_record`.
    pub deletes: Vec<String>,
    /// Rows of `kv_record` to insert or replace. Each has a value.
    pub puts: Vec<(String, Row)>,
    /// Rows of `kv_lock` to remove, and to insert or replace.
    pub lock_deletes: Vec<String>,
    pub locks: Vec<(String, LockRow)>,
    /// Rows of `kv_consumer` to remove, and to insert or replace.
    pub consumer_deletes: Vec<String>,
    pub consumers: Vec<(String, ConsumerRow)>,
    /// Rows of `kv_once` to insert or replace, after some of those of this time and before are removed.
    pub once: Vec<(String, OnceRow)>,
    pub once_expired_ms: i64,
    /// What `kv_meta` says from now on about how much of the stream is kept; none = as before.
    pub retention: Option<Retention>,
    /// What `kv_meta.first` was before. The part of `kv_stream` before `meta.first` is trimmed from now on; the engine
    /// removes it in its own time.
    pub first_before: u64,
    /// What `kv_meta` holds afterwards.
    pub meta: Meta,
    /// Whether that is what it held before.
    pub meta_is_same: bool,
}

impl Plan {
    /// Whether something is trimmed.
    pub(crate) fn trims(&self) -> bool {
        self.meta.first != self.first_before
    }

    /// Whether records are removed.
    pub(crate) fn deletes_records(&self) -> bool {
        !self.deletes.is_empty() || self.range_delete.is_some()
    }

    /// About how many bytes records and the stream grow by at most.
    pub(crate) fn grown_bytes(&self) -> u64 {
        let value_bytes = |row: &Row| row.value_text().map_or(0, str::len);
        let stream = self.stream.iter().map(|change| change.key.len() + value_bytes(&change.row));
        let records = self.puts.iter().map(|(key, row)| key.len() + value_bytes(row));
        stream.chain(records).sum::<usize>() as u64
    }

    /// Whether nothing needs to be written. What changes records, the stream or the holder of a lock changes
    /// `kv_meta` too.
    pub(crate) fn is_empty(&self) -> bool {
        let Plan { locks, consumers, consumer_deletes, once, retention, .. } = self;
        self.meta_is_same
            && retention.is_none()
            && (locks.is_empty() && consumers.is_empty() && consumer_deletes.is_empty() && once.is_empty())
    }
}
