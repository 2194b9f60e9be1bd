//! Counts the daemons that died at one call: a call that ends them must not start the next one for ever.

use std::time::Instant;

use crate::limits;
use crate::store::{Code, Error, Result};

/// The daemons in a row that died soon after they were asked the same.
#[derive(Debug, Default)]
pub(super) struct Deaths {
    count: u32,
}

impl Deaths {
    /// Counts one that was asked at this time and went away without an answer.
    ///
    /// # Errors
    /// `unavailable`, not to be tried again, when there were so many that the call must be what ends them.
    pub(super) fn add(&mut self, asked: Instant) -> Result<()> {
        // One that lived on for a while was ended by somebody else.
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
