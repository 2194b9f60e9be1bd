//! Numbers as people write them: `1000`, `1_000`, `-1`.

/// Reads a whole number, which may be negative. Underscores between digits are for the eye.
pub(super) fn signed(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_grouped = digits
        .split('_')
        .all(|group| !group.is_empty() && group.chars().all(|character| character.is_ascii_digit()));
    let number = is_grouped.then(|| text.replace('_', "").parse().ok()).flatten();
    number.ok_or_else(|| format!("{text:?} is not a whole number"))
}

/// Reads a number of things.
pub(super) fn count(text: &str) -> Result<u64, String> {
    signed(text)?.try_into().map_err(|_| format!("{text} is negative"))
}

/// Reads a number of things, of which there is one at least.
pub(super) fn positive(text: &str) -> Result<u64, String> {
    let count = count(text)?;
    if count > 0 { Ok(count) } else { Err("it is at least 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_may_have_underscores_between_digits() {
        for (text, expected) in [("0", 0), ("-1", -1), ("007", 7), ("1_000", 1_000), ("-1_0", -10)] {
            assert_eq!(signed(text), Ok(expected), "{text}");
        }
        for text in ["", "-", "_1", "1_", "1__0", "+1", "1.5", "1k", "--1", " 1", "99999999999999999999"] {
            assert!(signed(text).is_err(), "{text}");
        }
        assert_eq!(count("10_000"), Ok(10_000));
        assert!(count("-1").is_err());
    }
}
