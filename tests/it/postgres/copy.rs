//! Transactions whose changes are known beforehand, and a copy of the store that is made from the stream and from nothing else.

use std::collections::{BTreeMap, HashMap};

use kv::store::{Action, Change, Delete, JsonText, Mutation, Patch, Put, Record, Selector, Target, Write};
use kv::store::{Timestamp, WriteOperation};

use crate::support::{Random, json};

/// Which transaction it is: the number of its writer, and its own.
pub(super) type Name = (u64, u64);

/// What a writer writes at once. Its name says all that is in it.
pub(super) struct Transaction {
    pub(super) mutations: Vec<Mutation>,
    /// Whether it is written so that it must fail, behind changes that would not.
    pub(super) is_rejected: bool,
}

impl Transaction {
    pub(super) fn of((writer, number): Name) -> Transaction {
        let mut random = Random(writer << 40 | number);
        // So that the store stays small, the names of old transactions stand only in the stream.
        let mark = Put::new(format!("tx/{writer}/{}", number % 50), json(&number.to_string()));
        let mut mutations = vec![Mutation::Put(mark)];
        let value = json(&format!("\"{writer}/{number}\""));
        let mut shared = || format!("shared/{}", random.below(40));
        let [first, second, third] = [shared(), shared(), shared()];
        let is_rejected = random.below(5) == 0;
        match random.below(5) {
            0 => {}
            1 => mutations.extend([first, second].map(|key| Mutation::Put(Put::new(key, value.clone())))),
            2 => {
                mutations.push(Mutation::Delete(Delete::keys([first, second])));
                mutations.push(Mutation::Put(Put::new(third, value)));
            }
            3 => {
                let patch = json(&format!("{{\"{writer}\":{number}}}"));
                let key = format!("patched/{}", random.below(4));
                mutations.push(Mutation::Patch(Patch::merge(key, patch)));
            }
            _ => {
                let prefix = format!("shared/{}", random.below(10));
                mutations.push(Mutation::Delete(Delete::prefix(prefix)));
                mutations.push(Mutation::Put(Put::new(first, value)));
            }
        }
        if is_rejected {
            mutations.push(Mutation::Put(Put::new("never", json("0")).if_version(1_000)));
        }
        Transaction { mutations, is_rejected }
    }

    pub(super) fn write(self) -> Write {
        match <[Mutation; 1]>::try_from(self.mutations) {
            Ok([mutation]) => mutation.into(),
            Err(mutations) => WriteOperation::Mutate(mutations).into(),
        }
    }
}

/// What a follower makes of the stream. It panics at the first change that is not the one that comes next.
#[derive(Default)]
pub(super) struct Copy {
    pub(super) records: BTreeMap<String, Record>,
    /// The last seq that came.
    pub(super) seq: u64,
    /// The first change of each transaction.
    pub(super) found: HashMap<Name, u64>,
    /// The changes of a transaction whose end has not come yet.
    begun: Vec<Change>,
    time: Option<Timestamp>,
}

impl Copy {
    pub(super) fn add(&mut self, change: Change) {
        assert_eq!(change.seq, self.seq + 1, "the stream has a hole, or is not in order");
        assert!(self.time <= Some(change.time), "time went back at {}", change.seq);
        (self.seq, self.time) = (change.seq, Some(change.time));
        let is_end = change.tx_end;
        self.begun.push(change);
        if is_end {
            let changes = std::mem::take(&mut self.begun);
            self.apply(changes);
        }
    }

    /// Asserts that nothing is missing of the last transaction.
    pub(super) fn end(&self) {
        assert!(self.begun.is_empty(), "the last transaction has no end");
    }

    fn apply(&mut self, changes: Vec<Change>) {
        let tx = changes[0].seq;
        assert!(changes.iter().all(|change| change.tx == tx), "two transactions are mixed: {changes:#?}");
        let name = name_of(&changes[0].record);
        let transaction = Transaction::of(name);
        assert!(!transaction.is_rejected, "{name:?} was to be rejected");
        let mut changes = changes.into_iter();
        for mutation in transaction.mutations {
            match mutation {
                Mutation::Put(put) => self.written(changes.next(), &put.key, put.value),
                Mutation::Patch(patch) => {
                    let value = self.patched(&patch);
                    self.written(changes.next(), &patch.key, value);
                }
                Mutation::Delete(delete) => {
                    for key in self.covered(&delete) {
                        self.deleted(changes.next(), &key);
                    }
                }
                other => panic!("{other:?} is not sent"),
            }
        }
        assert_eq!(changes.next(), None, "{name:?} has changed more than it should");
        assert_eq!(self.found.insert(name, tx), None, "{name:?} was applied twice");
    }

    fn written(&mut self, change: Option<Change>, key: &str, value: JsonText) {
        let change = change.unwrap_or_else(|| panic!("the change of {key} is missing"));
        let before = self.records.get(key);
        let mut record = Record::new(key, value, change.time);
        record.version = before.map_or(1, |before| before.version + 1);
        record.revision = change.seq;
        record.created = before.map_or(change.time, |before| before.created);
        let action = if before.is_some() { Action::Update } else { Action::Create };
        assert_eq!((change.action, &change.record), (action, &record), "at {}", change.seq);
        self.records.insert(record.key.clone(), record);
    }

    fn deleted(&mut self, change: Option<Change>, key: &str) {
        let change = change.unwrap_or_else(|| panic!("the delete of {key} is missing"));
        let before = self.records.remove(key);
        assert_eq!(
            (change.action, Some(&change.record)),
            (Action::Delete, before.as_ref()),
            "at {}",
            change.seq
        );
    }

    fn patched(&self, patch: &Patch) -> JsonText {
        type Object = serde_json::Map<String, serde_json::Value>;
        let object = |text: &JsonText| serde_json::from_str::<Object>(text.get()).unwrap();
        let mut patched =
            self.records.get(&patch.key).map(|record| object(&record.value)).unwrap_or_default();
        patched.extend(object(&patch.patch));
        json(&serde_json::to_string(&patched).unwrap())
    }

    /// The keys that a delete finds, in their order.
    fn covered(&self, delete: &Delete) -> Vec<String> {
        match &delete.target {
            Target::Keys(keys) => {
                let mut keys: Vec<String> =
                    keys.iter().filter(|key| self.records.contains_key(*key)).cloned().collect();
                // One that stands twice counts once.
                keys.dedup();
                keys
            }
            Target::Selection(Selector::Prefix(prefix)) => {
                let from = self.records.range(prefix.clone()..);
                from.map(|(key, _)| key).take_while(|key| key.starts_with(prefix)).cloned().collect()
            }
            Target::Selection(other) => panic!("{other:?}"),
        }
    }
}

/// Which transaction a mark belongs to.
fn name_of(mark: &Record) -> Name {
    let writer = mark.key.split('/').nth(1).filter(|_| mark.key.starts_with("tx/"));
    let writer = writer.unwrap_or_else(|| panic!("{} is not where a transaction begins", mark.key));
    (writer.parse().unwrap(), mark.value.get().parse().unwrap())
}
