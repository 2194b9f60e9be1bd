//! Makes one store have under some keys what another one has, without losing what it has of its own.

use std::collections::{HashMap, HashSet};

use kv::limits;
use kv::store::{Code, Delete, Error, Filter, Import, Mutation, OnConflict, Record, Result, Store, Stream};

use super::batch::Batch;
use super::comparison::{Difference, is_copy, reread};
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
    /// brought up to date, and no conflict: it is replaced or, where the source has none any more, removed. It gets the version that it
    /// has in the source, behind a delete where that has begun anew there.
    ///
    /// # Errors
    /// `version_mismatch` for a record that the target has of its own, when a conflict is an error.
    pub(super) async fn bring(&self, keys: Vec<String>, importer: &mut Importer<'_>) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut differences = reread(self.source, self.target, keys).await?;
        differences.retain(|difference| !difference.is_later_version());
        let earlier = self.earlier(&differences).await?;
        let mut batch = Batch::default();
        for Difference { key, one, other } in differences {
            let may_replace = self.on_conflict == OnConflict::Overwrite || earlier.contains(&key);
            let (record, is_new_life) = match (one, other) {
                (Some(record), None) => (record, false),
                (Some(record), Some(present)) if may_replace => {
                    // The source has removed what was copied, and has begun anew.
                    let is_new_life = earlier.contains(&key) && record.version <= present.version;
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
                    if earlier.contains(&key) && remove(self.target, &key, present.revision).await? {
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
        importer.push(batch).await?;
        importer.finish().await
    }

    /// The keys under which the target has a record that the source had once, as far as the stream of the source tells. The
    /// stream is read once for all of them.
    async fn earlier(&self, differences: &[Difference]) -> Result<HashSet<String>> {
        let mut sought: HashMap<&str, &Record> = differences
            .iter()
            .filter_map(|difference| Some((difference.key.as_str(), difference.other.as_ref()?)))
            .collect();
        let mut found = HashSet::new();
        let filter = filter_of(sought.keys().copied());
        let mut next = Some(Stream { reverse: true, filter, ..Stream::default() });
        while let Some(request) = next.filter(|_| !sought.is_empty()) {
            let page = match self.source.changes(request.clone()).await {
                Err(error) if error.code == Code::Trimmed => break,
                page => page?,
            };
            for change in &page.changes {
                let key = change.record.key.as_str();
                if sought.get(key).is_some_and(|present| is_copy(present, &change.record)) {
                    sought.remove(key);
                    found.insert(key.to_owned());
                }
            }
            next = request.after_page(&page);
        }
        Ok(found)
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
