//! From an error to the number that a script sees.

use kv::store::{Code, Error};

pub(super) const OK: u8 = 0;
pub(super) const FAILURE: u8 = 1;
pub(super) const USAGE: u8 = 2;
/// What the user waits for did not come within the time: a lock, a consumer, a value or a change.
pub(super) const NOT_YET: u8 = 5;

/// The exit code of an error.
pub(super) fn of(error: &Error) -> u8 {
    if error.maybe {
        return 8;
    }
    match error.code {
        Code::BadRequest | Code::UnknownOp | Code::UnknownField => USAGE,
        Code::NotFound => 3,
        Code::VersionMismatch | Code::PatchFailed | Code::Fenced => 4,
        Code::Locked | Code::NotOwner | Code::ConsumerBusy => NOT_YET,
        Code::Unavailable
        | Code::NotInitialized
        | Code::Busy
        | Code::Timeout
        | Code::StoreFull
        | Code::ReadOnly
        | Code::TooManyConnections => 6,
        Code::Trimmed | Code::Future | Code::EpochChanged => 7,
        _ => FAILURE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_is_never_called_anything_else() {
        for &code in Code::ALL {
            assert_eq!(of(&Error::new(code, "").unknown()), 8, "{code}");
        }
    }

    /// docs/protocol.md has a table: code, cause, `retry`, `maybe`, members, exit code.
    #[test]
    fn the_catalogue_of_the_protocol_is_true_of_every_code() {
        let catalogue = include_str!("../../docs/protocol.md").split("## Error codes").nth(1).unwrap();
        let rows = catalogue.lines().filter(|line| line.starts_with("| `"));
        let told: Vec<String> = rows
            .map(|row| {
                let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
                let [code, cause, retry, _, _, exit] = cells[..] else { panic!("{row}") };
                assert!(!cause.is_empty(), "{row}");
                format!("{code} {retry} {exit}")
            })
            .collect();
        let expected = Code::ALL.iter().map(|&code| {
            let error = Error::new(code, "");
            let retry = match code {
                // Whether it helps depends on what is unavailable.
                Code::Unavailable => "mostly",
                _ if error.retry => "yes",
                _ => "no",
            };
            format!("`{code}` {retry} {}", of(&error))
        });
        assert_eq!(told, expected.collect::<Vec<_>>());
    }
}
