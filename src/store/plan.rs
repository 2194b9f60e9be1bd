//! Decides a batch: from the rows that were read and the requests in order of arrival to what is to be written and
//! what each request is told.
//!
//! No I/O, no clock, no engine: every rule about keys, versions, conditions and types stands here once, so that the
//! engines cannot differ. The effects, replies and numbers equal those of running the requests one by one.

mod records;
mod rows;

use std::collections::HashMap;

pub(crate) use rows::{Meta, Needs, Plan, Row, Rows, StreamRow};

use self::records::Slot;
use super::error::Result;
use super::request::{Mutation, Reply, Write, WriteOperation};
use crate::limits;

/// What one write is told.
pub(crate) type Outcome = Result<Reply>;

/// Decides a batch, or as much of it as the values that were loaded allow. `now_ms` is the one time of the whole batch, read after the write lock was gained.
pub(crate) fn plan(rows: Rows, requests: &[Write], now_ms: i64) -> Plan {
    let mut planner = Planner::new(rows, now_ms);
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        if !outcomes.is_empty() && !planner.can_decide(request) {
            break;
        }
        outcomes.push(planner.decide(request));
    }
    planner.finish(outcomes)
}

/// The state of the store as the requests so far have left it.
struct Planner {
    meta: Meta,
    time_ms: i64,
    records: HashMap<String, Slot>,
    stream: Vec<StreamRow>,
}

impl Planner {
    fn new(rows: Rows, now_ms: i64) -> Planner {
        Planner {
            // Times do not run backwards when the clock does, but a clock that once was far ahead must not
            // freeze them either.
            time_ms: now_ms.max(rows.meta.last_ms).min(now_ms.saturating_add(limits::CLOCK_LEAD_MS)),
            meta: rows.meta,
            records: rows.records.into_iter().map(|(key, row)| (key, Slot::stored(row))).collect(),
            stream: Vec::new(),
        }
    }

    fn can_decide(&self, request: &Write) -> bool {
        match &request.operation {
            WriteOperation::Apply(Mutation::Patch(patch)) => self.is_loaded(&patch.key),
            WriteOperation::Apply(Mutation::Put(_) | Mutation::Delete(_)) => true,
        }
    }

    fn decide(&mut self, request: &Write) -> Outcome {
        let first = self.stream.len();
        let outcome = match &request.operation {
            WriteOperation::Apply(mutation) => self.apply(mutation),
        };
        // A request that failed has appended nothing.
        if let Some(last) = self.stream[first..].last_mut() {
            last.tx_end = true;
        }
        outcome
    }

    fn apply(&mut self, mutation: &Mutation) -> Outcome {
        let tx = self.meta.head + 1;
        match mutation {
            Mutation::Put(put) => self.put(put, tx).map(Reply::Written),
            Mutation::Patch(patch) => self.patch(patch, tx).map(Reply::Written),
            Mutation::Delete(delete) => self.delete(delete, tx).map(Reply::Deleted),
        }
    }

    fn finish(mut self, outcomes: Vec<Outcome>) -> Plan {
        if !self.stream.is_empty() {
            self.meta.last_ms = self.time_ms;
        }
        let mut puts = Vec::new();
        let mut deletes = Vec::new();
        for (key, slot) in self.records {
            match slot.present {
                Some(row) if slot.changed => puts.push((key, row)),
                None if slot.changed && slot.was_stored => deletes.push(key),
                _ => {}
            }
        }
        Plan { outcomes, puts, deletes, stream: self.stream, meta: self.meta }
    }
}
