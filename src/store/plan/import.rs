//! The rules of imports: a record keeps its numbers and times, and the same record is not written again.

use super::Planner;
use super::expiry::is_over;
use super::rows::Row;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::reply::{ImportOutcome, Imported};
use crate::store::request::{Import, OnConflict};
use crate::store::time::Timestamp;

impl Planner {
    pub(super) fn import(&mut self, import: &Import, tx: u64) -> Result<Imported> {
        let present = self.records.get(&import.key);
        let left = |outcome| Imported {
            version: present.map_or(0, |row| row.version),
            revision: present.map_or(0, |row| row.revision),
            outcome,
        };
        if is_over(import.expires.map(|expires| expires.unix_ms()), self.now_ms) {
            return Ok(left(ImportOutcome::Skipped));
        }
        let outcome = match present {
            None => ImportOutcome::Created,
            Some(present) if is_stored(import, present)? => return Ok(left(ImportOutcome::Unchanged)),
            Some(present) => match import.on_conflict {
                OnConflict::Fail => return Err(conflict(&import.key, present)),
                OnConflict::Skip => return Ok(left(ImportOutcome::Skipped)),
                OnConflict::Overwrite => ImportOutcome::Updated,
            },
        };
        let row = self.imported_row(import, present);
        let written = self.store(&import.key, row, tx);
        Ok(Imported { version: written.version, revision: written.revision, outcome })
    }

    /// The row of an import that takes the place of this one. What is not given is as for a put; one time stands for the other.
    fn imported_row(&self, import: &Import, present: Option<&Row>) -> Row {
        // A condition on a version would hold for two records, if the version could go back.
        let next = present.map_or(1, |row| row.version + 1);
        let version = import.version.map_or(next, |version| version.max(next));
        let created = import.created.or(import.updated).map(|time| time.unix_ms());
        let updated = import.updated.or(import.created).map(|time| time.unix_ms());
        Row {
            version,
            revision: self.meta.head + 1,
            record_type: import.record_type.clone(),
            created_ms: created.unwrap_or_else(|| present.map_or(self.time_ms, |row| row.created_ms)),
            updated_ms: updated.unwrap_or(self.time_ms),
            expires_ms: import.expires.map(|expires| expires.unix_ms()),
            value: Some(import.value.clone()),
        }
    }
}

/// Whether the import would store what is there.
fn is_stored(import: &Import, present: &Row) -> Result<bool> {
    let Row { version, revision: _, record_type, created_ms, updated_ms, expires_ms, value } = present;
    let times = (
        Timestamp::from_unix_ms(*created_ms),
        Timestamp::from_unix_ms(*updated_ms),
        expires_ms.map(Timestamp::from_unix_ms),
    );
    if !import.is_all_but_value(*version, record_type.as_deref(), times) {
        return Ok(false);
    }
    let Some(value) = value else {
        let message =
            format!("the values that one mutate reads are over {} bytes", limits::BATCH_LOADED_BYTES);
        return Err(Error::new(Code::TooLarge, message).hint("import fewer large values at once"));
    };
    Ok(*value == import.value)
}

fn conflict(key: &str, present: &Row) -> Error {
    let message = format!("{key} is there already, at version {}, and is another record", present.version);
    let mut error = Error::new(Code::VersionMismatch, message)
        .hint("say what is to happen then: on_conflict skip leaves that record, overwrite replaces it");
    error.details.current = Some(present.version);
    error
}
