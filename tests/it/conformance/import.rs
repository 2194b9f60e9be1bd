use kv::limits;
use kv::store::{
    Action, Code, Delete, Import, ImportOutcome, Imported, Mutation, MutationResult, OnConflict, Put, Record,
    Timestamp, Write, WriteOperation,
};

use crate::support::{START_MS, World, json};

cases! {
    a_record_keeps_its_version_and_times_and_gets_a_revision_of_its_own,
    a_repeated_import_changes_nothing,
    what_is_not_given_is_filled_in_and_not_compared,
    one_time_stands_for_the_other,
    another_record_is_a_conflict_whatever_is_different,
    a_conflict_fails_or_is_left_or_replaced_as_the_import_says,
    a_version_never_goes_back,
    a_record_whose_time_is_over_is_skipped,
    an_imported_version_is_counted_on,
    in_a_mutate_each_import_sees_those_before_it,
    a_mutate_with_a_conflict_imports_nothing,
    a_thousand_are_one_call,
    what_no_store_could_hold_is_refused,
}

fn record(key: &str) -> Record {
    let mut record = Record::new(key, json(r#"{"b":1.50,"b":2}"#), Timestamp::from_unix_ms(1_000));
    (record.version, record.revision) = (7, 99);
    record.record_type = Some("T".to_owned());
    record.updated = Timestamp::from_unix_ms(START_MS + 1_000);
    record
}

/// The record under `a`, in one part otherwise.
fn otherwise(set: impl FnOnce(&mut Record)) -> Record {
    let mut record = record("a");
    set(&mut record);
    record
}

fn import(key: &str) -> Import {
    Import::of(record(key))
}

fn imported(version: u64, revision: u64, outcome: ImportOutcome) -> Imported {
    Imported { version, revision, outcome }
}

async fn a_record_keeps_its_version_and_times_and_gets_a_revision_of_its_own(world: &World) {
    world.put_all(&["z"]).await;
    let told = world.store.import(import("a")).await.unwrap();
    assert_eq!(told, imported(7, 2, ImportOutcome::Created));
    let expected = otherwise(|record| record.revision = 2);
    assert_eq!(world.store.get("a").await.unwrap(), Some(expected.clone()));
    let change = world.store.stream(2, None).await.unwrap().remove(0);
    assert_eq!((change.seq, change.tx, change.tx_end, change.action), (2, 2, true, Action::Create));
    assert_eq!((change.time.unix_ms(), change.record), (START_MS, expected));
    // One of the past is older than the store, and one of the future does not move its time.
    assert_eq!(world.store.put(Put::new("z", json("2"))).await.unwrap().revision, 3);
    assert_eq!(world.store.get("z").await.unwrap().unwrap().updated.unix_ms(), START_MS);
}

async fn a_repeated_import_changes_nothing(world: &World) {
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Overwrite] {
        let outcome = world.store.import(import("a").on_conflict(on_conflict)).await.unwrap().outcome;
        let is_first = on_conflict == OnConflict::Fail;
        assert_eq!(outcome, if is_first { ImportOutcome::Created } else { ImportOutcome::Unchanged });
    }
    let told = world.store.import(import("a")).await.unwrap();
    assert_eq!(told, imported(7, 1, ImportOutcome::Unchanged));
    let in_one = vec![Mutation::Import(import("a")), Mutation::Import(import("b"))];
    let told = world.store.mutate_all(in_one).await.unwrap();
    let unchanged = imported(7, 1, ImportOutcome::Unchanged);
    let created = imported(7, 2, ImportOutcome::Created);
    assert_eq!(told, [MutationResult::Imported(unchanged), MutationResult::Imported(created)]);
    assert_eq!(world.store.stream_seq().await.unwrap(), 2);
}

async fn another_record_is_a_conflict_whatever_is_different(world: &World) {
    world.store.import(import("a")).await.unwrap();
    let others = [
        otherwise(|record| record.version = 8),
        otherwise(|record| record.record_type = None),
        otherwise(|record| record.created = Timestamp::from_unix_ms(1_001)),
        otherwise(|record| record.updated = Timestamp::from_unix_ms(1_001)),
        otherwise(|record| record.expires = Some(Timestamp::from_unix_ms(START_MS + 9_000))),
        // The same value, spelled otherwise.
        otherwise(|record| record.value = json(r#"{"b":1.5,"b":2}"#)),
    ];
    for other in others {
        let error = world.store.import(Import::of(other.clone())).await.unwrap_err();
        assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(7)), "{other:?}");
        assert_eq!(error.message, "a is there already, at version 7, and is another record");
        assert!(error.hint.is_some_and(|hint| hint.contains("overwrite")));
    }
    assert_eq!(world.store.get("a").await.unwrap().unwrap().revision, 1);
}

async fn a_conflict_fails_or_is_left_or_replaced_as_the_import_says(world: &World) {
    world.put_all(&["a", "a"]).await;
    let left = world.store.import(import("a").on_conflict(OnConflict::Skip)).await.unwrap();
    assert_eq!(left, imported(2, 2, ImportOutcome::Skipped));
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json("1"));
    let replaced = world.store.import(import("a").on_conflict(OnConflict::Overwrite)).await.unwrap();
    assert_eq!(replaced, imported(7, 3, ImportOutcome::Updated));
    let expected = otherwise(|record| record.revision = 3);
    assert_eq!(world.store.get("a").await.unwrap(), Some(expected.clone()));
    let last = world.store.stream(3, None).await.unwrap().remove(0);
    assert_eq!((last.action, last.record), (Action::Update, expected));
}

/// Otherwise a condition on a version could hold for a record that its writer has never seen.
async fn a_version_never_goes_back(world: &World) {
    for _ in 0..9 {
        world.put_all(&["a"]).await;
    }
    let replaced = world.store.import(import("a").on_conflict(OnConflict::Overwrite)).await.unwrap();
    assert_eq!(replaced, imported(10, 10, ImportOutcome::Updated));
    let error = world.store.put(Put::new("a", json("1")).if_version(9)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(10)));
    // The record is there, at a later version: no import brings it once more, and none takes it for another one.
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Overwrite] {
        let told = world.store.import(import("a").on_conflict(on_conflict)).await.unwrap();
        assert_eq!(told, imported(10, 10, ImportOutcome::Unchanged), "{on_conflict:?}");
    }
    let newer = Import::of(otherwise(|record| record.version = 20)).on_conflict(OnConflict::Overwrite);
    assert_eq!(world.store.import(newer).await.unwrap(), imported(20, 11, ImportOutcome::Updated));
}

/// An import that gives a key and a value, as a line that somebody has written.
fn plain(key: &str, value: &str) -> Import {
    let (version, created, updated) = (None, None, None);
    Import { value: json(value), record_type: None, version, created, updated, ..import(key) }
}

async fn what_is_not_given_is_filled_in_and_not_compared(world: &World) {
    let told = world.store.import(plain("a", "1")).await.unwrap();
    assert_eq!(told, imported(1, 1, ImportOutcome::Created));
    world.clock.advance_ms(1_000);
    for on_conflict in [OnConflict::Fail, OnConflict::Skip, OnConflict::Overwrite] {
        let told = world.store.import(plain("a", "1").on_conflict(on_conflict)).await.unwrap();
        assert_eq!(told, imported(1, 1, ImportOutcome::Unchanged), "{on_conflict:?}");
    }
    let error = world.store.import(plain("a", "2")).await.unwrap_err();
    assert_eq!(error.code, Code::VersionMismatch);
    let told = world.store.import(plain("a", "2").on_conflict(OnConflict::Overwrite)).await.unwrap();
    assert_eq!(told, imported(2, 2, ImportOutcome::Updated));
    let found = world.store.get("a").await.unwrap().unwrap();
    assert_eq!((found.created.unix_ms(), found.updated.unix_ms()), (START_MS, START_MS + 1_000));
    // What is given is compared.
    for given in [
        Import { version: Some(3), ..plain("a", "2") },
        Import { created: Some(Timestamp::from_unix_ms(0)), ..plain("a", "2") },
        Import { updated: Some(Timestamp::from_unix_ms(0)), ..plain("a", "2") },
        Import { record_type: Some("T".to_owned()), ..plain("a", "2") },
    ] {
        assert_eq!(world.store.import(given).await.unwrap_err().code, Code::VersionMismatch);
    }
}

async fn one_time_stands_for_the_other(world: &World) {
    let time = Some(Timestamp::from_unix_ms(1_000));
    let created = Import { created: time, ..plain("created", "1") };
    let updated = Import { updated: time, ..plain("updated", "1") };
    for import in [created, updated] {
        world.store.import(import.clone()).await.unwrap();
        let found = world.store.get(&import.key).await.unwrap().unwrap();
        assert_eq!((Some(found.created), Some(found.updated)), (time, time), "{}", import.key);
        assert_eq!(world.store.import(import).await.unwrap().outcome, ImportOutcome::Unchanged);
    }
}

async fn a_record_whose_time_is_over_is_skipped(world: &World) {
    let at = |expires_ms| {
        let expires = Some(Timestamp::from_unix_ms(expires_ms));
        Import::of(otherwise(|record| record.expires = expires)).on_conflict(OnConflict::Overwrite)
    };
    for expires_ms in [0, START_MS - 1, START_MS] {
        let told = world.store.import(at(expires_ms)).await.unwrap();
        assert_eq!(told, imported(0, 0, ImportOutcome::Skipped));
    }
    world.put_all(&["a"]).await;
    assert_eq!(world.store.import(at(START_MS)).await.unwrap(), imported(1, 1, ImportOutcome::Skipped));
    let told = world.store.import(at(START_MS + 1)).await.unwrap();
    assert_eq!(told, imported(7, 2, ImportOutcome::Updated));
    let found = world.store.get("a").await.unwrap().unwrap();
    assert_eq!(found.expires, Some(Timestamp::from_unix_ms(START_MS + 1)));
    assert_eq!(world.store.stream_seq().await.unwrap(), 2);
}

async fn an_imported_version_is_counted_on(world: &World) {
    let largest = otherwise(|record| record.version = limits::IMPORTED_VERSION);
    world.store.import(Import::of(largest)).await.unwrap();
    let next = limits::IMPORTED_VERSION + 1;
    let written = world.store.put(Put::new("a", json("1")).if_version(next - 1)).await.unwrap();
    assert_eq!(written.version, next);
    assert_eq!(world.store.get("a").await.unwrap().unwrap().created.unix_ms(), 1_000);
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    assert_eq!(world.store.put(Put::new("a", json("1"))).await.unwrap().version, 1);
}

async fn in_a_mutate_each_import_sees_those_before_it(world: &World) {
    let newer = Import::of(otherwise(|record| record.version = 8));
    let mutations = vec![
        Mutation::Import(import("a")),
        Mutation::Import(import("a")),
        Mutation::Import(newer.clone().on_conflict(OnConflict::Skip)),
        Mutation::Import(newer.on_conflict(OnConflict::Overwrite)),
        Mutation::Delete(Delete::keys(["a"])),
        Mutation::Import(import("a")),
    ];
    let outcomes: Vec<_> = world.store.mutate_all(mutations).await.unwrap().into_iter().collect();
    let told = |version, revision, outcome| MutationResult::Imported(imported(version, revision, outcome));
    assert_eq!(
        outcomes[..4],
        [
            told(7, 1, ImportOutcome::Created),
            told(7, 1, ImportOutcome::Unchanged),
            told(7, 1, ImportOutcome::Skipped),
            told(8, 2, ImportOutcome::Updated),
        ]
    );
    assert_eq!(outcomes[5], told(7, 4, ImportOutcome::Created));
}

async fn a_mutate_with_a_conflict_imports_nothing(world: &World) {
    world.put_all(&["b"]).await;
    let mutations = ["a", "b", "c"].map(|key| Mutation::Import(import(key)));
    let error = world.store.mutate_all(mutations.into()).await.unwrap_err();
    let facts = (error.code, error.details.index, error.details.current);
    assert_eq!(facts, (Code::VersionMismatch, Some(1), Some(1)));
    assert_eq!(world.store.count().await.unwrap(), 1);
    // Applied once, it is told the same again, and not what a repeat would find.
    let once = |key: &str| Write {
        once: Some("i".to_owned()),
        ..WriteOperation::Apply(Mutation::Import(import(key))).into()
    };
    let told = world.store.call(kv::store::Request::Write(once("d"))).await.unwrap();
    assert_eq!(world.store.call(kv::store::Request::Write(once("d"))).await.unwrap(), told);
    let error = world.store.call(kv::store::Request::Write(once("e"))).await.unwrap_err();
    assert_eq!(error.details.field.as_deref(), Some("once"));
}

async fn a_thousand_are_one_call(world: &World) {
    let keys: Vec<String> = (0..1_000).map(|number| format!("{number:04}")).collect();
    let mutations = || keys.iter().map(|key| Mutation::Import(import(key))).collect::<Vec<_>>();
    for outcome in [ImportOutcome::Created, ImportOutcome::Unchanged] {
        for (result, revision) in world.store.mutate_all(mutations()).await.unwrap().iter().zip(1..) {
            assert_eq!(*result, MutationResult::Imported(imported(7, revision, outcome)));
        }
    }
    let changes = world.store.stream(0, None).await.unwrap();
    assert!(changes.iter().all(|change| change.tx == 1) && changes.len() == 1_000);
}

async fn what_no_store_could_hold_is_refused(world: &World) {
    let beyond = Timestamp::from_unix_ms(limits::TIME_MS.end() + 1);
    let wrong = [
        ("key", otherwise(|record| record.key = String::new())),
        ("type", otherwise(|record| record.record_type = Some(String::new()))),
        ("version", otherwise(|record| record.version = 0)),
        ("version", otherwise(|record| record.version = limits::IMPORTED_VERSION + 1)),
        ("created", otherwise(|record| record.created = beyond)),
        ("updated", otherwise(|record| record.updated = beyond)),
        ("expires", otherwise(|record| record.expires = Some(beyond))),
    ];
    for (field, record) in wrong {
        let error = world.store.import(Import::of(record)).await.unwrap_err();
        assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some(field)));
    }
    assert_eq!(world.store.stream_seq().await.unwrap(), 0);
}
