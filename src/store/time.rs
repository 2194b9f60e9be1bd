//! Instants as kv stores and shows them, and the clock that they come from.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[cfg(any(feature = "postgres", feature = "rqlite"))]
use super::engine::sql::{Dialect, Now};
use super::error::{Code, Error};
use crate::limits;

/// An instant in UTC with a precision of one millisecond. It is shown as RFC 3339 with exactly three decimals and `Z`,
/// and stored as an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant `unix_ms` milliseconds after 1970-01-01T00:00:00Z.
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

impl Timestamp {
    /// The text of the instant; none beyond the calendar. A page of the stream shows three thousand instants, so this
    /// works without the formatter: by the days of the era in which a year begins in March
    /// (<https://howardhinnant.github.io/date_algorithms.html#civil_from_days>).
    fn to_rfc3339(self) -> Option<[u8; 24]> {
        if !limits::TIME_MS.contains(&self.0) {
            return None;
        }
        const DAY_MS: i64 = 86_400_000;
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        // From the first of March of the year 0.
        let days = days + 719_468;
        let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = era * 400 + year + i64::from(month <= 2);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut write = |last: usize, count: usize, mut number: i64| {
            for digit in text[last + 1 - count..=last].iter_mut().rev() {
                *digit += (number % 10) as u8;
                number /= 10;
            }
        };
        write(3, 4, year);
        write(6, 2, month);
        write(9, 2, day);
        write(12, 2, ms / 3_600_000);
        write(15, 2, ms / 60_000 % 60);
        write(18, 2, ms / 1_000 % 60);
        write(22, 3, ms % 1_000);
        Some(text)
    }

    /// Calls `take` with the text.
    fn with_text<T>(self, take: impl FnOnce(&str) -> T) -> T {
        match self.to_rfc3339() {
            // The text is ASCII.
            Some(text) => take(std::str::from_utf8(&text).unwrap_or_default()),
            // A database that an attacker has changed may hold any integer; showing it must not fail.
            None => take(&format!("{}ms", self.0)),
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with_text(|text| f.write_str(text))
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Timestamp, Error> {
        // The form in which an instant beyond the calendar is shown.
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
        self.with_text(|text| serializer.serialize_str(text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| de::Error::custom(error.message))
    }
}

/// The whole milliseconds of a duration, in which kv stores and sends times.
pub(crate) fn whole_ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
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

    /// The time by which a statement tells what has expired, on a server that has a clock of its own.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    pub(crate) fn sql_now(&self, dialect: Dialect) -> Now {
        match self {
            Clock::System => Now::OfServer(dialect),
            Clock::Manual(_) => Now::At(self.now_ms()),
        }
    }

    /// The time of a server, in milliseconds since 1970 UTC, unless the clock is set by hand.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    pub(crate) fn or_server_ms(&self, server_ms: i64) -> i64 {
        match self {
            Clock::System => server_ms,
            Clock::Manual(_) => self.now_ms(),
        }
    }
}

/// A clock that is set by hand; clones share their time.
#[derive(Debug, Clone)]
pub struct ManualClock(Arc<AtomicI64>);

impl ManualClock {
    /// A clock that stands at this instant.
    #[must_use]
    pub fn at(now: Timestamp) -> ManualClock {
        ManualClock(Arc::new(AtomicI64::new(now.unix_ms())))
    }

    /// Moves the clock by `by_ms` milliseconds, backwards when it is negative.
    pub fn advance_ms(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instant_of_the_calendar_is_shown_as_the_library_shows_it(
            unix_ms in *limits::TIME_MS.start()..253_402_207_200_000,
        ) {
            let shown = Timestamp::from_unix_ms(unix_ms).to_string();
            let instant = jiff::Timestamp::from_millisecond(unix_ms).unwrap();
            prop_assert_eq!(shown, format!("{instant:.3}"));
        }
    }

    #[test]
    fn the_days_of_every_year_are_those_of_the_library() {
        for unix_ms in (*limits::TIME_MS.start()..253_402_207_200_000).step_by(13 * 86_400_000) {
            let instant = jiff::Timestamp::from_millisecond(unix_ms).unwrap();
            assert_eq!(Timestamp::from_unix_ms(unix_ms).to_string(), format!("{instant:.3}"));
        }
    }

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
