//! Errors that a request meets in this process and not by its own fault: they are logged, and get a hint where a limit of
//! this process is the reason.

use super::log::Repeats;
use super::resources;
use crate::store::{Code, Error};

/// The message for requests that the daemon does not execute any more because it ends.
const ENDING: &str = "the daemon is ending";

/// The error for a request that was not executed because the daemon ends.
pub(super) fn ending() -> Error {
    Error::new(Code::Unavailable, ENDING)
}

/// Returns the error for the client. Logs it when the client did not cause it, and adds a hint when a limit of this process
/// may have.
pub(super) fn told(error: Error) -> Error {
    static REPEATS: Repeats = Repeats::new();
    let is_of_the_store =
        matches!(error.code, Code::Internal | Code::ReadOnly | Code::StoreFull | Code::Unavailable);
    if !is_of_the_store || error.message == ENDING {
        return error;
    }
    if let Some(left_out) = REPEATS.to_log(&error.message) {
        tracing::warn!(code = %error.code, %error, maybe = error.maybe, left_out, "a request failed");
    }
    let Some(advice) = resources::advice(error.code) else { return error };
    let hint = error.hint.as_ref().map_or_else(|| advice.clone(), |hint| format!("{hint}; {advice}"));
    error.hint(hint)
}
