//! The rules of records: conditions, versions, types, times.

use super::Planner;
use super::rows::{Row, StreamRow};
use crate::store::error::{Code, Error, Result};
use crate::store::record::Action;
use crate::store::request::{Condition, Delete, Deleted, Put, TypeChange, Written};

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
        let present = self.present(&put.key);
        check(&put.key, put.condition, present)?;
        let row = Row {
            version: present.map_or(1, |row| row.version + 1),
            revision: self.meta.head + 1,
            record_type: match &put.record_type {
                TypeChange::Keep => present.and_then(|row| row.record_type.clone()),
                TypeChange::Clear => None,
                TypeChange::Set(record_type) => Some(record_type.clone()),
            },
            created_ms: present.map_or(self.time_ms, |row| row.created_ms),
            updated_ms: self.time_ms,
            value: Some(put.value.clone()),
        };
        let action = if present.is_some() { Action::Update } else { Action::Create };
        let written = Written { version: row.version, revision: row.revision };
        self.append(tx, action, &put.key, row.clone());
        self.set(&put.key, Some(row));
        Ok(written)
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
