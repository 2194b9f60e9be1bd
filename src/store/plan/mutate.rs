//! The rules of mutate: all or nothing, in order, each mutation seeing those before it.

use super::Planner;
use super::rows::Row;
use super::table::Slot;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::reply::MutationResult;
use crate::store::request::Mutation;
use crate::store::work::Work;

/// What a mutate has changed so far, to take it back when a later mutation fails.
pub(super) struct Undo {
    /// Keys as they were before, in the order of the changes.
    records: Vec<(String, Option<Slot<Row>>)>,
    stream_length: usize,
    head: u64,
    written_bytes: usize,
    /// The values that its patches may still write and return, in bytes.
    written_bytes_left: usize,
    returned_bytes_left: usize,
    /// What its patches have cost.
    work: u64,
    /// Records that range deletes may still pass over and remove.
    pub(super) range_records_left: u64,
}

impl Planner {
    pub(super) fn mutate(&mut self, mutations: &[Mutation]) -> Result<Vec<MutationResult>> {
        let tx = self.meta.head + 1;
        self.undo = Some(Undo {
            records: Vec::new(),
            stream_length: self.stream.len(),
            head: self.meta.head,
            written_bytes: self.written_bytes,
            written_bytes_left: limits::BATCH_WRITTEN_BYTES,
            returned_bytes_left: limits::MUTATE_BYTES,
            work: 0,
            range_records_left: limits::MUTATE_RANGE_RECORDS,
        });
        let results = mutations
            .iter()
            .enumerate()
            .map(|(index, mutation)| self.apply(mutation, tx).map_err(|error| error.at_index(index)))
            .collect();
        let undo = self.undo.take();
        if let (Err(_), Some(undo)) = (&results, undo) {
            for (key, slot) in undo.records.into_iter().rev() {
                self.records.restore(key, slot);
            }
            self.stream.truncate(undo.stream_length);
            self.meta.head = undo.head;
            self.written_bytes = undo.written_bytes;
        }
        results
    }

    /// Remembers a key before it changes.
    pub(super) fn remember(&mut self, key: &str) {
        if let Some(undo) = &mut self.undo {
            undo.records.push((key.to_owned(), self.records.slot(key)));
        }
    }

    /// Counts a value that a patch of a mutate writes: many small patches of one large value are many large changes.
    pub(super) fn spend_value_bytes(&mut self, bytes: usize, is_returned: bool) -> Result<()> {
        let Some(undo) = &mut self.undo else { return Ok(()) };
        let returned_bytes = if is_returned { bytes } else { 0 };
        let left = undo
            .written_bytes_left
            .checked_sub(bytes)
            .zip(undo.returned_bytes_left.checked_sub(returned_bytes));
        let Some(left) = left else {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "the patches of a mutate write at most {} bytes of values and return {}",
                    limits::BATCH_WRITTEN_BYTES,
                    limits::MUTATE_BYTES
                ),
            )
            .hint("patch fewer large values at once"));
        };
        (undo.written_bytes_left, undo.returned_bytes_left) = left;
        Ok(())
    }

    /// Refuses a patch of a mutate whose patches so far have cost too much.
    pub(super) fn check_work(&self) -> Result<()> {
        match &self.undo {
            Some(undo) if undo.work > limits::BATCH_WORK => Err(Error::new(
                Code::TooLarge,
                "the patches of the mutate before this one have cost too much",
            )
            .hint("patch fewer large values at once")),
            _ => Ok(()),
        }
    }

    /// Counts what a patch has cost.
    pub(super) fn spend_work(&mut self, work: &Work) {
        self.work = self.work.saturating_add(work.spent());
        if let Some(undo) = &mut self.undo {
            undo.work = undo.work.saturating_add(work.spent());
        }
    }

    /// Counts records that the range deletes of a mutate pass over or remove.
    pub(super) fn spend_range_records(&mut self, count: u64) -> Result<()> {
        let Some(undo) = &mut self.undo else { return Ok(()) };
        let left = undo.range_records_left.checked_sub(count);
        let (Some(left), false) = (left, self.ranged > limits::MUTATE_LOADED_RECORDS) else {
            return Err(Error::new(
                Code::TooLarge,
                format!(
                    "the range deletes of a mutate cover at most {} records",
                    limits::MUTATE_RANGE_RECORDS
                ),
            )
            .hint("give a limit, or delete the range by itself, where it has no bound"));
        };
        undo.range_records_left = left;
        Ok(())
    }
}
