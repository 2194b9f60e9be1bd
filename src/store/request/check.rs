//! Refuses what no store could answer, before anything is sent or queued; and what a request weighs.

use super::{Condition, Mutation, Read, Request, Selector, TypeChange, Write, WriteOperation};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::json_text::JsonText;
use crate::store::keys::{check_bound, check_key, check_name};

impl Request {
    /// Refuses what no store could answer, before anything is sent or queued.
    ///
    /// # Errors
    /// `bad_request` or `too_large`, with the field.
    pub fn check(&self) -> Result<()> {
        match self {
            Request::Init => Ok(()),
            Request::Write(write) => write.check(),
            Request::Read(read) => read.check(),
        }
    }
}

impl Write {
    fn check(&self) -> Result<()> {
        match &self.operation {
            WriteOperation::Apply(mutation) => mutation.check(),
        }
    }

    /// What the write counts for in a batch, in bytes.
    #[must_use]
    pub fn weight_bytes(&self) -> usize {
        let content = match &self.operation {
            WriteOperation::Apply(mutation) => mutation.weight_bytes(),
        };
        limits::REQUEST_WEIGHT_BYTES.max(content)
    }
}

impl Mutation {
    fn check(&self) -> Result<()> {
        match self {
            Mutation::Put(put) => {
                check_key(&put.key)?;
                put.record_type.check()?;
                check_value(&put.value)
            }
            Mutation::Patch(patch) => {
                check_key(&patch.key)?;
                patch.record_type.check()?;
                check_value(&patch.patch)
            }
            Mutation::Delete(delete) => {
                check_keys(&delete.keys)?;
                if delete.condition != Condition::default() && delete.keys.len() != 1 {
                    return Err(Error::bad_field("version", "a condition goes with exactly one key"));
                }
                Ok(())
            }
        }
    }

    fn weight_bytes(&self) -> usize {
        match self {
            Mutation::Put(put) => put.key.len() + put.value.get().len(),
            Mutation::Patch(patch) => patch.key.len() + patch.patch.get().len(),
            Mutation::Delete(delete) => delete.keys.iter().map(String::len).sum(),
        }
    }
}

impl Read {
    fn check(&self) -> Result<()> {
        match self {
            Read::Get { key } => check_key(key),
            Read::GetBatch { keys } => check_keys(keys),
            Read::List(list) => {
                if let Some(after) = &list.after {
                    check_bound("after", after)?;
                }
                list.selector.check()
            }
            Read::Count(selector) => selector.check(),
            Read::Stream(stream) => {
                if let Some(prefix) = &stream.prefix {
                    check_bound("prefix", prefix)?;
                }
                stream.record_type.as_deref().map_or(Ok(()), |name| check_name("type", name))
            }
            Read::StreamSeq | Read::Identity => Ok(()),
        }
    }
}

impl TypeChange {
    fn check(&self) -> Result<()> {
        if let TypeChange::Set(record_type) = self { check_name("type", record_type) } else { Ok(()) }
    }
}

impl Selector {
    fn check(&self) -> Result<()> {
        match self {
            Selector::All => Ok(()),
            Selector::Prefix(prefix) => check_bound("prefix", prefix),
            Selector::Range { from, to } => {
                check_bound("from", from)?;
                check_bound("to", to)
            }
            Selector::Type(record_type) => check_name("type", record_type),
        }
    }
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

fn check_keys(keys: &[String]) -> Result<()> {
    if keys.len() > limits::KEYS_PER_REQUEST {
        return Err(Error::new(
            Code::TooLarge,
            format!("{} keys in one request are over {}", keys.len(), limits::KEYS_PER_REQUEST),
        ));
    }
    keys.iter().try_for_each(|key| check_key(key))
}
