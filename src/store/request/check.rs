//! Refuses what no store could answer, before anything is sent or queued; and what a request weighs.

use super::{
    ConsumerCommit, ConsumerHold, ConsumerLeave, LockAcquire, LockRelease, Mutation, Request, Retention,
    Write, WriteOperation,
};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::json_text::JsonText;
use crate::store::keys::{check_key, check_name, check_text};
use crate::store::time::whole_ms;

impl Request {
    /// Refuses what no store could answer, before anything is sent or queued.
    ///
    /// # Errors
    /// `bad_request` or `too_large`, with the field.
    pub fn check(&self) -> Result<()> {
        match self {
            Request::Init | Request::Compact => Ok(()),
            Request::Write(write) => write.check(),
            Request::Read(read) => read.check(),
            Request::Restore { epoch } => check_name("epoch", epoch),
        }
    }
}

impl Write {
    fn check(&self) -> Result<()> {
        if let Some(once) = &self.once {
            check_text("once", "once", once, limits::ONCE_BYTES)?;
            if once.is_empty() {
                return Err(Error::bad_field("once", "once has at least one byte"));
            }
        }
        if let Some(fence) = &self.fence {
            check_name("fence", &fence.lock)?;
        }
        match &self.operation {
            WriteOperation::Apply(mutation) => mutation.check(),
            WriteOperation::Mutate(mutations) => check_mutate(mutations),
            WriteOperation::Trim(_) => Ok(()),
            WriteOperation::Retain(Retention { age, count, unread: _ }) => {
                self.check_unguarded()?;
                match age.map(whole_ms) {
                    Some(age_ms) if !(1..=limits::LOCK_DURATION_MS).contains(&age_ms) => {
                        Err(Error::bad_field("age_ms", "changes are kept for 1 ms to 100 years"))
                    }
                    _ if *count == Some(0) => Err(Error::bad_field("count", "at least 1 change is kept")
                        .hint("stream.trim removes what is there now")),
                    _ => Ok(()),
                }
            }
            WriteOperation::RemoveExpired => self.check_unguarded(),
            WriteOperation::LockAcquire(LockAcquire { name, owner, duration, fence: _ }) => {
                self.check_unguarded()?;
                check_name("name", name)?;
                check_name("owner", owner)?;
                match whole_ms(*duration) {
                    1..=limits::LOCK_DURATION_MS => Ok(()),
                    _ => Err(Error::bad_field("duration_ms", "a lock is held for 1 ms to 100 years")),
                }
            }
            WriteOperation::LockRelease(LockRelease { name, owner, .. }) => {
                self.check_unguarded()?;
                check_name("name", name)?;
                check_name("owner", owner)
            }
            WriteOperation::ConsumerCommit(ConsumerCommit { name, holder, filter, .. }) => {
                self.check_unguarded()?;
                filter.check()?;
                holder.as_ref().map_or(Ok(()), |holder| check_name("holder", holder))?;
                check_name("name", name)
            }
            WriteOperation::ConsumerDelete { name }
            | WriteOperation::ConsumerHold(ConsumerHold { name, .. })
            | WriteOperation::ConsumerLeave(ConsumerLeave { name, .. }) => {
                self.check_unguarded()?;
                check_name("name", name)
            }
        }
    }

    fn check_unguarded(&self) -> Result<()> {
        match (&self.once, &self.fence) {
            (None, None) => Ok(()),
            (Some(_), _) => {
                Err(Error::bad_field("once", "this operation takes no once: repeating it is safe"))
            }
            (_, Some(_)) => Err(Error::bad_field("fence", "this operation takes no fence")),
        }
    }

    /// What the write counts for in a batch, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let content = match &self.operation {
            WriteOperation::Apply(mutation) => mutation.weight_bytes(),
            WriteOperation::Mutate(mutations) => mutations.iter().map(Mutation::weight_bytes).sum(),
            _ => 0,
        };
        limits::REQUEST_WEIGHT_BYTES.max(content)
    }
}

fn check_mutate(mutations: &[Mutation]) -> Result<()> {
    let bytes: usize = mutations.iter().map(Mutation::weight_bytes).sum();
    for (what, count, max) in [
        ("mutations", mutations.len(), limits::MUTATIONS_PER_REQUEST),
        ("bytes", bytes, limits::MUTATE_BYTES),
    ] {
        if count > max {
            return Err(Error::new(Code::TooLarge, format!("a mutate of {count} {what} is over {max}")));
        }
    }
    let check =
        |(index, mutation): (usize, &Mutation)| mutation.check().map_err(|error| error.at_index(index));
    mutations.iter().enumerate().try_for_each(check)
}

/// Checks the size of a value.
///
/// # Errors
/// `too_large`.
pub(crate) fn check_value(value: &JsonText) -> Result<()> {
    let bytes = value.get().len();
    if bytes > limits::VALUE_BYTES {
        return Err(Error::new(
            Code::TooLarge,
            format!("a value of {bytes} bytes is over {}", limits::VALUE_BYTES),
        ));
    }
    Ok(())
}

pub(super) fn check_keys(keys: &[String]) -> Result<()> {
    if keys.len() > limits::KEYS_PER_REQUEST {
        return Err(Error::new(
            Code::TooLarge,
            format!("{} keys in one request are over {}", keys.len(), limits::KEYS_PER_REQUEST),
        ));
    }
    keys.iter().try_for_each(|key| check_key(key))
}
