//! The rules of imports: a record keeps its numbers and times, and the same record is not written again.

use super::Planner;
use super::expiry::is_over;
use super::rows::Row;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::reply::{ImportOutcome, Imported};
use crate::store::request::{Import, OnConflict};

impl Planner {
    pub(super) fn import(&mut self, import: &Import, tx: u64) -> Result<Imported> {
        let row = self.imported_row(import);
        let present = self.records.get(&import.key);
        let left = |outcome| Imported {
            version: present.map_or(0, |row| row.version),
            revision: present.map_or(0, |row| row.revision),
            outcome,
        };
        if is_over(row.expires_ms, self.now_ms) {
            return Ok(left(ImportOutcome::Skipped));
        }
        let outcome = match present {
            None => ImportOutcome::Created,
            Some(present) if is_same(present, &row)? => return Ok(left(ImportOutcome::Unchanged)),
            Some(present) => match import.on_conflict {
                OnConflict::Fail => return Err(conflict(&import.key, present)),
                OnConflict::Skip => return Ok(left(ImportOutcome::Skipped)),
                OnConflict::Overwrite => ImportOutcome::Updated,
            },
        };
        let written = self.store(&import.key, row, tx);
        Ok(Imported { version: written.version, revision: written.revision, outcome })
    }

    fn imported_row(&self, import: &Import) -> Row {
        Row {
            version: import.version,
            revision: self.meta.head + 1,
            record_type: import.record_type.clone(),
            created_ms: import.created.unix_ms(),
            updated_ms: import.updated.unix_ms(),
            expires_ms: import.expires.map(|expires| expires.unix_ms()),
            value: Some(import.value.clone()),
        }
    }
}

/// Whether two rows are the same record, whatever their revisions are.
fn is_same(present: &Row, imported: &Row) -> Result<bool> {
    let Row { version, revision: _, record_type, created_ms, updated_ms, expires_ms, value } = imported;
    let is_same_head = (version, record_type) == (&present.version, &present.record_type)
        && (created_ms, updated_ms, expires_ms)
            == (&present.created_ms, &present.updated_ms, &present.expires_ms);
    if is_same_head && present.value.is_none() {
        let message =
            format!("the values that one mutate reads are over {} bytes", limits::BATCH_LOADED_BYTES);
        return Err(Error::new(Code::TooLarge, message).hint("import fewer large values at once"));
    }
    Ok(is_same_head && *value == present.value)
}

fn conflict(key: &str, present: &Row) -> Error {
    let message = format!("{key} is there already, at version {}, and is another record", present.version);
    let mut error = Error::new(Code::VersionMismatch, message)
        .hint("say what is to happen then: on_conflict skip leaves that record, overwrite replaces it");
    error.details.current = Some(present.version);
    error
}
