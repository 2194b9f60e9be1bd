//! From an error to the number that a script sees.

use kv::store::{Code, Error};

pub(super) const OK: u8 = 0;
pub(super) const FAILURE: u8 = 1;
pub(super) const USAGE: u8 = 2;

/// The exit code of an error.
pub(super) fn of(error: &Error) -> u8 {
    if error.maybe {
        return 8;
    }
    match error.code {
        Code::BadRequest | Code::UnknownOp | Code::UnknownField => USAGE,
        Code::NotFound => 3,
        Code::VersionMismatch | Code::PatchFailed | Code::Fenced => 4,
        Code::Locked | Code::NotOwner | Code::ConsumerBusy => 5,
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

    #[test]
    fn every_code_has_its_number() {
        let numbers: Vec<String> =
            Code::ALL.iter().map(|&code| format!("{code} {}", of(&Error::new(code, "")))).collect();
        assert_eq!(
            numbers.join(", "),
            "parse_error 1, bad_request 2, unknown_op 2, unknown_field 2, too_large 1, not_initialized 6, \
             not_found 3, version_mismatch 4, patch_failed 4, fenced 4, locked 5, not_owner 5, trimmed 7, future 7, \
             epoch_changed 7, consumer_busy 5, busy 6, timeout 6, cancelled 1, read_only 6, store_full 6, \
             too_many_connections 6, unavailable 6, unsupported 1, internal 1"
        );
    }
}
