//! The rows of one table as a batch has left them so far.

use std::collections::HashMap;

/// Rows by their key: those that were read, and what the batch did to them.
#[derive(Debug)]
pub(super) struct Table<R>(HashMap<String, Slot<R>>);

/// A key as the batch has left it so far.
#[derive(Debug, Clone)]
pub(super) struct Slot<R> {
    present: Option<R>,
    /// Whether the database holds a row of this key.
    was_stored: bool,
    /// Whether this batch wrote or removed it.
    changed: bool,
}

impl<R: Clone> Table<R> {
    pub(super) fn stored(rows: HashMap<String, R>) -> Table<R> {
        let slot = |row| Slot { present: Some(row), was_stored: true, changed: false };
        Table(rows.into_iter().map(|(key, row)| (key, slot(row))).collect())
    }

    /// Adds a row that the database holds, unless its key is there already.
    pub(super) fn add_stored(&mut self, key: String, row: R) {
        let slot = Slot { present: Some(row), was_stored: true, changed: false };
        self.0.entry(key).or_insert(slot);
    }

    pub(super) fn get(&self, key: &str) -> Option<&R> {
        self.0.get(key).and_then(|slot| slot.present.as_ref())
    }

    /// Writes or removes a row, and answers what was there.
    pub(super) fn set(&mut self, key: &str, row: Option<R>) -> Option<R> {
        // Most keys of a batch that exist have a slot; `entry` would copy the key for all of them.
        if !self.0.contains_key(key) {
            self.0.insert(key.to_owned(), Slot { present: None, was_stored: false, changed: false });
        }
        let slot = self.0.get_mut(key)?;
        slot.changed = true;
        std::mem::replace(&mut slot.present, row)
    }

    /// What is there, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &R)> {
        self.0.iter().filter_map(|(key, slot)| slot.present.as_ref().map(|row| (key, row)))
    }

    /// The keys that are there, in no order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        self.iter().map(|(key, _)| key)
    }

    /// All that is known of a key, for [`restore`](Table::restore).
    pub(super) fn slot(&self, key: &str) -> Option<Slot<R>> {
        self.0.get(key).cloned()
    }

    pub(super) fn restore(&mut self, key: String, slot: Option<Slot<R>>) {
        match slot {
            Some(slot) => self.0.insert(key, slot),
            None => self.0.remove(&key),
        };
    }

    /// The rows to write, in the order of their keys, and the keys to remove.
    pub(super) fn into_changes(self) -> (Vec<(String, R)>, Vec<String>) {
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for (key, slot) in self.0 {
            match slot.present {
                Some(row) if slot.changed => puts.push((key, row)),
                None if slot.changed && slot.was_stored => deletes.push(key),
                _ => {}
            }
        }
        // Neighbours share pages of the database.
        puts.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        (puts, deletes)
    }
}
