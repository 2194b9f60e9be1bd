//! Which changes of the stream a reader wants.

use std::fmt;

use super::error::{Code, Error, Result};
use super::keys::{KeyRange, check_bound, check_key, check_name};
use super::page::Span;
use super::record::Record;

/// The changes that a reader of the stream wants: all of them by default, otherwise those that match every part that is
/// given.
///
/// ```
/// use kv::store::{Filter, Subscribe};
///
/// let users = Subscribe::default().filter(Filter::prefix("user/").of_type("User"));
/// # assert_eq!(users.filter.prefix.as_deref(), Some("user/"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Only changes of this key. A filter has either a key or a prefix.
    pub key: Option<String>,
    /// Only changes of keys that start with this.
    pub prefix: Option<String>,
    /// Only changes of records of this type.
    pub record_type: Option<String>,
}

impl Filter {
    /// The changes of one key.
    #[must_use]
    pub fn key(key: impl Into<String>) -> Filter {
        Filter { key: Some(key.into()), ..Filter::default() }
    }

    /// The changes of the keys that start with this.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Filter {
        Filter { prefix: Some(prefix.into()), ..Filter::default() }
    }

    /// Of these only the changes of records of this type.
    #[must_use]
    pub fn of_type(self, record_type: impl Into<String>) -> Filter {
        Filter { record_type: Some(record_type.into()), ..self }
    }

    /// Whether every change is wanted.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Filter::default()
    }

    /// Checks that the filter could match a change.
    ///
    /// # Errors
    /// `bad_request` or `too_large`, with the field.
    pub(crate) fn check(&self) -> Result<()> {
        if self.key.is_some() && self.prefix.is_some() {
            return Err(Error::bad_field("key", "changes are filtered by a key or by a prefix, not by both"));
        }
        self.key.as_deref().map_or(Ok(()), check_key)?;
        self.prefix.as_deref().map_or(Ok(()), |prefix| check_bound("prefix", prefix))?;
        self.record_type.as_deref().map_or(Ok(()), |name| check_name("type", name))
    }

    /// The filter with which a consumer follows the stream that keeps the filter `kept`, and is asked for with this one: a
    /// request that names none means the one that is kept.
    ///
    /// # Errors
    /// `bad_request` for another filter: the consumer would pass over changes which the other one does not want, for good.
    pub(crate) fn for_consumer(&self, name: &str, kept: Option<&Filter>) -> Result<Filter> {
        match kept {
            Some(kept) if self.is_all() || self == kept => Ok(kept.clone()),
            Some(kept) => {
                let message = format!("the consumer {name} follows {kept}, not {self}");
                Err(Error::new(Code::BadRequest, message)
                    .hint("follow as another consumer, or remove this one first: its filter is kept with its position"))
            }
            None => Ok(self.clone()),
        }
    }

    /// Whether the changes of a record are wanted, as it is now.
    #[must_use]
    pub fn covers(&self, record: &Record) -> bool {
        let key = record.key.as_str();
        self.key.as_deref().is_none_or(|wanted| key == wanted)
            // The half-open range of a prefix holds exactly the keys that start with it.
            && self.prefix.as_deref().is_none_or(|prefix| key.starts_with(prefix))
            && self.record_type.as_deref().is_none_or(|wanted| record.record_type.as_deref() == Some(wanted))
    }

    /// The keys whose changes are wanted.
    pub(crate) fn keys(&self) -> Span {
        match &self.key {
            Some(key) => Span::one(key),
            None => Span::all_of(self.prefix.as_deref().map_or_else(KeyRange::all, KeyRange::prefix)),
        }
    }
}

/// In words, as "changes of keys that start with user/ and of the type User".
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("the key ", &self.key),
            ("keys that start with ", &self.prefix),
            ("the type ", &self.record_type),
        ];
        let parts: Vec<String> = parts
            .into_iter()
            .filter_map(|(what, text)| text.as_ref().map(|text| format!("of {what}{text:?}")))
            .collect();
        match parts.is_empty() {
            true => f.write_str("every change"),
            false => write!(f, "changes {}", parts.join(" and ")),
        }
    }
}
