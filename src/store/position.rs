//! The position of a store.

use super::plan::Meta;

/// The position of a store in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// The history of the store: a restore begins a new one.
    pub epoch: String,
    /// The number of this opening within the process: after another one, a different database may be at the same
    /// address.
    pub opened: u64,
    /// The last seq of the stream, 0 on a fresh store.
    pub head: u64,
    /// The first seq that is kept, or the next one when none is.
    pub first: u64,
    /// The last fencing token that was granted.
    pub fence: u64,
    /// Counts the grants and releases of locks and leases.
    pub lock_seq: u64,
}

impl Position {
    /// The position after a batch.
    pub(crate) fn of(Meta { epoch, head, first, fence, lock_seq, .. }: Meta, opened: u64) -> Position {
        Position { epoch, opened, head, first, fence, lock_seq }
    }

    /// Whether a cursor into the stream at one position goes on at the other.
    pub(crate) fn is_same_store(&self, other: &Position) -> bool {
        (&self.epoch, self.opened) == (&other.epoch, other.opened)
    }
}
