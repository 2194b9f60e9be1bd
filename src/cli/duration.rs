//! Durations as people write them: `10m`, `1h30m`, `1.5h`, `500ms`, `7d`, and seconds without a unit.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};
use kv::limits;
use kv::store::{Clock, ExpiryChange, Timestamp};

use super::number;

/// Reads a duration: a whole number of seconds, or numbers with the units ms, s, m, h, d and w. A day has 24 hours.
fn any(text: &str) -> std::result::Result<Duration, String> {
    if let Ok(seconds) = number::count(text) {
        return Ok(Duration::from_secs(seconds));
    }
    let span = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
    let duration =
        span.map_err(|_| format!("{text:?} is not a duration: write 10 (seconds), 10m, 1h30m, 500ms or 7d"))?;
    Duration::try_from(duration).map_err(|_| "a duration is not negative".to_owned())
}

/// Reads the duration of a lock.
pub(super) fn lock(text: &str) -> std::result::Result<Duration, String> {
    let duration = any(text)?;
    if duration.as_millis() > 0 { Ok(duration) } else { Err("a lock is held for at least 1ms".to_owned()) }
}

/// Reads a time to live.
pub(super) fn ttl(text: &str) -> std::result::Result<Duration, String> {
    let ttl = any(text)?;
    match u64::try_from(ttl.as_millis()) {
        Ok(1..=limits::TTL_MS) => Ok(ttl),
        _ => Err("a time to live is at least 1ms and at most 100 years, which are 876000h".to_owned()),
    }
}

/// How much is left until a record expires that is there, by the clock of this machine: at least 1 ms, whatever that clock
/// says.
pub(super) fn left(expires: Timestamp) -> Duration {
    Duration::from_millis(left_ms(expires))
}

/// As [`left`], in milliseconds.
pub(super) fn left_ms(expires: Timestamp) -> u64 {
    u64::try_from(expires.unix_ms() - Clock::System.now_ms()).unwrap_or(0).max(1)
}

/// Reads what happens to an expiry: a time to live, or `none`.
pub(super) fn expiry(text: &str) -> std::result::Result<ExpiryChange, String> {
    if text == "none" { Ok(ExpiryChange::Clear) } else { ttl(text).map(ExpiryChange::After) }
}

/// A number of milliseconds as it can be read again, without the parts that are 0: whole seconds, if it has any.
pub(super) fn shown(ms: u64) -> String {
    let seconds = ms / 1_000;
    if seconds == 0 {
        return format!("{ms}ms");
    }
    let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    parts.iter().filter(|(number, _)| *number > 0).map(|(number, unit)| format!("{number}{unit}")).collect()
}

/// Reads the duration of a wait; 0 = do not wait.
pub(super) fn wait(text: &str) -> std::result::Result<Duration, String> {
    let wait = any(text)?;
    let longest = Duration::from_millis(limits::TIMEOUT_MS);
    if wait <= longest { Ok(wait) } else { Err("a wait is at most a day".to_owned()) }
}

/// Reads a pause between two looks.
pub(super) fn pause(text: &str) -> std::result::Result<Duration, String> {
    let pause = any(text)?;
    if pause >= limits::STATUS_PAUSE_MIN { Ok(pause) } else { Err("a pause is at least 100ms".to_owned()) }
}

/// Reads the age up to which something is kept.
pub(super) fn age(text: &str) -> std::result::Result<Duration, String> {
    let age = any(text)?;
    if age.is_zero() { Err("an age is more than nothing".to_owned()) } else { Ok(age) }
}

/// Reads an instant of the past: how long ago it was, a time in RFC 3339, or a date with or without a time of this place.
pub(super) fn moment(text: &str) -> std::result::Result<Timestamp, String> {
    let of_ms = |instant: jiff::Timestamp| Timestamp::from_unix_ms(instant.as_millisecond());
    if let Ok(ago) = any(text) {
        let instant = jiff::Timestamp::now().checked_sub(ago);
        return instant.map(of_ms).map_err(|_| format!("{text} ago is before the calendar"));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(of_ms(instant));
    }
    let local =
        text.parse::<jiff::civil::DateTime>().and_then(|local| local.to_zoned_datetime(TimeZone::system()));
    local.map(|local| of_ms(local.timestamp())).map_err(|_| {
        format!(
            "{text:?} is not a time: write 1h (ago), 2026-01-31, 2026-01-31T08:00 or 2026-01-31T08:00:00Z"
        )
    })
}

/// Reads the idle time of a daemon; 0 = for ever. A part of a second counts as a whole one.
pub(super) fn idle_timeout(text: &str) -> std::result::Result<Duration, String> {
    let duration = any(text)?;
    let is_partial = duration.subsec_nanos() > 0;
    Ok(Duration::from_secs(duration.as_secs().saturating_add(u64::from(is_partial))))
}

/// The two largest units of a time, for people.
pub(super) fn told(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_or_are_seconds() {
        for (text, expected_ms) in [
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            ("1m0.5s", 60_500),
            ("5", 5_000),
            ("1_000", 1_000_000),
            ("7d", 604_800_000),
            ("1w1d12h", 734_400_000),
        ] {
            assert_eq!(lock(text), Ok(Duration::from_millis(expected_ms)), "{text}");
        }
        for text in ["", "-5", "0", "1.5", "-1s", "0s", "1us", "ten minutes", "1h ago", "1mo", "1y"] {
            assert!(lock(text).is_err(), "{text}");
        }
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        assert!(wait("-1s").is_err() && wait("25h").is_err() && wait("90000").is_err());
    }

    #[test]
    fn an_age_is_a_duration_but_none() {
        for (text, expected_s) in [("30d", 2_592_000), ("1w", 604_800), ("1d12h", 129_600), ("30", 30)] {
            assert_eq!(age(text), Ok(Duration::from_secs(expected_s)), "{text}");
        }
        for text in ["", "0", "0s", "-1d", "1mo", "a month"] {
            assert!(age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago_it_was() {
        let ms = |text: &str| moment(text).map(Timestamp::unix_ms);
        assert_eq!(ms("2026-01-31T08:00:00Z"), Ok(1_769_846_400_000));
        assert_eq!(ms("2026-01-31T08:00:00+01:00"), Ok(1_769_842_800_000));
        let local = |text: &str| {
            text.parse::<jiff::civil::DateTime>().unwrap().to_zoned_datetime(TimeZone::system()).unwrap()
        };
        for (text, whole) in
            [("2026-01-31", "2026-01-31T00:00:00"), ("2026-01-31T08:00", "2026-01-31T08:00:00")]
        {
            assert_eq!(ms(text), Ok(local(whole).timestamp().as_millisecond()), "{text}");
        }
        let before_ms = jiff::Timestamp::now().as_millisecond();
        let ago_ms = ms("1h").unwrap();
        assert!(
            (before_ms - 3_600_000..=jiff::Timestamp::now().as_millisecond() - 3_600_000).contains(&ago_ms)
        );
        assert!(ms("90").unwrap().abs_diff(before_ms - 90_000) < 10_000);
        for text in ["", "yesterday", "2026-13-01", "-1h"] {
            assert!(moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_to_live_is_shown_as_it_can_be_read_again() {
        for (ms, text) in [
            (1, "1ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (598_999, "9m58s"),
            (3_600_000, "1h"),
            (5_400_000, "1h30m"),
            (3_601_000, "1h1s"),
            (limits::TTL_MS, "876000h"),
        ] {
            assert_eq!(shown(ms), text);
            assert_eq!(ttl(text).map(|ttl| shown(ttl.as_millis() as u64)), Ok(text.to_owned()));
        }
        assert_eq!(
            (expiry("none"), expiry("1m")),
            (Ok(ExpiryChange::Clear), Ok(ExpiryChange::After(Duration::from_secs(60))))
        );
        for text in ["0s", "1us", "-1s", "876001h", "none ", "never"] {
            assert!(expiry(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_idle_time_may_be_a_number_of_seconds() {
        for (text, expected_s) in [("0", 0), ("600", 600), ("10m", 600), ("1.5s", 2), ("1ms", 1), ("0s", 0)] {
            assert_eq!(idle_timeout(text), Ok(Duration::from_secs(expected_s)), "{text}");
        }
        for text in ["", "-1", "-1s", "1.5", "soon", "99999999999999999999"] {
            assert!(idle_timeout(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_is_told_by_its_two_largest_units() {
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_599, "59m 59s"),
            (3_600, "1h 0m"),
            (86_399, "23h 59m"),
            (90_000, "1d 1h"),
        ] {
            assert_eq!(told(seconds), expected);
        }
    }
}
