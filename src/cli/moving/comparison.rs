//! Two stores beside each other, record by record.

use std::cmp::Ordering;
use std::collections::VecDeque;

use kv::limits;
use kv::store::{Record, Result, Store};

use super::listing::Listing;
use super::rehearsal::by_key;

/// The members in which two records of one key differ, whatever their revisions are.
pub(super) fn differences(one: &Record, other: &Record) -> Vec<&'static str> {
    let members = [
        ("value", one.value != other.value),
        ("type", one.record_type != other.record_type),
        ("version", one.version != other.version),
        ("created", one.created != other.created),
        ("updated", one.updated != other.updated),
        ("expires", one.expires != other.expires),
    ];
    members.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// Whether one record is a copy of another one: the same, or with a later version, as a copy has that took the place of another
/// record.
pub(super) fn is_copy(copy: &Record, record: &Record) -> bool {
    copy.version >= record.version && differences(copy, record).iter().all(|&name| name == "version")
}

/// What two stores have under one key, where that is not the same: at least one of them has a record.
#[derive(Debug, Clone)]
pub(super) struct Difference {
    pub(super) key: String,
    pub(super) one: Option<Record>,
    pub(super) other: Option<Record>,
}

impl Difference {
    /// Whether only the version differs, and that of the second store is the later one.
    pub(super) fn is_later_version(&self) -> bool {
        matches!((&self.one, &self.other), (Some(one), Some(other)) if is_copy(other, one))
    }

    /// None when both have the same, or nothing.
    fn between(key: String, one: Option<Record>, other: Option<Record>) -> Option<Difference> {
        let is_same = match (&one, &other) {
            (Some(one), Some(other)) => differences(one, other).is_empty(),
            (None, None) => true,
            _ => false,
        };
        (!is_same).then_some(Difference { key, one, other })
    }
}

/// Two listings that are read beside each other, in the order of their keys.
pub(super) struct Comparison<'s> {
    one: Side<'s>,
    other: Side<'s>,
    /// How many keys were compared.
    pub(super) keys: u64,
}

struct Side<'s> {
    listing: Listing<'s>,
    records: VecDeque<Record>,
}

impl Side<'_> {
    /// The next record, which is not taken yet.
    async fn peek(&mut self) -> Result<Option<&Record>> {
        while self.records.is_empty() {
            let Some(page) = self.listing.page().await? else { return Ok(None) };
            self.records.extend(page.items);
        }
        Ok(self.records.front())
    }
}

impl<'s> Comparison<'s> {
    /// The records whose keys begin with a prefix; none = all.
    pub(super) fn of(one: &'s dyn Store, other: &'s dyn Store, prefix: Option<&str>) -> Comparison<'s> {
        let side = |store| Side { listing: Listing::of(store, prefix), records: VecDeque::new() };
        Comparison { one: side(one), other: side(other), keys: 0 }
    }

    /// The keys that come next and look different: at most as many as one request can name. None at the end. What was read
    /// of one store may be older than what was read of the other, so [`reread`] decides.
    pub(super) async fn next_suspects(&mut self) -> Result<Option<Vec<String>>> {
        let (mut suspects, mut bytes) = (Vec::new(), 0);
        // They are read together again.
        while suspects.len() < limits::KEYS_PER_REQUEST && bytes < limits::IMPORT_BATCH_BYTES {
            let (one, other) = (self.one.peek().await?, self.other.peek().await?);
            let order = match (one, other) {
                (None, None) => return Ok((!suspects.is_empty()).then_some(suspects)),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.key.cmp(&other.key),
            };
            let one = self.one.records.pop_front_if(|_| order.is_le());
            let other = self.other.records.pop_front_if(|_| order.is_ge());
            self.keys += 1;
            let key = one.as_ref().or(other.as_ref()).map(|record| record.key.clone()).unwrap_or_default();
            let sides = [&one, &other].into_iter().flatten();
            let read: usize = sides.map(|record| record.key.len() + record.value.get().len()).sum();
            if let Some(difference) = Difference::between(key, one, other) {
                suspects.push(difference.key);
                bytes += read;
            }
        }
        Ok(Some(suspects))
    }
}

/// The differences under these keys, as both stores have them now.
pub(super) async fn reread(one: &dyn Store, other: &dyn Store, keys: Vec<String>) -> Result<Vec<Difference>> {
    let named: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (mut one, mut other) = (by_key(one.get_batch(&named).await?), by_key(other.get_batch(&named).await?));
    let difference = |key: String| {
        let (one, other) = (one.remove(&key), other.remove(&key));
        Difference::between(key, one, other)
    };
    Ok(keys.into_iter().filter_map(difference).collect())
}
