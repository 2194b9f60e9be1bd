//! The rules of counters.

use super::Planner;
use crate::limits;
use crate::store::decimal::{self, DecimalError};
use crate::store::error::{Code, Error, Result};
use crate::store::json_text::JsonText;
use crate::store::reply::Written;
use crate::store::request::Increment;

impl Planner {
    pub(super) fn increment(&mut self, increment: &Increment, tx: u64) -> Result<Written> {
        let Increment { key, by, condition, record_type, expiry } = increment;
        let stored = self.value_to_change(key, *condition)?;
        let stored = stored.as_ref().map_or("0", JsonText::get);
        let sum = decimal::sum(stored, by.get()).map_err(|error| refusal(key, error))?;
        let value = JsonText::parse(&sum)?;
        self.spend_value_bytes(value.get().len(), true)?;
        let written = self.write(key, value.clone(), record_type, *expiry, tx);
        Ok(Written { value: Some(value), ..written })
    }
}

fn refusal(key: &str, error: DecimalError) -> Error {
    match error {
        DecimalError::NotANumber => {
            Error::new(Code::PatchFailed, format!("{key} is not a number, so nothing can be added to it"))
                .hint("put a number first, or give the counter a key of its own")
        }
        DecimalError::TooLong => {
            let most = limits::NUMBER_CHARACTERS;
            let message = format!("{key}, or the sum, has more than {most} characters without an exponent");
            Error::new(Code::TooLarge, message).hint("put a smaller number first")
        }
    }
}
