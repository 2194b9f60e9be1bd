//! Makes one store have under some keys what another one has, without losing what it has of its own.

use std::collections::HashMap;

use kv::limits;
use kv::store::{
    Change, Code, Delete, Error, Filter, Import, Mutation, OnConflict, Record, Result, Store, Stream,
};
use sha2::{Digest as _, Sha256};

use super::batch::Batch;
use super::comparison::{Difference, reread};
use super::importer::{Importer, remove};

/// From which store to which one, and what happens to records that the target has of its own.
#[derive(Clone, Copy)]
pub(super) struct Reconciliation<'s> {
    pub(super) source: &'s dyn Store,
    pub(super) target: &'s dyn Store,
    pub(super) on_conflict: OnConflict,
}

impl Reconciliation<'_> {
    /// Brings what the source has under these keys, of which each page is read at once. A record of the target that the source had once is a copy which was not
    /// brought up to date, and no conflict: it is replaced or, where the source has none any more, removed. It gets the version that it
    /// has in the source, behind a delete where that has begun anew there.
    ///
    /// # Errors
    /// `version_mismatch` for a record that the target has of its own, when a conflict is an error.
    pub(super) async fn bring(&self, pages: Vec<Vec<String>>, importer: &mut Importer<'_>) -> Result<()> {
        let mut doubtful = Vec::new();
        let mut present = HashMap::new();
        // Several batches that were answered at once may have left more keys than one request can name.
        for keys in pages.iter().flat_map(|keys| keys.chunks(limits::KEYS_PER_REQUEST)) {
            let mut differing = Vec::new();
            for Difference { key, other, .. } in self.differences(keys.to_vec()).await? {
                present.extend(other.map(|other| (key.clone(), Fingerprint::of(&other))));
                differing.push(key);
            }
            if !differing.is_empty() {
                doubtful.push(differing);
            }
        }
        let copies = self.copies(present).await?;
        for keys in doubtful {
            let differences = self.differences(keys).await?;
            self.replace(differences, &copies, importer).await?;
        }
        importer.finish().await
    }

    /// The differences under these keys that count: a record that took the place of another one has a later version.
    async fn differences(&self, keys: Vec<String>) -> Result<Vec<Difference>> {
        let mut differences = reread(self.source, self.target, keys).await?;
        differences.retain(|difference| !difference.is_later_version());
        Ok(differences)
    }

    /// Brings the records of the source that differ. The target has copies of records that the source had once.
    async fn replace(
        &self,
        differences: Vec<Difference>,
        copies: &HashMap<String, Fingerprint>,
        importer: &mut Importer<'_>,
    ) -> Result<()> {
        let mut batch = Batch::default();
        for Difference { key, one, other } in differences {
            let is_copy =
                other.as_ref().is_some_and(|other| copies.get(&key) == Some(&Fingerprint::of(other)));
            let (record, is_new_life) = match (one, other) {
                (Some(record), None) => (record, false),
                (Some(record), Some(present)) if is_copy || self.on_conflict == OnConflict::Overwrite => {
                    // The source has removed what was copied, and has begun anew.
                    let is_new_life = is_copy && record.version <= present.version;
                    (record, is_new_life)
                }
                (Some(_), Some(present)) if self.on_conflict == OnConflict::Fail => {
                    return Err(conflict(&present));
                }
                (Some(_), Some(_)) => {
                    importer.count_skipped();
                    continue;
                }
                (None, Some(present)) => {
                    if is_copy && remove(self.target, &key, present.revision).await? {
                        importer.count_removed();
                    }
                    continue;
                }
                (None, None) => continue,
            };
            let import = Mutation::Import(Import::of(record).on_conflict(OnConflict::Overwrite));
            let has_room_for_two = batch.mutations.len() + 2 <= limits::MUTATIONS_PER_REQUEST;
            if batch.is_full_for(&import) || !has_room_for_two {
                importer.push(std::mem::take(&mut batch)).await?;
            }
            if is_new_life {
                batch.add(Mutation::Delete(Delete::keys([key])), None);
            }
            batch.add(import, None);
        }
        importer.push(batch).await
    }

    /// Those of the records of the target that the source had once, as far as its stream tells. The stream is read once for all
    /// of them, so it is best to ask for many: of a record that was copied long ago it tells at its beginning.
    async fn copies(&self, present: HashMap<String, Fingerprint>) -> Result<HashMap<String, Fingerprint>> {
        let filter = filter_of(present.keys().map(String::as_str));
        let (mut sought, mut found) = (present, HashMap::new());
        let mut next = Some(Stream { reverse: true, filter, ..Stream::default() });
        while let Some(request) = next.filter(|_| !sought.is_empty()) {
            let page = match self.source.changes(request.clone()).await {
                Err(error) if error.code == Code::Trimmed => break,
                page => page?,
            };
            for Change { record, .. } in &page.changes {
                if sought.get(&record.key).is_some_and(|copy| copy.is_copy_of(record)) {
                    found.extend(sought.remove_entry(&record.key));
                }
            }
            next = request.after_page(&page);
        }
        Ok(found)
    }
}

/// A record of which only as much is kept as tells it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    version: u64,
    /// The hash of all but the key, the version and the revision.
    content: [u8; 32],
}

impl Fingerprint {
    fn of(record: &Record) -> Fingerprint {
        let Record { version, record_type, created, updated, expires, value, .. } = record;
        // A text in quotes, and numbers: no two heads are written alike, and none goes on in the value.
        let head = format!("{:?}", (record_type, created, updated, expires));
        let content = Sha256::new().chain_update(head).chain_update(value.get()).finalize().into();
        Fingerprint { version: *version, content }
    }

    /// As [`is_copy`](super::comparison::is_copy).
    fn is_copy_of(&self, record: &Record) -> bool {
        let other = Fingerprint::of(record);
        self.version >= other.version && self.content == other.content
    }
}

/// A filter for the changes of these keys, and of few others: by the key, or by the prefix that they share.
fn filter_of<'a>(mut keys: impl Iterator<Item = &'a str>) -> Filter {
    let Some(first) = keys.next() else { return Filter::default() };
    let (prefix, count) = keys.fold((first, 1), |(prefix, count), key| (shared(prefix, key), count + 1));
    match (prefix, count) {
        (key, 1) => Filter::key(key),
        ("", _) => Filter::default(),
        (prefix, _) => Filter::prefix(prefix),
    }
}

/// The characters with which both texts begin.
fn shared<'a>(one: &'a str, other: &str) -> &'a str {
    let pairs = one.char_indices().zip(other.chars());
    let length = pairs.take_while(|((_, one), other)| one == other).last();
    length.map_or("", |((start, last), _)| &one[..start + last.len_utf8()])
}

fn conflict(present: &Record) -> Error {
    let Record { key, version, .. } = present;
    let message = format!("{key} is there already, at version {version}, and is another record");
    Error::new(Code::VersionMismatch, message)
        .hint("--on-conflict skip leaves that record as it is, --on-conflict overwrite replaces it")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changes_of_some_keys_are_read_by_what_they_share() {
        let prefix = |prefix: &str| Filter::prefix(prefix);
        for (keys, filter) in [
            (&["user/1"][..], Filter::key("user/1")),
            (&["user/1", "user/2", "user/30"], prefix("user/")),
            (&["aé", "aè"], prefix("a")),
            (&["a", "a1"], prefix("a")),
            (&["a", "b"], Filter::default()),
        ] {
            assert_eq!(filter_of(keys.iter().copied()), filter, "{keys:?}");
        }
    }
}
