//! The rules of records: conditions, versions, types, times.

use super::Planner;
use super::rows::{Row, StreamRow};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::json_patch::{JsonPatchError, json_patch};
use crate::store::json_text::JsonText;
use crate::store::merge_patch::merge_patch;
use crate::store::record::Action;
use crate::store::request::{
    Condition, Delete, Deleted, Patch, PatchFormat, Put, TypeChange, Written, check_value,
};

/// A key as the batch has left it so far.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) present: Option<Row>,
    /// Whether the database holds a row of this key.
    pub(super) was_stored: bool,
    /// Whether this batch wrote or removed it.
    pub(super) changed: bool,
}

impl Slot {
    pub(super) fn stored(row: Row) -> Slot {
        Slot { present: Some(row), was_stored: true, changed: false }
    }
}

impl Planner {
    pub(super) fn put(&mut self, put: &Put, tx: u64) -> Result<Written> {
        check(&put.key, put.condition, self.present(&put.key))?;
        Ok(self.write(&put.key, put.value.clone(), &put.record_type, tx))
    }

    pub(super) fn patch(&mut self, patch: &Patch, tx: u64) -> Result<Written> {
        let present = self.present(&patch.key);
        check(&patch.key, patch.condition, present)?;
        let stored = present.and_then(|row| row.value.as_ref());
        if present.is_some() && stored.is_none() {
            return Err(Error::new(Code::Internal, format!("the value of {} was not loaded", patch.key)));
        }
        let value = match patch.format {
            PatchFormat::Merge => merge_patch(stored, &patch.patch),
            PatchFormat::JsonPatch => {
                let stored = stored.ok_or_else(|| {
                    Error::new(Code::NotFound, format!("{} is not there, so it cannot be patched", patch.key))
                })?;
                json_patch(stored, &patch.patch, limits::VALUE_BYTES).map_err(patch_error)?
            }
        };
        check_value(&value)?;
        let written = self.write(&patch.key, value.clone(), &patch.record_type, tx);
        Ok(Written { value: patch.return_value.then_some(value), ..written })
    }

    /// Whether a patch of this key can be decided: the key is absent, or its value is in memory.
    pub(super) fn is_loaded(&self, key: &str) -> bool {
        self.present(key).is_none_or(|row| row.value.is_some())
    }

    fn write(&mut self, key: &str, value: JsonText, record_type: &TypeChange, tx: u64) -> Written {
        let present = self.present(key);
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
            value: Some(value),
        };
        let action = if present.is_some() { Action::Update } else { Action::Create };
        let written = Written { version: row.version, revision: row.revision, value: None };
        self.append(tx, action, key, row.clone());
        self.set(key, Some(row));
        written
    }

    pub(super) fn delete(&mut self, delete: &Delete, tx: u64) -> Result<Deleted> {
        if let [key] = delete.keys.as_slice() {
            check(key, delete.condition, self.present(key))?;
        }
        let mut passed_over = 0;
        let mut deleted = 0;
        let mut seen = std::collections::HashSet::new();
        for key in &delete.keys {
            if delete.limit.is_some_and(|limit| deleted >= limit) {
                break;
            }
            if !seen.insert(key) || self.present(key).is_none() {
                continue;
            }
            if passed_over < delete.offset {
                passed_over += 1;
                continue;
            }
            self.remove(key, tx);
            deleted += 1;
        }
        Ok(Deleted { deleted, revision: (deleted > 0).then_some(self.meta.head) })
    }

    fn remove(&mut self, key: &str, tx: u64) {
        if let Some(row) = self.set(key, None) {
            self.append(tx, Action::Delete, key, row);
        }
    }

    fn present(&self, key: &str) -> Option<&Row> {
        self.records.get(key).and_then(|slot| slot.present.as_ref())
    }

    fn set(&mut self, key: &str, row: Option<Row>) -> Option<Row> {
        // Most keys of a batch that exist have a slot; `entry` would copy the key for all of them.
        if !self.records.contains_key(key) {
            self.records.insert(key.to_owned(), Slot::default());
        }
        let slot = self.records.get_mut(key)?;
        slot.changed = true;
        std::mem::replace(&mut slot.present, row)
    }

    fn append(&mut self, tx: u64, action: Action, key: &str, row: Row) {
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
fn check(key: &str, condition: Condition, present: Option<&Row>) -> Result<()> {
    let pairs = [
        ("version", condition.version, present.map_or(0, |row| row.version)),
        ("revision", condition.revision, present.map_or(0, |row| row.revision)),
    ];
    for (what, expected, current) in pairs {
        let Some(expected) = expected else { continue };
        if expected != current {
            return Err(mismatch(key, what, expected, current));
        }
    }
    Ok(())
}

fn patch_error(error: JsonPatchError) -> Error {
    let message = error.to_string();
    match error {
        JsonPatchError::Invalid(_) => Error::bad_field("patch", message),
        JsonPatchError::Failed { .. } => Error::new(Code::PatchFailed, message),
        JsonPatchError::TooLarge { .. } => Error::new(Code::TooLarge, message),
    }
}

fn mismatch(key: &str, what: &str, expected: u64, current: u64) -> Error {
    let message = match (expected, current) {
        (0, _) => format!("{key} is there already, at {what} {current}"),
        (_, 0) => format!("{key} is not there, so it is not at {what} {expected}"),
        _ => format!("{key} is at {what} {current}, not {expected}"),
    };
    let mut error = Error::new(Code::VersionMismatch, message).hint("read the key again and decide anew");
    error.details.current = Some(current);
    error
}
