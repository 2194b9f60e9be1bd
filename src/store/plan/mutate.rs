//! The rules of mutate: all or nothing, in order, each mutation seeing those before it.

use super::Planner;
use super::rows::Row;
use super::table::Slot;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::reply::MutationResult;
use crate::store::request::Mutation;

/// What a mutate has changed so far, to take it back when a later mutation fails.
pub(super) struct Undo {
    /// Keys as they were before, in the order of the changes.
    records: Vec<(String, Option<Slot<Row>>)>,
    stream_length: usize,
    head: u64,
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
        }
        results
    }

    /// Remembers a key before it changes.
    pub(super) fn remember(&mut self, key: &str) {
        if let Some(undo) = &mut self.undo {
            undo.records.push((key.to_owned(), self.records.slot(key)));
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
