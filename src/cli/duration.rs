//! Durations as people write them: `10m`, `1h30m`, `1.5h`, `500ms`.

use std::time::Duration;

use kv::limits;
use kv::store::ExpiryChange;

/// Reads a duration in the notation of Go.
fn any(text: &str) -> std::result::Result<Duration, String> {
    let form = |_| format!("{text:?} is not a duration: write 10m, 1h30m, 1.5h or 500ms");
    let duration: jiff::SignedDuration = text.parse().map_err(form)?;
    Duration::try_from(duration).map_err(|_| "a duration is not negative".to_owned())
}

/// Reads the duration of a lock.
pub(super) fn lock(text: &str) -> std::result::Result<Duration, String> {
    let duration = any(text)?;
    if duration.as_millis() > 0 { Ok(duration) } else { Err("a lock is held for at least 1ms".to_owned()) }
}

/// Reads a time to live, in milliseconds.
pub(super) fn ttl(text: &str) -> std::result::Result<u64, String> {
    match u64::try_from(any(text)?.as_millis()) {
        Ok(ttl_ms @ 1..=limits::TTL_MS) => Ok(ttl_ms),
        _ => Err("a time to live is at least 1ms and at most 100 years, which are 876000h".to_owned()),
    }
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
    match text {
        "0" => Ok(Duration::ZERO),
        _ => any(text).and_then(|wait| {
            let longest = Duration::from_millis(limits::TIMEOUT_MS);
            if wait <= longest { Ok(wait) } else { Err("a wait is at most a day".to_owned()) }
        }),
    }
}

/// Reads a pause between two looks.
pub(super) fn pause(text: &str) -> std::result::Result<Duration, String> {
    let pause = any(text)?;
    if pause >= limits::STATUS_PAUSE_MIN { Ok(pause) } else { Err("a pause is at least 100ms".to_owned()) }
}

/// Reads the idle time of a daemon, where a number without a unit is in seconds; 0 = for ever. A part of a second counts
/// as a whole one.
pub(super) fn idle_timeout(text: &str) -> std::result::Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration = any(text)?;
    let is_partial = duration.subsec_nanos() > 0;
    Ok(Duration::from_secs(duration.as_secs().saturating_add(u64::from(is_partial))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected_ms) in
            [("10m", 600_000), ("1h30m", 5_400_000), ("1.5h", 5_400_000), ("500ms", 500), ("1m0.5s", 60_500)]
        {
            assert_eq!(lock(text), Ok(Duration::from_millis(expected_ms)), "{text}");
        }
        for text in ["", "10", "-1s", "0s", "1us", "ten minutes", "1h ago"] {
            assert!(lock(text).is_err(), "{text}");
        }
        assert_eq!(wait("0"), Ok(Duration::ZERO));
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        assert!(wait("-1s").is_err() && wait("25h").is_err());
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
            assert_eq!(ttl(text).map(shown), Ok(text.to_owned()));
        }
        assert_eq!(
            (expiry("none"), expiry("1m")),
            (Ok(ExpiryChange::Clear), Ok(ExpiryChange::After(60_000)))
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
}
