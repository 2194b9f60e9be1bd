//! Decides a batch: from the rows that were read and the requests in order of arrival to what is to be written and
//! what each request is told.
//!
//! No I/O, no clock, no engine: every rule about keys, versions, conditions, types, locks and fences stands here
//! once, so that the engines cannot differ. The effects, replies and numbers equal those of running the requests one
//! by one.

mod consumers;
mod expiry;
mod import;
mod increment;
mod locks;
mod mutate;
mod needs;
mod once;
mod ranges;
mod records;
mod rows;
mod table;

pub(crate) use consumers::{filter_of, first_position};
pub(crate) use expiry::is_over;
pub(crate) use needs::{LoadedRange, Needs};
pub(crate) use ranges::{Counted, CountedRange, Progress};
pub(crate) use rows::{ConsumerRow, Lease, LockRow, Meta, OnceRow, Plan, RangeDelete, Row, Rows, StreamRow};

use self::expiry::Expired;
use self::mutate::Undo;
use self::table::Table;
use std::time::Duration;

use super::error::Result;
use super::reply::{MutationResult, Reply};
use super::request::{Mutation, Retention, Trim, Write, WriteOperation};
use super::time::whole_ms;
use crate::limits;

/// What one write is told.
pub(crate) type Outcome = Result<Reply>;

/// Decides the requests that [`Needs`] covers, or as many of them as the values that were loaded, those that are written
/// and the work of the patches allow. `progress` is that of the first one, when it is a delete that goes on. `now_ms` is the
/// one time of the whole batch, read after the write lock was gained.
pub(crate) fn plan(mut rows: Rows, requests: &[Write], progress: Option<Progress>, now_ms: i64) -> Plan {
    let (expired, next_expiry_ms) = (std::mem::take(&mut rows.expired), rows.next_expiry_ms);
    let mut planner = Planner { progress, ..Planner::new(rows, now_ms) };
    planner.remove_expired(expired, next_expiry_ms);
    let mut outcomes = Vec::with_capacity(requests.len());
    for request in requests {
        let is_full =
            planner.written_bytes > limits::BATCH_WRITTEN_BYTES || planner.work > limits::BATCH_WORK;
        if !outcomes.is_empty() && (is_full || !planner.can_decide(request)) {
            break;
        }
        outcomes.push(planner.decide(request));
    }
    planner.finish(outcomes)
}

/// The state of the store as the requests so far have left it.
struct Planner {
    meta_before: Meta,
    meta: Meta,
    now_ms: i64,
    time_ms: i64,
    records: Table<Row>,
    locks: Table<LockRow>,
    consumers: Table<ConsumerRow>,
    once: Table<OnceRow>,
    stream: Vec<StreamRow>,
    /// The values in `stream`: a small patch may write a large value each time.
    written_bytes: usize,
    /// What the patches have cost.
    work: u64,
    expired: Expired,
    range_delete: Option<RangeDelete>,
    retention: Option<Retention>,
    ranged: u64,
    counted: Counted,
    /// How far the delete that is decided had come before.
    progress: Option<Progress>,
    /// How far it comes, when it has not ended then.
    unfinished: Option<Progress>,
    /// While a mutate is decided.
    undo: Option<Undo>,
}

impl Planner {
    fn new(rows: Rows, now_ms: i64) -> Planner {
        // What is written can be read again, whatever the clock says.
        let now_ms = now_ms.clamp(*limits::TIME_MS.start(), *limits::TIME_MS.end());
        let mut locks = Table::stored(rows.locks);
        locks::sweep(&mut locks, rows.swept_locks, now_ms);
        Planner {
            now_ms,
            // Times do not run backwards when the clock does, but a clock that once was far ahead must not
            // freeze them either.
            time_ms: now_ms.max(rows.meta.last_ms).min(now_ms + limits::CLOCK_LEAD_MS),
            meta_before: rows.meta.clone(),
            meta: rows.meta,
            records: Table::stored(rows.records),
            locks,
            consumers: Table::stored(rows.consumers),
            once: Table::stored(rows.once),
            stream: Vec::new(),
            written_bytes: 0,
            work: 0,
            expired: Expired::default(),
            range_delete: None,
            retention: None,
            ranged: rows.ranged,
            counted: rows.counted,
            progress: None,
            unfinished: None,
            undo: None,
        }
    }

    /// When something ends that lasts for so long from now on.
    fn expires_ms(&self, duration: Duration) -> i64 {
        self.now_ms.saturating_add_unsigned(whole_ms(duration)).min(*limits::TIME_MS.end())
    }

    /// Whether the values that a request patches, or compares with its own, are in memory. One that is first in its batch is decided in any
    /// case.
    fn can_decide(&self, request: &Write) -> bool {
        let is_loaded = |mutation: &Mutation| match mutation {
            Mutation::Patch(patch) => self.is_loaded(&patch.key),
            Mutation::Import(import) => self.is_loaded(&import.key),
            Mutation::Expire(expire) => self.is_loaded(&expire.key),
            Mutation::Increment(increment) => self.is_loaded(&increment.key),
            Mutation::Put(_) | Mutation::Delete(_) | Mutation::Check(_) => true,
        };
        match &request.operation {
            WriteOperation::Apply(mutation) => is_loaded(mutation),
            WriteOperation::Mutate(mutations) => mutations.iter().all(is_loaded),
            _ => true,
        }
    }

    fn decide(&mut self, request: &Write) -> Outcome {
        let first = self.stream.len();
        let outcome = self.check_history().and_then(|()| match &request.once {
            Some(id) => self.decide_once(id, request),
            None => self.decide_now(request),
        });
        // A request that failed has appended nothing.
        if self.stream.len() > first {
            self.end_call();
        }
        outcome
    }

    /// Makes the last change the end of its call.
    fn end_call(&mut self) {
        if let Some(last) = self.stream.last_mut() {
            last.tx_end = true;
        }
    }

    fn decide_now(&mut self, request: &Write) -> Outcome {
        if let Some(fence) = &request.fence {
            self.check_fence(fence)?;
        }
        if let Some(range) = CountedRange::of(&request.operation, self.progress.as_ref()) {
            return Ok(Reply::Deleted(self.delete_range(range)));
        }
        match &request.operation {
            WriteOperation::Apply(mutation) => self.apply(mutation, self.meta.head + 1).map(Reply::from),
            WriteOperation::Mutate(mutations) => self.mutate(mutations).map(Reply::Mutated),
            WriteOperation::Trim(trim) => Ok(Reply::Trimmed { trimmed: self.trim(*trim) }),
            WriteOperation::Retain(retention) => {
                self.retention = Some(*retention);
                Ok(Reply::Retained)
            }
            WriteOperation::LockAcquire(request) => self.acquire(request).map(Reply::Granted),
            WriteOperation::LockRelease(request) => {
                self.release(request).map(|released| Reply::Released { released })
            }
            WriteOperation::ConsumerCommit(request) => {
                self.commit(request).map(|position| Reply::Position { position })
            }
            WriteOperation::ConsumerDelete { name } => {
                self.forget(name).map(|deleted| Reply::Forgotten { deleted })
            }
            WriteOperation::ConsumerHold(request) => {
                self.hold(request).map(|(position, filter)| Reply::Held { position, filter })
            }
            WriteOperation::RemoveExpired => Ok(self.expired_removed()),
            WriteOperation::ConsumerLeave(request) => Ok(Reply::Released { released: self.leave(request) }),
        }
    }

    fn apply(&mut self, mutation: &Mutation, tx: u64) -> Result<MutationResult> {
        match mutation {
            Mutation::Put(put) => self.put(put, tx).map(MutationResult::Written),
            Mutation::Patch(patch) => self.patch(patch, tx).map(MutationResult::Written),
            Mutation::Delete(delete) => self.delete(delete, tx).map(MutationResult::Deleted),
            Mutation::Import(import) => self.import(import, tx).map(MutationResult::Imported),
            Mutation::Expire(expire) => self.expire(expire, tx).map(MutationResult::Written),
            Mutation::Increment(increment) => self.increment(increment, tx).map(MutationResult::Written),
            Mutation::Check(check) => self.check(check).map(|()| MutationResult::Checked),
        }
    }

    fn trim(&mut self, trim: Trim) -> u64 {
        let last = match trim {
            Trim::UpTo(seq) => seq.min(self.meta.head),
            Trim::All => self.meta.head,
        };
        let trimmed = (last + 1).saturating_sub(self.meta.first);
        self.meta.first += trimmed;
        trimmed
    }

    fn finish(mut self, outcomes: Vec<Outcome>) -> Plan {
        if self.meta.head != self.meta_before.head {
            self.meta.last_ms = self.time_ms;
        }
        let first = self.meta.first;
        self.stream.retain(|change| change.seq >= first);
        let once_expired_ms = self.once_expired_ms();
        let (puts, deletes) = self.records.into_changes();
        let (locks, lock_deletes) = self.locks.into_changes();
        let (consumers, consumer_deletes) = self.consumers.into_changes();
        let (once, _) = self.once.into_changes();
        Plan {
            outcomes,
            unfinished: self.unfinished,
            stream: self.stream,
            range_delete: self.range_delete,
            deletes,
            puts,
            lock_deletes,
            locks,
            consumer_deletes,
            consumers,
            once,
            once_expired_ms,
            retention: self.retention,
            first_before: self.meta_before.first,
            meta_is_same: self.meta == self.meta_before,
            meta: self.meta,
        }
    }
}
