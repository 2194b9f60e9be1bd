//! Exact sums of JSON numbers.

use bigdecimal::BigDecimal;

use crate::limits;

/// Why there is no sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DecimalError {
    /// A text is not a JSON number.
    NotANumber,
    /// A number would have more than [`NUMBER_CHARACTERS`](crate::limits::NUMBER_CHARACTERS) in plain notation.
    TooLong,
}

/// The sum of two JSON numbers, which may be spelled in any way. It is in plain notation, without an exponent, and has as many
/// decimals as the operand that has more of them: 0.10 + 0.2 = 0.30.
pub(crate) fn sum(one: &str, other: &str) -> Result<String, DecimalError> {
    let sum = read(one)? + read(other)?;
    let text = plain(&sum);
    if text.len() > limits::NUMBER_CHARACTERS { Err(DecimalError::TooLong) } else { Ok(text) }
}

/// Reads a number whose plain notation has a bounded length, whatever its exponent is.
pub(crate) fn read(text: &str) -> Result<BigDecimal, DecimalError> {
    // Every other JSON begins with another character.
    if !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    if text.len() > limits::NUMBER_CHARACTERS {
        return Err(DecimalError::TooLong);
    }
    // An exponent that the library cannot hold is too large in any case.
    let number: BigDecimal = text.parse().map_err(|_| DecimalError::TooLong)?;
    let (_, scale) = number.as_bigint_and_exponent();
    if scale.unsigned_abs() > limits::NUMBER_CHARACTERS as u64 {
        return Err(DecimalError::TooLong);
    }
    Ok(number.with_scale(scale.max(0)))
}

fn plain(number: &BigDecimal) -> String {
    number.to_plain_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_exact_and_in_plain_notation() {
        for (one, other, expected) in [
            ("0", "1", "1"),
            ("41", "1", "42"),
            ("1", "-1", "0"),
            ("-0", "0", "0"),
            ("0.10", "0.2", "0.30"),
            ("0.1", "-0.1", "0.0"),
            ("1e3", "1", "1001"),
            ("1E+3", "1e3", "2000"),
            ("1.5e1", "0", "15"),
            ("1e-3", "-1", "-0.999"),
            ("0e5", "7", "7"),
            ("9007199254740993", "2", "9007199254740995"),
            (
                "123456789012345678901234567890",
                "0.000000000000000000001",
                "123456789012345678901234567890.000000000000000000001",
            ),
            ("-1.00", "0", "-1.00"),
        ] {
            assert_eq!(sum(one, other).as_deref(), Ok(expected), "{one} + {other}");
            assert_eq!(sum(other, one).as_deref(), Ok(expected), "{other} + {one}");
        }
    }

    #[test]
    fn what_is_no_number_or_a_long_one_is_refused() {
        for text in ["null", "\"1\"", "[1]", "{}", "true"] {
            assert_eq!(sum(text, "1"), Err(DecimalError::NotANumber), "{text}");
        }
        let nines = "9".repeat(limits::NUMBER_CHARACTERS);
        assert_eq!(sum(&nines, "0"), Ok(nines.clone()));
        let longer = format!("1{nines}");
        for text in
            ["1e1001", "1e-1001", "0e1001", "1e99999999999999999999", "1e-99999999999999999999", &longer]
        {
            assert_eq!(sum(text, "1"), Err(DecimalError::TooLong), "{text}");
        }
        assert_eq!(sum(&nines, "1"), Err(DecimalError::TooLong));
        assert_eq!(sum("1e999", "1e-999"), Err(DecimalError::TooLong));
        assert_eq!(sum("1e999", "0").map(|text| text.len()), Ok(1_000));
    }
}
