//! Writes that are applied once: what is kept of them, and how a repeat is told from another request.

mod canonical_form;
mod first_form;

use serde::{Deserialize, Serialize};

use super::ranges::Progress;
use super::rows::OnceRow;
use super::{Outcome, Planner};
use crate::limits;
use crate::store::error::{Code, Error};
use crate::store::json_text::JsonText;
use crate::store::reply::{Deleted, Imported, MutationResult, Reply, Written};
use crate::store::request::{Write, WriteOperation};

/// Bytes of a hash that are kept: enough that no two requests meet by chance.
const HASH_BYTES: usize = 16;

/// The replies of the writes that can carry an id. The spelling stands in databases: it is only ever added to.
#[derive(Debug, Serialize, Deserialize)]
enum KeptReply {
    Written(Written),
    Deleted(Deleted),
    Imported(Imported),
    Checked,
    Mutated(Vec<MutationResult>),
    Trimmed(u64),
    /// No reply yet: a part of a large delete is done, and a repeat goes on with the rest. See [`Progress`].
    Deleting {
        deleted: u64,
        revision: u64,
        remaining: u64,
        from: String,
    },
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
            if !is_repeat {
                return Err(reused(id));
            }
            let kept = match read(id, &kept.outcome)? {
                KeptReply::Deleting { deleted, revision, remaining, from } => {
                    Progress { epoch: self.meta.epoch.clone(), deleted, revision, remaining, from }
                }
                KeptReply::Written(written) => return Ok(Reply::Written(written)),
                KeptReply::Deleted(deleted) => return Ok(Reply::Deleted(deleted)),
                KeptReply::Imported(imported) => return Ok(Reply::Imported(imported)),
                KeptReply::Checked => return Ok(Reply::Checked),
                KeptReply::Mutated(results) => return Ok(Reply::Mutated(results)),
                KeptReply::Trimmed(trimmed) => return Ok(Reply::Trimmed { trimmed }),
            };
            if self.progress.as_ref() != Some(&kept) {
                // It stands elsewhere than whoever asks has seen: nothing is done before that is known.
                let reply = Reply::Deleted(Deleted { deleted: kept.deleted, revision: Some(kept.revision) });
                self.unfinished = Some(kept);
                return Ok(reply);
            }
        }
        let goes_on = self.progress.is_some();
        let outcome = self.decide_now(write);
        if goes_on && outcome.is_err() {
            // What is done stays kept, so that a repeat can still do the rest.
            return outcome;
        }
        let text = text_of(&outcome, self.unfinished.clone()).map_err(Error::unknown)?;
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

fn text_of(outcome: &Outcome, unfinished: Option<Progress>) -> Result<String, Error> {
    let kept = match (unfinished, outcome) {
        (Some(Progress { epoch: _, deleted, revision, remaining, from }), _) => {
            Ok(KeptReply::Deleting { deleted, revision, remaining, from })
        }
        (None, Ok(Reply::Written(written))) => Ok(KeptReply::Written(written.clone())),
        (None, Ok(Reply::Deleted(deleted))) => Ok(KeptReply::Deleted(*deleted)),
        (None, Ok(Reply::Imported(imported))) => Ok(KeptReply::Imported(*imported)),
        (None, Ok(Reply::Checked)) => Ok(KeptReply::Checked),
        (None, Ok(Reply::Mutated(results))) => Ok(KeptReply::Mutated(results.clone())),
        (None, Ok(Reply::Trimmed { trimmed })) => Ok(KeptReply::Trimmed(*trimmed)),
        (None, Ok(other)) => return Err(Error::new(Code::Internal, format!("{other:?} cannot be kept"))),
        (None, Err(error)) => Err(error.clone()),
    };
    serde_json::to_string(&kept).map_err(|error| Error::new(Code::Internal, error.to_string()))
}

fn read(id: &str, outcome: &str) -> Result<KeptReply, Error> {
    serde_json::from_str(outcome).map_err(|error| unreadable(id, outcome, &error))?
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
