//! Where a store stands.

use super::plan::Meta;

/// Where a store stands in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    /// Which history of the store this is: a restore begins a new one.
    pub epoch: String,
    /// Counts how often this process opened the store: another database may stand behind the same address by now.
    pub opened: u64,
    /// The last seq of the stream, 0 on a fresh store.
    pub head: u64,
    /// The first seq that is kept, or the next one when nothing is.
    pub first: u64,
    /// The last fencing token that was given.
    pub fence: u64,
    /// Counts the grants and releases of locks and leases.
    pub lock_seq: u64,
}

impl Position {
    /// What a batch has left.
    pub(crate) fn of(Meta { epoch, head, first, fence, lock_seq, .. }: Meta, opened: u64) -> Position {
        Position { epoch, opened, head, first, fence, lock_seq }
    }

    /// Whether a cursor into the stream of the one goes on in the other.
    pub(crate) fn is_same_store(&self, other: &Position) -> bool {
        (&self.epoch, self.opened) == (&other.epoch, other.opened)
    }
}
