//! Random sequences of operations, cut at random into batches, against a plain map.

use std::collections::BTreeMap;

use kv::store::{
    Action, Clock, Code, Condition, Delete, List, LocalStore, Put, Record, Selector, Store, Stream,
};
use proptest::prelude::*;

use crate::support::{address, json, runtime};

#[derive(Debug, Clone)]
enum Step {
    Put { key: &'static str, value: u32, condition: Condition, record_type: Option<&'static str> },
    Delete { keys: Vec<&'static str>, condition: Condition, offset: u64, limit: Option<u64> },
    Get { key: &'static str },
    List { prefix: &'static str, offset: u64, limit: Option<u64>, after: Option<&'static str>, reverse: bool },
}

const KEYS: &[&str] = &["a", "a/1", "a/2", "a%", "A/1", "b", "ä", "\u{10FFFF}"];

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(KEYS)
}

fn condition() -> impl Strategy<Value = Condition> {
    let number = || prop_oneof![6 => Just(None), 3 => (0_u64..4).prop_map(Some)];
    (number(), prop_oneof![9 => Just(None), 1 => (0_u64..20).prop_map(Some)])
        .prop_map(|(version, revision)| Condition { version, revision })
}

fn step() -> impl Strategy<Value = Step> {
    let limit = || prop::option::of(0_u64..5);
    prop_oneof![
        5 => (key(), any::<u32>(), condition(), prop::option::of(prop::sample::select(&["T", "t"][..])))
            .prop_map(|(key, value, condition, record_type)| Step::Put { key, value, condition, record_type }),
        2 => key().prop_flat_map(|key| condition().prop_map(move |condition| Step::Delete {
            keys: vec![key], condition, offset: 0, limit: None
        })),
        1 => (prop::collection::vec(key(), 0..6), 0_u64..3, limit()).prop_map(|(keys, offset, limit)| Step::Delete {
            keys, condition: Condition::default(), offset, limit
        }),
        2 => key().prop_map(|key| Step::Get { key }),
        2 => (prop::sample::select(&["", "a", "a/", "A"][..]), 0_u64..3, limit(), prop::option::of(key()), any::<bool>())
            .prop_map(|(prefix, offset, limit, after, reverse)| Step::List { prefix, offset, limit, after, reverse }),
    ]
}

/// What a record is, besides its times.
#[derive(Debug, Clone, PartialEq)]
struct Entry {
    version: u64,
    revision: u64,
    record_type: Option<&'static str>,
    value: u32,
}

/// What a step is told, in a form that both sides can make.
#[derive(Debug, PartialEq)]
enum Told {
    Written { version: u64, revision: u64 },
    Deleted { deleted: u64, revision: Option<u64> },
    Mismatch { current: u64 },
    Records(Vec<(String, Entry)>),
}

/// The plain map, and its stream: (action, key, entry).
#[derive(Default)]
struct Model {
    map: BTreeMap<&'static str, Entry>,
    stream: Vec<(Action, &'static str, Entry)>,
}

impl Model {
    fn head(&self) -> u64 {
        self.stream.len() as u64
    }

    fn check(&self, key: &str, condition: Condition) -> Option<Told> {
        let present = self.map.get(key);
        let version = present.map_or(0, |entry| entry.version);
        let revision = present.map_or(0, |entry| entry.revision);
        if condition.version.is_some_and(|expected| expected != version) {
            return Some(Told::Mismatch { current: version });
        }
        (condition.revision.is_some_and(|expected| expected != revision))
            .then_some(Told::Mismatch { current: revision })
    }

    fn run(&mut self, step: &Step) -> Told {
        match step {
            Step::Put { key, value, condition, record_type } => {
                if let Some(mismatch) = self.check(key, *condition) {
                    return mismatch;
                }
                let before = self.map.get(key);
                let entry = Entry {
                    version: before.map_or(1, |entry| entry.version + 1),
                    revision: self.head() + 1,
                    record_type: record_type.or(before.and_then(|entry| entry.record_type)),
                    value: *value,
                };
                let action = if before.is_some() { Action::Update } else { Action::Create };
                self.stream.push((action, key, entry.clone()));
                self.map.insert(key, entry.clone());
                Told::Written { version: entry.version, revision: entry.revision }
            }
            Step::Delete { keys, condition, offset, limit } => {
                if let ([key], Some(mismatch)) =
                    (keys.as_slice(), keys.first().and_then(|key| self.check(key, *condition)))
                {
                    let _ = key;
                    return mismatch;
                }
                let mut present: Vec<&'static str> = Vec::new();
                for key in keys {
                    if self.map.contains_key(key) && !present.contains(key) {
                        present.push(key);
                    }
                }
                let limit = limit.map_or(usize::MAX, |limit| limit as usize);
                let chosen: Vec<_> = present.into_iter().skip(*offset as usize).take(limit).collect();
                for key in &chosen {
                    let entry = self.map.remove(key).unwrap();
                    self.stream.push((Action::Delete, key, entry));
                }
                let deleted = chosen.len() as u64;
                Told::Deleted { deleted, revision: (deleted > 0).then(|| self.head()) }
            }
            Step::Get { key } => Told::Records(
                self.map.get(key).map(|entry| ((*key).to_owned(), entry.clone())).into_iter().collect(),
            ),
            Step::List { prefix, offset, limit, after, reverse } => {
                let mut keys: Vec<_> =
                    self.map.keys().copied().filter(|key| key.starts_with(prefix)).collect();
                if *reverse {
                    keys.reverse();
                }
                let beyond =
                    |key: &str| after.is_none_or(|after| if *reverse { key < after } else { key > after });
                let limit = limit.map_or(usize::MAX, |limit| limit as usize);
                let page = keys.into_iter().filter(|key| beyond(key)).skip(*offset as usize).take(limit);
                Told::Records(page.map(|key| (key.to_owned(), self.map[key].clone())).collect())
            }
        }
    }
}

fn told_records(records: Vec<Record>) -> Told {
    Told::Records(records.iter().map(|record| (record.key.clone(), entry(record))).collect())
}

fn entry(record: &Record) -> Entry {
    Entry {
        version: record.version,
        revision: record.revision,
        record_type: record.record_type.as_deref().map(|name| if name == "T" { "T" } else { "t" }),
        value: record.value.to().unwrap(),
    }
}

async fn run(store: &LocalStore, step: &Step) -> Told {
    let outcome = match step {
        Step::Put { key, value, condition, record_type } => {
            let put = Put { condition: *condition, ..Put::new(*key, json(&value.to_string())) };
            let put = match record_type {
                Some(record_type) => put.of_type(*record_type),
                None => put,
            };
            store
                .put(put)
                .await
                .map(|written| Told::Written { version: written.version, revision: written.revision })
        }
        Step::Delete { keys, condition, offset, limit } => {
            let delete = Delete {
                condition: *condition,
                offset: *offset,
                limit: *limit,
                ..Delete::keys(keys.clone())
            };
            store
                .delete(delete)
                .await
                .map(|done| Told::Deleted { deleted: done.deleted, revision: done.revision })
        }
        Step::Get { key } => store.get(key).await.map(|record| told_records(record.into_iter().collect())),
        Step::List { prefix, offset, limit, after, reverse } => {
            let list = List {
                selector: Selector::Prefix((*prefix).to_owned()),
                offset: *offset,
                limit: *limit,
                after: after.map(str::to_owned),
                reverse: *reverse,
                keys_only: false,
            };
            store.records(list).await.map(told_records)
        }
    };
    outcome.unwrap_or_else(|error| {
        assert_eq!(error.code, Code::VersionMismatch, "{error:?}");
        Told::Mismatch { current: error.details.current.unwrap() }
    })
}

fn is_write(step: &Step) -> bool {
    matches!(step, Step::Put { .. } | Step::Delete { .. })
}

async fn check(steps: Vec<(Step, bool)>) {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(&address(directory.path()), Clock::System);
    store.init().await.unwrap();
    let mut model = Model::default();
    let mut rest = steps.as_slice();
    while let Some(((first, _), _)) = rest.split_first() {
        // Writes that are called together become one batch; a read sees what is committed, so it runs alone.
        let length = if is_write(first) {
            1 + rest[1..].iter().take_while(|(step, joins)| *joins && is_write(step)).count()
        } else {
            1
        };
        let (batch, later) = rest.split_at(length);
        let told = futures_util::future::join_all(batch.iter().map(|(step, _)| run(&store, step))).await;
        for ((step, _), told) in batch.iter().zip(told) {
            assert_eq!(told, model.run(step), "{step:?}");
        }
        rest = later;
    }
    let changes = store.stream(0, None).await.unwrap();
    let page = store.changes(Stream::default()).await.unwrap();
    assert_eq!(page.seq, model.head());
    assert_eq!(changes.len(), model.stream.len());
    for ((seq, change), (action, key, expected)) in (1..).zip(changes).zip(&model.stream) {
        assert_eq!((change.seq, change.action, change.record.key.as_str()), (seq, *action, *key));
        assert_eq!(entry(&change.record), *expected);
    }
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_in_any_batches_equals_the_plain_map(
        steps in prop::collection::vec((step(), any::<bool>()), 30)
    ) {
        runtime().block_on(check(steps));
    }
}
