//! How many daemons died at one call: a call that kills every daemon must not be repeated for ever.

use std::time::Instant;

use crate::limits;
use crate::store::{Code, Error, Result};

/// The number of daemons in a row that died soon after they were sent the same call.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    count: u32,
}

impl Deaths {
    /// Counts a daemon that was sent the call at the time `asked` and ended without an answer.
    ///
    /// # Errors
    /// `unavailable` without `retry` when it is the [`limits::DEATHS`]th in a row, so that the call must be what kills
    /// them.
    pub(super) fn add(&mut self, asked: Instant) -> Result<()> {
        // A daemon that lived on for a while was ended by something else.
        self.count = if asked.elapsed() < limits::DEATH_AFTER { self.count + 1 } else { 0 };
        if self.count < limits::DEATHS {
            return Ok(());
        }
        let message = format!("{} daemons in a row went away at this request without an answer", self.count);
        let mut error = Error::new(Code::Unavailable, message)
            .hint("see why in the log: kv daemon logs; --daemon=never does it without a daemon");
        error.retry = false;
        Err(error)
    }
}
