//! Whole stores: backups, checks, restores and what gives space back, by the real binary.

mod check;
mod compact;
mod copy;
mod kills;
mod restore;
