//! What goes into a plan and what comes out of it.

use std::collections::{HashMap, HashSet};

use super::Outcome;
use crate::store::json_text::JsonText;
use crate::store::record::Action;
use crate::store::request::{Mutation, Write, WriteOperation};

/// The one row of `kv_meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The last seq of the stream, 0 on a fresh store.
    pub head: u64,
    /// The first seq that is kept, or that will be.
    pub first: u64,
    /// The time of the last record, in milliseconds since 1970 UTC.
    pub last_ms: i64,
}

/// What a batch must know before it can be decided.
#[derive(Debug, Default)]
pub(crate) struct Needs<'a> {
    /// The records of these keys.
    pub keys: Vec<&'a str>,
    /// The keys whose values are needed too, in order of arrival: as many as fit
    /// [`BATCH_LOADED_BYTES`](crate::limits::BATCH_LOADED_BYTES), and at least the first one that exists.
    pub values: Vec<&'a str>,
}

impl<'a> Needs<'a> {
    /// What these requests touch.
    pub(crate) fn of(requests: &'a [Write]) -> Needs<'a> {
        let mut keys = HashSet::new();
        let mut values = Vec::new();
        for request in requests {
            match &request.operation {
                WriteOperation::Apply(Mutation::Put(put)) => {
                    keys.insert(put.key.as_str());
                }
                WriteOperation::Apply(Mutation::Patch(patch)) => {
                    keys.insert(patch.key.as_str());
                    values.push(patch.key.as_str());
                }
                WriteOperation::Apply(Mutation::Delete(delete)) => {
                    keys.extend(delete.keys.iter().map(String::as_str));
                }
            }
        }
        Needs { keys: keys.into_iter().collect(), values }
    }
}

/// The rows that [`Needs`] asked for.
#[derive(Debug)]
pub(crate) struct Rows {
    pub meta: Meta,
    pub records: HashMap<String, Row>,
}

/// A row of `kv_record` without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub version: u64,
    pub revision: u64,
    pub record_type: Option<String>,
    pub created_ms: i64,
    pub updated_ms: i64,
    /// None: the value stands in the database as it was before this batch and was not loaded.
    pub value: Option<JsonText>,
}

impl Row {
    /// The text of the value, when it is in memory.
    pub(crate) fn value_text(&self) -> Option<&str> {
        self.value.as_ref().map(JsonText::get)
    }
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

/// What a batch does.
#[derive(Debug)]
pub(crate) struct Plan {
    /// One for each request that was decided, in order. The first one always is; those that are not come again in
    /// the next batch.
    pub outcomes: Vec<Outcome>,
    /// Rows of `kv_record` to insert or replace. Each has a value.
    pub puts: Vec<(String, Row)>,
    /// Keys to remove from `kv_record`.
    pub deletes: Vec<String>,
    /// To append to `kv_stream`, before `kv_record` changes.
    pub stream: Vec<StreamRow>,
    /// What `kv_meta` holds afterwards.
    pub meta: Meta,
}

impl Plan {
    /// Whether nothing needs to be written.
    pub(crate) fn is_empty(&self) -> bool {
        self.stream.is_empty()
    }
}
