//! What an import would do, found out by reads.

use std::collections::HashMap;

use kv::store::{
    Clock, Code, Error, Import, ImportOutcome, Mutation, OnConflict, Record, Result, Store, Timestamp,
};

use super::comparison::differences;
use super::tally::Tally;

/// Counts what would become of these mutations, if nothing else changed the store.
///
/// # Errors
/// `version_mismatch` with the index of the first import that would fail; otherwise those of the reads.
pub(super) async fn rehearse(store: &dyn Store, mutations: &[Mutation], tally: &mut Tally) -> Result<()> {
    let now = Timestamp::from_unix_ms(Clock::System.now_ms());
    let imports: Vec<&Import> = mutations
        .iter()
        .filter_map(|mutation| match mutation {
            Mutation::Import(import) => Some(import),
            _ => None,
        })
        .collect();
    let keys: Vec<&str> = imports.iter().map(|import| import.key.as_str()).collect();
    let present = by_key(store.get_batch(&keys).await?);
    for (index, import) in imports.into_iter().enumerate() {
        let outcome = match present.get(&import.key) {
            _ if import.expires.is_some_and(|expires| expires <= now) => ImportOutcome::Skipped,
            None => ImportOutcome::Created,
            Some(present) if differences(present, &record_of(import)).is_empty() => ImportOutcome::Unchanged,
            Some(present) => match import.on_conflict {
                OnConflict::Skip => ImportOutcome::Skipped,
                OnConflict::Overwrite => ImportOutcome::Updated,
                OnConflict::Fail => {
                    let message = format!(
                        "{} is there already, at version {}, and is another record",
                        import.key, present.version
                    );
                    return Err(Error::new(Code::VersionMismatch, message).at_index(index));
                }
            },
        };
        tally.count(outcome, import.expires, now);
    }
    Ok(())
}

/// Records by their keys.
pub(super) fn by_key(records: Vec<Record>) -> HashMap<String, Record> {
    records.into_iter().map(|record| (record.key.clone(), record)).collect()
}

fn record_of(import: &Import) -> Record {
    let Import { key, value, record_type, version, created, updated, expires, on_conflict: _ } =
        import.clone();
    let mut record = Record::new(key, value, created);
    (record.version, record.record_type) = (version, record_type);
    (record.updated, record.expires) = (updated, expires);
    record
}
