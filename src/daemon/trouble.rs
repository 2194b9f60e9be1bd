//! What fails beneath a request: it is logged, and told with what this process has to do with it.

use super::log::Repeats;
use super::resources;
use crate::store::{Code, Error};

/// What a request is answered while the daemon ends.
const ENDING: &str = "the daemon is ending";

pub(super) fn ending() -> Error {
    Error::new(Code::Unavailable, ENDING)
}

/// Logs an error that is not the client's, and adds to it what only the daemon knows.
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
