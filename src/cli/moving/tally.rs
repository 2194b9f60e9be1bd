//! How many records have met with what.

use std::fmt;

use kv::store::{Error, ImportOutcome, Timestamp};

use crate::cli::output;

/// How many records have met with what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) created: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) skipped: u64,
    pub(super) expired: u64,
    /// Copies of records that are no longer in the store which is copied.
    pub(super) removed: u64,
    /// Changes that were repeated.
    pub(super) repeated: u64,
}

impl Tally {
    /// Counts what became of a record.
    pub(super) fn count(&mut self, outcome: ImportOutcome, expires: Option<Timestamp>, now: Timestamp) {
        *match outcome {
            ImportOutcome::Created => &mut self.created,
            ImportOutcome::Updated => &mut self.updated,
            ImportOutcome::Unchanged => &mut self.unchanged,
            ImportOutcome::Skipped if expires.is_some_and(|expires| expires <= now) => &mut self.expired,
            ImportOutcome::Skipped => &mut self.skipped,
        } += 1;
    }

    /// Says what was done before the end came, if anything was, and whether the same command again gets further: behind an error
    /// only where that error may pass.
    pub(super) fn tell_so_far(&self, end: &str, error: Option<&Error>) {
        if *self != Tally::default() {
            let goes_on = error.is_none_or(|error| error.retry || error.maybe);
            let further = if goes_on { "; the same command again goes on from there" } else { "" };
            output::note(&format!("{end}: {self}{further}"));
        }
    }

    /// Adds what became of other records.
    pub(super) fn add(&mut self, other: Tally) {
        self.created += other.created;
        self.updated += other.updated;
        self.unchanged += other.unchanged;
        self.skipped += other.skipped;
        self.expired += other.expired;
        self.removed += other.removed;
        self.repeated += other.repeated;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { created, updated, unchanged, skipped, expired, removed, repeated } = self;
        write!(
            f,
            "{created} created, {updated} updated, {unchanged} unchanged, {skipped} skipped, {expired} expired"
        )?;
        if *removed > 0 {
            write!(f, ", {removed} removed")?;
        }
        if *repeated > 0 {
            write!(f, ", {} repeated", output::counted(*repeated, "change", "changes"))?;
        }
        Ok(())
    }
}
