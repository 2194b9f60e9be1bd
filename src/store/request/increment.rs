//! Counters.

use super::expiry::ExpiryChange;
use super::{Condition, TypeChange};
use crate::store::decimal::{self, DecimalError};
use crate::store::error::{Error, Result};
use crate::store::json_text::JsonText;
use crate::store::keys::check_key;

/// Adds to the number under a key; an absent key counts as 0. Sums are exact, whatever the sizes of the numbers are, up to
/// [`limits::NUMBER_CHARACTERS`](crate::limits::NUMBER_CHARACTERS) characters. The sum is stored in plain notation, with as many
/// decimals as the number or what is added has: 0.10 + 0.2 is 0.30, and 1e3 + 1 is 1001.
///
/// ```
/// use kv::store::{Increment, JsonText, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// let visits = Increment::by("visits", JsonText::of(&1)?);
/// store.increment(visits.clone()).await?;
/// let written = store.increment(visits).await?;
/// assert_eq!(written.value, Some(JsonText::of(&2)?));
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Increment {
    /// The key.
    pub key: String,
    /// What is added: a JSON number, which may be negative.
    pub by: JsonText,
    /// What must hold for it to happen.
    pub condition: Condition,
    /// What happens to the type of the record.
    pub record_type: TypeChange,
    /// What happens to the expiry of the record.
    pub expiry: ExpiryChange,
}

impl Increment {
    /// Adds a JSON number, without a condition; the record keeps its type and its expiry.
    #[must_use]
    pub fn by(key: impl Into<String>, by: JsonText) -> Increment {
        Increment {
            key: key.into(),
            by,
            condition: Condition::default(),
            record_type: TypeChange::Keep,
            expiry: ExpiryChange::Keep,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        check_key(&self.key)?;
        self.record_type.check()?;
        self.expiry.check()?;
        decimal::read(self.by.get()).map(drop).map_err(|error| {
            let message = match error {
                DecimalError::NotANumber => "what is added is a JSON number",
                DecimalError::TooLong => {
                    "what is added has at most 1,000 characters, also without its exponent"
                }
            };
            Error::bad_field("by", message).hint("for example 1, -1 or 0.50")
        })
    }
}
