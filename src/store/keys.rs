//! Keys, names and ranges of keys.
//!
//! A prefix is the half-open range `[p, successor(p))` and never a pattern, so `%`, `_`, `*` and letter case mean
//! nothing special, and every engine answers from the key's index.

use super::error::{Code, Error, Result};
use crate::limits;

/// The keys `from <= key < to`, bytewise; without `to` there is no upper bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key of the range.
    pub from: String,
    /// The first key after the range.
    pub to: Option<String>,
}

impl KeyRange {
    /// Every key.
    #[must_use]
    pub fn all() -> KeyRange {
        KeyRange { from: String::new(), to: None }
    }

    /// The keys that start with this prefix.
    #[must_use]
    pub fn prefix(prefix: &str) -> KeyRange {
        KeyRange { from: prefix.to_owned(), to: successor(prefix) }
    }

    /// Whether the key lies in the range.
    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        key >= self.from.as_str() && self.to.as_deref().is_none_or(|to| key < to)
    }
}

/// The smallest string that is greater than every string with this prefix; none when there is none.
///
/// The last code point is increased by one (U+D7FF becomes U+E000, because surrogates are not code points of UTF-8);
/// U+10FFFF cannot be increased, so it is dropped and the one before it is increased.
#[must_use]
pub fn successor(prefix: &str) -> Option<String> {
    let mut rest = prefix;
    while let Some(last) = rest.chars().next_back() {
        rest = &rest[..rest.len() - last.len_utf8()];
        let next = if last == '\u{D7FF}' { Some('\u{E000}') } else { char::from_u32(u32::from(last) + 1) };
        if let Some(next) = next {
            return Some(format!("{rest}{next}"));
        }
    }
    None
}

/// The smallest key that is greater than this one: no key holds a NUL.
#[must_use]
pub(crate) fn first_behind(key: &str) -> String {
    format!("{key}\u{1}")
}

/// Checks a key: 1 to 1,024 bytes, no NUL (PostgreSQL cannot store one).
///
/// # Errors
/// `bad_request`, or `too_large`.
pub fn check_key(key: &str) -> Result<()> {
    check_text("key", "a key", key, limits::KEY_BYTES)?;
    if key.is_empty() { Err(Error::bad_field("key", "a key has at least one byte")) } else { Ok(()) }
}

/// Checks the name of a type, lock, owner or consumer: 1 to 256 bytes, no NUL.
///
/// # Errors
/// `bad_request`, or `too_large`.
pub fn check_name(field: &str, name: &str) -> Result<()> {
    check_text(field, field, name, limits::NAME_BYTES)?;
    if name.is_empty() {
        Err(Error::bad_field(field, format!("{field} has at least one byte")))
    } else {
        Ok(())
    }
}

/// Checks a prefix or the end of a range: up to 1,024 bytes, no NUL, possibly empty.
///
/// # Errors
/// `bad_request`, or `too_large`.
pub fn check_bound(field: &str, bound: &str) -> Result<()> {
    check_text(field, field, bound, limits::KEY_BYTES)
}

/// Checks a text: at most `bytes_max` bytes, no NUL. `field` and `what` name it in the error.
///
/// # Errors
/// `bad_request`, or `too_large`.
pub fn check_text(field: &str, what: &str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() > bytes_max {
        let mut error =
            Error::new(Code::TooLarge, format!("{what} of {} bytes is over {bytes_max}", text.len()));
        error.details.field = Some(field.to_owned());
        return Err(error);
    }
    if text.contains('\0') {
        return Err(Error::bad_field(field, format!("{what} holds a NUL character")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_successor_increases_the_last_code_point_that_can_be_increased() {
        for (prefix, expected) in [
            ("user/", Some("user0")),
            ("a\u{D7FF}", Some("a\u{E000}")),
            ("a\u{10FFFF}", Some("b")),
            ("a\u{7F}", Some("a\u{80}")),
            ("\u{10FFFF}\u{10FFFF}", None),
            ("", None),
        ] {
            assert_eq!(successor(prefix).as_deref(), expected, "{prefix:?}");
        }
    }

    #[test]
    fn a_prefix_range_holds_the_keys_with_the_prefix_and_no_other() {
        let range = KeyRange::prefix("a%");
        for (key, inside) in [("a%", true), ("a%b", true), ("a", false), ("ab", false), ("A%", false)] {
            assert_eq!(range.contains(key), inside, "{key:?}");
        }
    }
}
