//! The limits of records that expire.

use std::time::Duration;

use super::LOCK_DURATION_MS;

/// The longest time to live of a record, in milliseconds: 100 years, as that of a lock.
pub const TTL_MS: u64 = LOCK_DURATION_MS;

/// How many records that have expired a batch removes besides those that it touches: more than most batches write, and few
/// enough that other writes hardly wait for it.
pub const EXPIRED_PER_BATCH: usize = 200;

/// The longest time for which a process that knows of an expiry sleeps before it compares the expiry with its clock again:
/// clocks are set, and stand still while a machine sleeps.
pub const EXPIRY_LOOK_MAX: Duration = Duration::from_secs(1);

/// How often a process reads what expires next although it has written nothing that expires: other processes may have, and may
/// be gone by then.
pub const EXPIRY_LOOK_INTERVAL: Duration = Duration::from_secs(60);
