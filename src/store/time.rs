//! Instants as kv keeps and shows them, and the clock they come from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::error::{Code, Error};

/// An instant in UTC with a precision of one millisecond. Shown by RFC 3339 with exactly three decimals and `Z`,
/// stored as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant so many milliseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn from_unix_ms(unix_ms: i64) -> Timestamp {
        Timestamp(unix_ms)
    }

    /// Milliseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn unix_ms(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(instant) => write!(f, "{instant:.3}"),
            // A database changed by a hostile hand may hold any integer; showing it must not fail.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Timestamp, Error> {
        // As an instant beyond the calendar is shown.
        if let Some(Ok(unix_ms)) = text.strip_suffix("ms").map(str::parse) {
            return Ok(Timestamp(unix_ms));
        }
        let instant: jiff::Timestamp = text
            .parse()
            .map_err(|_| Error::new(Code::BadRequest, format!("{text:?} is not an RFC 3339 time")))?;
        Ok(Timestamp(instant.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message))
    }
}

/// Where `now` comes from.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The wall clock of this machine.
    #[default]
    System,
    /// A clock that only moves when it is told to, for tests.
    Manual(ManualClock),
}

impl Clock {
    /// Milliseconds since 1970 UTC.
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        match self {
            Clock::System => jiff::Timestamp::now().as_millisecond(),
            Clock::Manual(clock) => clock.0.load(Ordering::SeqCst),
        }
    }
}

/// A clock set by hand; clones share their time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at this instant.
    #[must_use]
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock(Arc::new(AtomicI64::new(now.unix_ms())))
    }

    /// Moves the clock by so many milliseconds, backwards when negative.
    pub fn advance_ms(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_shown_with_three_decimals_and_read_back() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_120, "2023-11-14T22:13:20.120Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Timestamp::from_unix_ms(unix_ms).to_string(), text);
            assert_eq!(text.parse::<Timestamp>().unwrap().unix_ms(), unix_ms);
        }
    }

    #[test]
    fn an_instant_beyond_the_calendar_is_still_shown_and_read_back() {
        let latest = Timestamp::from_unix_ms(i64::MAX);
        assert_eq!(latest.to_string(), "9223372036854775807ms");
        assert_eq!(latest.to_string().parse(), Ok(latest));
    }
}
