//! The rules of records: conditions, versions, types, times.

use std::collections::HashSet;

use super::Planner;
use super::rows::{Row, StreamRow};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::json_patch::{JsonPatchError, json_patch};
use crate::store::json_text::JsonText;
use crate::store::merge_patch::merge_patch_counted;
use crate::store::record::Action;
use crate::store::reply::{Deleted, Written};
use crate::store::request::{
    Check, Condition, Delete, ExpiryChange, Patch, PatchFormat, Put, Target, TypeChange, check_value,
};
use crate::store::work::Work;

impl Planner {
    pub(super) fn put(&mut self, put: &Put, tx: u64) -> Result<Written> {
        check_condition(&put.key, put.condition, self.records.get(&put.key))?;
        Ok(self.write(&put.key, put.value.clone(), &put.record_type, put.expiry, tx))
    }

    pub(super) fn patch(&mut self, patch: &Patch, tx: u64) -> Result<Written> {
        let stored = self.value_to_change(&patch.key, patch.condition)?;
        self.check_work()?;
        let mut work = Work::unbounded();
        let value = match (patch.format, &stored) {
            (PatchFormat::Merge, stored) => Ok(merge_patch_counted(stored.as_ref(), &patch.patch, &mut work)),
            (PatchFormat::JsonPatch, Some(stored)) => {
                json_patch(stored, &patch.patch, limits::VALUE_BYTES, &mut work).map_err(patch_error)
            }
            (PatchFormat::JsonPatch, None) => Err(Error::new(
                Code::NotFound,
                format!("{} is not there, so it cannot be patched", patch.key),
            )),
        };
        // Also of a patch that failed: the next one waits all the same.
        self.spend_work(&work);
        let value = value?;
        check_value(&value)?;
        self.spend_value_bytes(value.get().len(), patch.return_value)?;
        let written = self.write(&patch.key, value.clone(), &patch.record_type, patch.expiry, tx);
        Ok(Written { value: patch.return_value.then_some(value), ..written })
    }

    /// The value of a key that a write changes in part; none when the key is absent.
    pub(super) fn value_to_change(&self, key: &str, condition: Condition) -> Result<Option<JsonText>> {
        let present = self.records.get(key);
        check_condition(key, condition, present)?;
        let Some(row) = present else { return Ok(None) };
        if row.value.is_none() {
            let message =
                format!("the values that one mutate changes are over {} bytes", limits::BATCH_LOADED_BYTES);
            return Err(Error::new(Code::TooLarge, message).hint("change fewer large values at once"));
        }
        Ok(row.value.clone())
    }

    /// Whether the value of this key is in memory, or there is none because the key is absent.
    pub(super) fn is_loaded(&self, key: &str) -> bool {
        self.records.get(key).is_none_or(|row| row.value.is_some())
    }

    pub(super) fn write(
        &mut self,
        key: &str,
        value: JsonText,
        record_type: &TypeChange,
        expiry: ExpiryChange,
        tx: u64,
    ) -> Written {
        let present = self.records.get(key);
        let row = Row {
            version: present.map_or(1, |row| row.version + 1),
            revision: self.meta.head + 1,
            record_type: match record_type {
                TypeChange::Keep => present.and_then(|row| row.record_type.clone()),
                TypeChange::Clear => None,
                TypeChange::Set(record_type) => Some(record_type.clone()),
            },
            created_ms: present.map_or(self.time_ms, |row| row.created_ms),
            updated_ms: self.time_ms,
            expires_ms: self.expiry(expiry, present),
            value: Some(value),
        };
        self.store(key, row, tx)
    }

    /// Puts a row in the place of the present one, if there is one, and appends the change.
    pub(super) fn store(&mut self, key: &str, row: Row, tx: u64) -> Written {
        self.written_bytes += row.value_text().map_or(0, str::len);
        let action = if self.records.get(key).is_some() { Action::Update } else { Action::Create };
        let written = Written { version: row.version, revision: row.revision, value: None };
        self.append(tx, action, key, row.clone());
        self.set(key, Some(row));
        written
    }

    pub(super) fn check(&self, check: &Check) -> Result<()> {
        check_condition(&check.key, check.condition, self.records.get(&check.key))
    }

    pub(super) fn delete(&mut self, delete: &Delete, tx: u64) -> Result<Deleted> {
        let candidates = match &delete.target {
            Target::Keys(keys) => {
                if let [key] = keys.as_slice() {
                    check_condition(key, delete.condition, self.records.get(key))?;
                }
                let mut seen = HashSet::new();
                keys.iter().filter(|key| self.records.get(key).is_some() && seen.insert(*key)).collect()
            }
            Target::Selection(selector) => {
                let range = selector.key_range();
                let mut keys: Vec<&String> = self.records.keys().filter(|key| range.contains(key)).collect();
                keys.sort_unstable();
                keys
            }
        };
        let reach = candidates
            .len()
            .min(saturating_usize(delete.offset.saturating_add(delete.limit.unwrap_or(u64::MAX))));
        let chosen: Vec<String> = candidates[..reach]
            .iter()
            .skip(saturating_usize(delete.offset))
            .map(|&key| key.clone())
            .collect();
        if let Target::Selection(_) = &delete.target {
            self.spend_range_records(reach as u64)?;
        }
        for key in &chosen {
            self.remove(key, tx);
        }
        Ok(Deleted { deleted: chosen.len() as u64, revision: (!chosen.is_empty()).then_some(self.meta.head) })
    }

    fn remove(&mut self, key: &str, tx: u64) {
        if let Some(row) = self.set(key, None) {
            self.append(tx, Action::Delete, key, row);
        }
    }

    pub(super) fn set(&mut self, key: &str, row: Option<Row>) -> Option<Row> {
        self.remember(key);
        self.records.set(key, row)
    }

    pub(super) fn append(&mut self, tx: u64, action: Action, key: &str, row: Row) {
        self.meta.head += 1;
        self.stream.push(StreamRow {
            seq: self.meta.head,
            tx,
            tx_end: false,
            action,
            time_ms: self.time_ms,
            key: key.to_owned(),
            row,
        });
    }
}

/// An absent key counts as version and revision 0, so that 0 means "only if it is absent" and any other number
/// fails on an absent key.
fn check_condition(key: &str, condition: Condition, present: Option<&Row>) -> Result<()> {
    let pairs = [
        ("version", condition.version, present.map_or(0, |row| row.version)),
        ("revision", condition.revision, present.map_or(0, |row| row.revision)),
    ];
    match (condition.exists, present) {
        (Some(true), None) => return Err(mismatch(format!("{key} is not there"), 0)),
        (Some(false), Some(row)) => return Err(mismatch(is_there(key, "version", row.version), row.version)),
        _ => {}
    }
    for (what, expected, current) in pairs {
        let Some(expected) = expected else { continue };
        if expected != current {
            let message = match (expected, current) {
                (0, _) => is_there(key, what, current),
                (_, 0) => format!("{key} is not there, so it is not at {what} {expected}"),
                _ => format!("{key} is at {what} {current}, not {expected}"),
            };
            return Err(mismatch(message, current));
        }
    }
    Ok(())
}

fn saturating_usize(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn patch_error(error: JsonPatchError) -> Error {
    let message = error.to_string();
    match error {
        JsonPatchError::Invalid(_) => Error::bad_field("patch", message),
        JsonPatchError::Failed { .. } => Error::new(Code::PatchFailed, message),
        JsonPatchError::TooLarge { .. } => {
            Error::new(Code::TooLarge, message).hint("send fewer operations at once, or put the whole value")
        }
    }
}

fn is_there(key: &str, what: &str, current: u64) -> String {
    format!("{key} is there already, at {what} {current}")
}

fn mismatch(message: String, current: u64) -> Error {
    let mut error = Error::new(Code::VersionMismatch, message).hint("read the key again and decide anew");
    error.details.current = Some(current);
    error
}
