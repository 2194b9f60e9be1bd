//! Writes that are applied once: what is kept of them, and how a repeat is told from another request.

mod canonical_form;
mod first_form;

use serde::{Deserialize, Serialize};

use super::rows::OnceRow;
use super::{Outcome, Planner};
use crate::limits;
use crate::store::error::{Code, Error};
use crate::store::json_text::JsonText;
use crate::store::reply::{Deleted, MutationResult, Reply, Written};
use crate::store::request::{Write, WriteOperation};

/// Bytes of a hash that are kept: enough that no two requests meet by chance.
const HASH_BYTES: usize = 16;

/// The replies of the writes that can carry an id. The spelling stands in databases: it is only ever added to.
#[derive(Debug, Serialize, Deserialize)]
enum KeptReply {
    Written(Written),
    Deleted(Deleted),
    Checked,
    Mutated(Vec<MutationResult>),
    Trimmed(u64),
}

impl Planner {
    /// Answers a repeat as the first time; a failure is an outcome too.
    pub(super) fn decide_once(&mut self, id: &str, write: &Write) -> Outcome {
        let Some(request) = canonical_form::fingerprint(&write.operation) else {
            return Err(Error::bad_field("once", "this operation takes no once"));
        };
        if let Some(kept) = self.once.get(id).filter(|kept| kept.time_ms > self.once_expired_ms()) {
            let is_repeat =
                kept.request == request || is_repeat_of_first_form(&kept.request, &write.operation);
            return if is_repeat { read(id, &kept.outcome) } else { Err(reused(id)) };
        }
        let outcome = self.decide_now(write);
        let text = text_of(&outcome).map_err(Error::unknown)?;
        self.once.set(id, Some(OnceRow { request, outcome: text, time_ms: self.now_ms }));
        outcome
    }

    /// Outcomes of this time and before are forgotten.
    pub(super) fn once_expired_ms(&self) -> i64 {
        self.now_ms.saturating_sub(limits::ONCE_KEPT_MS)
    }
}

/// Whether a row that was written before the canonical form had a version, which has no colon, is one of this request.
/// The fence is part of no form: whoever tries again after a new grant repeats the same write.
fn is_repeat_of_first_form(kept: &str, operation: &WriteOperation) -> bool {
    !kept.contains(':') && first_form::fingerprint(operation).is_some_and(|request| request == kept)
}

fn hex(hash: &[u8]) -> String {
    hash.iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

fn text_of(outcome: &Outcome) -> Result<String, Error> {
    let kept = match outcome {
        Ok(Reply::Written(written)) => Ok(KeptReply::Written(written.clone())),
        Ok(Reply::Deleted(deleted)) => Ok(KeptReply::Deleted(*deleted)),
        Ok(Reply::Checked) => Ok(KeptReply::Checked),
        Ok(Reply::Mutated(results)) => Ok(KeptReply::Mutated(results.clone())),
        Ok(Reply::Trimmed { trimmed }) => Ok(KeptReply::Trimmed(*trimmed)),
        Ok(other) => return Err(Error::new(Code::Internal, format!("{other:?} cannot be kept"))),
        Err(error) => Err(error.clone()),
    };
    serde_json::to_string(&kept).map_err(|error| Error::new(Code::Internal, error.to_string()))
}

fn read(id: &str, outcome: &str) -> Outcome {
    let kept: Result<KeptReply, Error> =
        serde_json::from_str(outcome).map_err(|error| unreadable(id, outcome, &error))?;
    kept.map(|reply| match reply {
        KeptReply::Written(written) => Reply::Written(written),
        KeptReply::Deleted(deleted) => Reply::Deleted(deleted),
        KeptReply::Checked => Reply::Checked,
        KeptReply::Mutated(results) => Reply::Mutated(results),
        KeptReply::Trimmed(trimmed) => Reply::Trimmed { trimmed },
    })
}

/// The write was decided when the outcome was kept, and how is not known any more.
fn unreadable(id: &str, outcome: &str, error: &serde_json::Error) -> Error {
    let message = format!("the outcome kept for {id:?} cannot be read: {error}");
    if JsonText::parse(outcome).is_ok() {
        let hint = "was it written by a newer kv? read the key to learn what happened";
        return Error::new(Code::Unsupported, message).hint(hint).unknown();
    }
    let damaged = Error::new(Code::Unavailable, format!("the store is damaged: {message}"))
        .hint("read the key to learn what happened; restore a backup");
    Error { retry: false, ..damaged }.unknown()
}

fn reused(id: &str) -> Error {
    Error::bad_field("once", format!("{id:?} was used for another request within 24 h"))
        .hint("make up a new id for each write, and repeat it only with the same write")
}
