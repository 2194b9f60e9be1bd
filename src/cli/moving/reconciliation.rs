//! Makes one store have under some keys what another one has, without losing what it has of its own.

use kv::store::{Code, Error, Filter, Import, Mutation, OnConflict, Record, Result, Store, Stream};

use super::batch::Batch;
use super::comparison::{Difference, differences, reread};
use super::importer::{Importer, remove};

/// From which store to which one, and what happens to records that the target has of its own.
#[derive(Clone, Copy)]
pub(super) struct Reconciliation<'s> {
    pub(super) source: &'s dyn Store,
    pub(super) target: &'s dyn Store,
    pub(super) on_conflict: OnConflict,
}

impl Reconciliation<'_> {
    /// Brings what the source has under these keys. A record of the target that the source had once is a copy which was not
    /// brought up to date, and no conflict: it is replaced or, where the source has none any more, removed.
    ///
    /// # Errors
    /// `version_mismatch` for a record that the target has of its own, when a conflict is an error.
    pub(super) async fn bring(&self, keys: Vec<String>, importer: &mut Importer<'_>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::default();
        for Difference { key, one, other } in reread(self.source, self.target, keys).await? {
            let record = match (one, other) {
                (Some(record), None) => record,
                (Some(record), Some(present)) if self.may_replace(&present).await? => record,
                (Some(_), Some(present)) if self.on_conflict == OnConflict::Fail => {
                    return Err(conflict(&present));
                }
                (Some(_), Some(_)) => {
                    importer.count_skipped();
                    continue;
                }
                (None, Some(present)) => {
                    if self.is_earlier(&present).await? {
                        remove(self.target, &key, present.revision).await?;
                    }
                    continue;
                }
                (None, None) => continue,
            };
            let import = Mutation::Import(Import::of(record).on_conflict(OnConflict::Overwrite));
            if batch.is_full_for(&import) {
                importer.push(std::mem::take(&mut batch)).await?;
            }
            batch.add(import, None);
        }
        importer.push(batch).await?;
        importer.finish().await
    }

    async fn may_replace(&self, present: &Record) -> Result<bool> {
        Ok(self.on_conflict == OnConflict::Overwrite || self.is_earlier(present).await?)
    }

    /// Whether the source had this record once, as far as its stream tells.
    async fn is_earlier(&self, present: &Record) -> Result<bool> {
        let mut next = Some(Stream { reverse: true, filter: Filter::key(&present.key), ..Stream::default() });
        while let Some(request) = next {
            let page = match self.source.changes(request.clone()).await {
                Err(error) if error.code == Code::Trimmed => return Ok(false),
                page => page?,
            };
            if page.changes.iter().any(|change| differences(&change.record, present).is_empty()) {
                return Ok(true);
            }
            next = request.after_page(&page);
        }
        Ok(false)
    }
}

fn conflict(present: &Record) -> Error {
    let Record { key, version, .. } = present;
    let message = format!("{key} is there already, at version {version}, and is another record");
    Error::new(Code::VersionMismatch, message)
        .hint("--on-conflict skip leaves that record as it is, --on-conflict overwrite replaces it")
}
