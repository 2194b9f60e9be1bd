//! Deletes of ranges by themselves. Their records are not loaded, only counted; and a large one is done slice by slice, each
//! in a batch of its own, so that nobody waits for all of it.

use super::Planner;
use super::rows::RangeDelete;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::keys::{KeyRange, first_behind};
use crate::store::reply::Deleted;
use crate::store::request::{Delete, Mutation, Selector, Target, WriteOperation};

/// Records that a delete of a range covers, which is applied without loading them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CountedRange {
    pub keys: KeyRange,
    pub offset: u64,
    pub limit: Option<u64>,
}

/// How many records a range covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    /// In all.
    pub total: u64,
    /// The last key of the first slice, when that is not all: a slice has
    /// [`DELETE_SLICE_RECORDS`](crate::limits::DELETE_SLICE_RECORDS).
    pub slice_end: Option<String>,
}

/// How far a delete of a range has come that takes more than one slice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The history of the store that it began in: it does not go on in another one.
    pub epoch: String,
    /// How many records were removed.
    pub deleted: u64,
    /// That of the last one.
    pub revision: u64,
    /// At most so many are still to be removed: those that the first slice has counted and not removed. So the delete ends,
    /// whatever others put into the range.
    pub remaining: u64,
    /// The next slice begins with the first key from here on.
    pub from: String,
}

impl CountedRange {
    /// What a delete of a range by itself covers; none when the operation is another one.
    pub(super) fn of(operation: &WriteOperation, progress: Option<&Progress>) -> Option<CountedRange> {
        let (selector, offset, limit) = range_of(operation)?;
        let keys = selector.key_range();
        Some(match progress {
            None => CountedRange { keys, offset, limit },
            Some(Progress { remaining, from, .. }) => CountedRange {
                keys: KeyRange { from: from.clone(), to: keys.to },
                offset: 0,
                // One more than a slice shows that there is another one; only the first slice has to know how many are left.
                limit: Some(*remaining.min(&(limits::DELETE_SLICE_RECORDS + 1))),
            },
        })
    }
}

/// The selection, offset and limit of a delete of a range by itself.
fn range_of(operation: &WriteOperation) -> Option<(&Selector, u64, Option<u64>)> {
    match operation {
        WriteOperation::Apply(Mutation::Delete(Delete {
            target: Target::Selection(selector),
            offset,
            limit,
            condition: _,
        })) => Some((selector, *offset, *limit)),
        _ => None,
    }
}

impl Planner {
    /// Refuses to go on with a delete that began in another history of the store.
    pub(super) fn check_history(&self) -> Result<()> {
        match &self.progress {
            Some(progress) if progress.epoch != self.meta.epoch => {
                Err(Error::new(Code::EpochChanged, "the store was replaced or restored during the delete"))
            }
            _ => Ok(()),
        }
    }

    /// Deletes the next slice of a range without knowing its records: only how many there are.
    pub(super) fn delete_range(&mut self, range: CountedRange) -> Deleted {
        let before = self.progress.take();
        let Counted { total, slice_end } = std::mem::take(&mut self.counted);
        let records = total.min(limits::DELETE_SLICE_RECORDS);
        let first_seq = self.meta.head + 1;
        self.meta.head += records;
        if records > 0 {
            let (now_ms, time_ms) = (self.now_ms, self.time_ms);
            self.range_delete = Some(RangeDelete { range, deleted: records, now_ms, first_seq, time_ms });
        }
        let deleted = before.as_ref().map_or(0, |before| before.deleted) + records;
        if let Some(last) = slice_end {
            self.unfinished = Some(Progress {
                epoch: self.meta.epoch.clone(),
                deleted,
                revision: self.meta.head,
                remaining: before.map_or(total, |before| before.remaining) - records,
                from: first_behind(&last),
            });
            return Deleted { deleted, revision: Some(self.meta.head) };
        }
        let revision = if records > 0 { Some(self.meta.head) } else { before.map(|before| before.revision) };
        Deleted { deleted, revision }
    }
}
