//! What a batch must know before it can be decided.

use super::ranges::{CountedRange, Progress};
use crate::limits;
use crate::store::keys::KeyRange;
use crate::store::request::{Delete, Mutation, Target, Write, WriteOperation};

/// What a batch must know before it can be decided.
#[derive(Debug, Default)]
pub(crate) struct Needs<'a> {
    /// So many requests, from the first on, are decided together; the rest comes after them.
    pub requests: usize,
    /// The records of these keys, each once and in order, because neighbours share pages of the database.
    pub keys: Vec<&'a str>,
    /// The keys whose values are needed too, in order of arrival: as many as fit
    /// [`BATCH_LOADED_BYTES`](crate::limits::BATCH_LOADED_BYTES), and at least the first one that exists.
    pub values: Vec<&'a str>,
    /// The records of these ranges without their values, in key order, at most
    /// [`MUTATE_LOADED_RECORDS`](crate::limits::MUTATE_LOADED_RECORDS) and one more in all.
    pub ranges: Vec<LoadedRange>,
    /// How many records this covers, not how many exist beyond its limit; and where its first slice ends.
    pub counted: Option<CountedRange>,
    /// These locks.
    pub locks: Vec<&'a str>,
    /// The next [`LOCK_SWEEP_ROWS`](crate::limits::LOCK_SWEEP_ROWS) locks behind the last ones that were looked at, to
    /// remove those that are over. A batch that acquires a lock does so: where rows are added, rows are removed.
    pub sweeps_locks: bool,
    /// When the next record expires. Only who waits for that asks.
    pub next_expiry: bool,
    /// These consumers.
    pub consumers: Vec<&'a str>,
    /// The outcomes that are kept under these ids.
    pub once: Vec<&'a str>,
}

/// A range of which a mutate has to see the records.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LoadedRange {
    pub keys: KeyRange,
    pub limit: u64,
}

impl<'a> Needs<'a> {
    /// What these requests touch; `progress` is that of the first one, when it is a delete that goes on.
    ///
    /// A delete of a range cannot know what the requests before it in the same batch leave in the range, so it is
    /// decided by itself.
    pub(crate) fn of(batch: &'a [Write], progress: Option<&Progress>) -> Needs<'a> {
        let mut needs = Needs::default();
        for request in batch {
            let alone = deletes_a_range(&request.operation);
            if alone && needs.requests > 0 {
                break;
            }
            needs.requests += 1;
            needs.once.extend(request.once.as_deref());
            needs.locks.extend(request.fence.as_ref().map(|fence| fence.lock.as_str()));
            needs.counted = CountedRange::of(&request.operation, progress);
            match &request.operation {
                WriteOperation::Apply(mutation) => needs.add(mutation),
                WriteOperation::Mutate(mutations) => {
                    mutations.iter().for_each(|mutation| needs.add(mutation));
                    needs.ranges = loaded_ranges(mutations);
                }
                WriteOperation::LockAcquire(request) => {
                    needs.locks.push(&request.name);
                    needs.sweeps_locks = true;
                }
                WriteOperation::LockRelease(request) => needs.locks.push(&request.name),
                WriteOperation::ConsumerCommit(request) => needs.consumers.push(&request.name),
                WriteOperation::ConsumerDelete { name } => needs.consumers.push(name),
                WriteOperation::ConsumerHold(request) => needs.consumers.push(&request.name),
                WriteOperation::ConsumerLeave(request) => needs.consumers.push(&request.name),
                WriteOperation::RemoveExpired => needs.next_expiry = true,
                WriteOperation::Trim(_) | WriteOperation::Retain(_) => {}
            }
            if alone {
                break;
            }
        }
        needs.keys.sort_unstable();
        needs.keys.dedup();
        needs
    }

    fn add(&mut self, mutation: &'a Mutation) {
        match mutation {
            Mutation::Put(put) => self.keys.push(&put.key),
            Mutation::Patch(patch) => {
                self.keys.push(&patch.key);
                self.values.push(&patch.key);
            }
            Mutation::Delete(Delete { target: Target::Keys(named), .. }) => {
                self.keys.extend(named.iter().map(String::as_str));
            }
            Mutation::Delete(Delete { target: Target::Selection(_), .. }) => {}
            Mutation::Increment(increment) => {
                self.keys.push(&increment.key);
                self.values.push(&increment.key);
            }
            Mutation::Expire(expire) => {
                self.keys.push(&expire.key);
                self.values.push(&expire.key);
            }
            Mutation::Import(import) => {
                self.keys.push(&import.key);
                self.values.push(&import.key);
            }
            Mutation::Check(check) => self.keys.push(&check.key),
        }
    }
}

fn deletes_a_range(operation: &WriteOperation) -> bool {
    let is_range = |mutation: &Mutation| {
        matches!(mutation, Mutation::Delete(Delete { target: Target::Selection(_), .. }))
    };
    match operation {
        WriteOperation::Apply(mutation) => is_range(mutation),
        WriteOperation::Mutate(mutations) => mutations.iter().any(is_range),
        _ => false,
    }
}

/// As much of each range as its delete can reach, and as many records more as the mutations before it can have
/// removed: so the plan meets no record that it does not know.
fn loaded_ranges(mutations: &[Mutation]) -> Vec<LoadedRange> {
    let mut ranges = Vec::new();
    let mut removed = 0_u64;
    for mutation in mutations {
        let Mutation::Delete(delete) = mutation else { continue };
        match &delete.target {
            Target::Keys(keys) => removed += keys.len() as u64,
            Target::Selection(selector) => {
                let reach = delete.offset.saturating_add(delete.limit.unwrap_or(u64::MAX));
                // One more than allowed shows that it is too many.
                let reach = reach.min(limits::MUTATE_RANGE_RECORDS + 1);
                ranges.push(LoadedRange { keys: selector.key_range(), limit: reach + removed });
                removed += reach;
            }
        }
    }
    ranges
}
