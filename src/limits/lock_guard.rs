//! Bounds of a lock that is held while a program works.

use std::time::Duration;

/// How long a [`LockGuard`](crate::store::LockGuard) holds its lock without being renewed, unless its program says otherwise.
pub const LOCK_GUARD_DURATION: Duration = Duration::from_secs(30);

/// How long a guard waits for the store to answer when its lock should have been renewed already.
pub const LOCK_ANSWER: Duration = Duration::from_secs(2);

/// How often a guard tries to renew a lock that should have been renewed already, before it counts it as lost without an
/// answer. Tries are counted and not time: a process that was stopped loses no more than the try in which it was stopped.
pub const LOCK_LAST_TRIES: u32 = 5;
