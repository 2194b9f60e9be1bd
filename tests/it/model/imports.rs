//! Imports, as one would explain them.

use kv::store::{Action, Code, Details, Import, ImportOutcome, Imported, OnConflict, Record, Timestamp};

use super::plain::{Model, Told, failure_with};

impl Model {
    pub(super) fn import(&mut self, import: &Import, tx: u64, now_ms: i64) -> Told<Imported> {
        let mut record = Record::new(&import.key, import.value.clone(), import.created);
        (record.version, record.revision) = (import.version, self.head() + 1);
        record.record_type.clone_from(&import.record_type);
        (record.updated, record.expires) = (import.updated, import.expires);
        let present = self.records.get(&import.key).cloned();
        let told = |record: Option<&Record>, outcome| {
            let numbers = record.map_or((0, 0), |record| (record.version, record.revision));
            Ok(Imported { version: numbers.0, revision: numbers.1, outcome })
        };
        if import.expires.is_some_and(|expires| expires.unix_ms() <= now_ms) {
            return told(present.as_ref(), ImportOutcome::Skipped);
        }
        if let Some(present) = &present {
            let mut same = record.clone();
            same.revision = present.revision;
            if same == *present {
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
        let (action, outcome) = match present {
            None => (Action::Create, ImportOutcome::Created),
            Some(_) => (Action::Update, ImportOutcome::Updated),
        };
        self.append(action, record.clone(), tx, Timestamp::from_unix_ms(self.time_ms(now_ms)));
        self.records.insert(record.key.clone(), record.clone());
        told(Some(&record), outcome)
    }
}
