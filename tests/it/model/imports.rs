//! Imports, as one would explain them.

use kv::store::{Action, Code, Details, Import, ImportOutcome, Imported, OnConflict, Record, Timestamp};

use super::plain::{Model, Told, failure_with};

impl Model {
    pub(super) fn import(&mut self, import: &Import, tx: u64, now_ms: i64) -> Told<Imported> {
        let present = self.records.get(&import.key).cloned();
        let told = |record: Option<&Record>, outcome| {
            let numbers = record.map_or((0, 0), |record| (record.version, record.revision));
            Ok(Imported { version: numbers.0, revision: numbers.1, outcome })
        };
        if import.expires.is_some_and(|expires| expires.unix_ms() <= now_ms) {
            return told(present.as_ref(), ImportOutcome::Skipped);
        }
        if let Some(present) = &present {
            let mut expected = present.clone();
            // What is not given is as it is, and a later version is as good as that which is given.
            expected.version = import.version.unwrap_or(0).max(present.version);
            expected.created = import.created.unwrap_or(present.created);
            expected.updated = import.updated.unwrap_or(present.updated);
            expected.record_type.clone_from(&import.record_type);
            expected.expires = import.expires;
            expected.value = import.value.clone();
            if expected == *present {
                return told(Some(present), ImportOutcome::Unchanged);
            }
            match import.on_conflict {
                OnConflict::Fail => {
                    let set = |details: &mut Details| details.current = Some(present.version);
                    return failure_with(Code::VersionMismatch, set);
                }
                OnConflict::Skip => return told(Some(present), ImportOutcome::Skipped),
                OnConflict::Overwrite => {}
            }
        }
        let time = Timestamp::from_unix_ms(self.time_ms(now_ms));
        let (action, outcome, least_version, first_written) = match &present {
            None => (Action::Create, ImportOutcome::Created, 1, time),
            Some(present) => (Action::Update, ImportOutcome::Updated, present.version + 1, present.created),
        };
        let (created, updated) = match (import.created, import.updated) {
            (None, None) => (first_written, time),
            (Some(one), None) | (None, Some(one)) => (one, one),
            (Some(created), Some(updated)) => (created, updated),
        };
        let mut record = Record::new(&import.key, import.value.clone(), created);
        record.version = import.version.unwrap_or(0).max(least_version);
        record.revision = self.head() + 1;
        record.record_type.clone_from(&import.record_type);
        (record.updated, record.expires) = (updated, import.expires);
        self.append(action, record.clone(), tx, time);
        self.records.insert(record.key.clone(), record.clone());
        told(Some(&record), outcome)
    }
}
