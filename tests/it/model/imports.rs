//! Imports, as one would explain them.

use kv::store::{Action, Code, Details, Import, ImportOutcome, Imported, OnConflict, Record, Timestamp};

use super::plain::{Model, Told, failure};

impl Model {
    pub(super) fn import(&mut self, import: &Import, tx: u64, now_ms: i64) -> Told<Imported> {
        let record = Record {
            key: import.key.clone(),
            version: import.version,
            revision: self.head() + 1,
            record_type: import.record_type.clone(),
            created: import.created,
            updated: import.updated,
            expires: import.expires,
            value: import.value.clone(),
        };
        let present = self.records.get(&import.key).cloned();
        let told = |record: Option<&Record>, outcome| {
            let numbers = record.map_or((0, 0), |record| (record.version, record.revision));
            Ok(Imported { version: numbers.0, revision: numbers.1, outcome })
        };
        if import.expires.is_some_and(|expires| expires.unix_ms() <= now_ms) {
            return told(present.as_ref(), ImportOutcome::Skipped);
        }
        if let Some(present) = &present {
            if (Record { revision: present.revision, ..record.clone() }) == *present {
                return told(Some(present), ImportOutcome::Unchanged);
            }
            match import.on_conflict {
                OnConflict::Fail => {
                    let details = Details { current: Some(present.version), ..Details::default() };
                    return failure(Code::VersionMismatch, details);
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
