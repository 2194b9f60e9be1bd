use std::time::Duration;

use kv::store::{
    Action, Check, Code, Condition, Delete, Deleted, Guarded, Mutation, MutationResult, Patch, Put,
    Store as _,
};

use crate::support::{World, json, written};

cases! {
    mutations_are_applied_in_order_as_one_call,
    each_mutation_sees_those_before_it,
    a_failing_mutation_undoes_those_before_it,
    the_error_names_the_position_and_the_present_version,
    a_failed_mutate_harms_no_neighbour_in_its_batch,
    a_check_guards_without_writing,
    a_check_without_a_condition_is_refused,
    a_mutate_of_checks_alone_writes_nothing,
    an_empty_mutate_writes_nothing,
    range_deletes_see_what_was_put_and_deleted_before_them,
    range_deletes_honour_offset_and_limit,
    a_range_delete_of_a_large_range_with_a_limit_is_fine,
    range_deletes_cover_at_most_10_000_records_together,
    a_failed_range_delete_brings_every_record_back,
    a_value_written_and_deleted_in_one_mutate_is_in_the_stream,
    patches_of_one_key_build_on_each_other,
    more_patched_values_than_fit_are_too_large,
    too_many_mutations_are_refused,
    a_mutate_over_its_bytes_is_refused,
    a_mutation_that_makes_no_sense_is_named_by_its_position,
}

fn put(key: &str, value: &str) -> Mutation {
    Mutation::Put(Put::new(key, json(value)))
}

fn check(key: &str, version: u64) -> Mutation {
    Mutation::Check(Check { key: key.to_owned(), condition: at(version) })
}

fn at(version: u64) -> Condition {
    Condition { version: Some(version), ..Condition::default() }
}

async fn keys(world: &World) -> Vec<String> {
    world.store.list(0, None).await.unwrap().into_iter().map(|record| record.key).collect()
}

async fn mutations_are_applied_in_order_as_one_call(world: &World) {
    world.put_all(&["b"]).await;
    let results = world
        .store
        .mutate_all(vec![
            put("a", "1"),
            Mutation::Patch(Patch { return_value: true, ..Patch::merge("c", json(r#"{"x":1}"#)) }),
            Mutation::Delete(Delete::keys(["b", "nobody"])),
        ])
        .await
        .unwrap();
    let mut with_value = written(1, 3);
    with_value.value = Some(json(r#"{"x":1}"#));
    assert_eq!(
        results,
        [
            MutationResult::Written(written(1, 2)),
            MutationResult::Written(with_value),
            MutationResult::Deleted(Deleted { deleted: 1, revision: Some(4) }),
        ]
    );
    let changes = world.store.stream(2, None).await.unwrap();
    let told: Vec<_> = changes.iter().map(|change| (change.seq, change.tx, change.tx_end)).collect();
    assert_eq!(told, [(2, 2, false), (3, 2, false), (4, 2, true)]);
}

async fn each_mutation_sees_those_before_it(world: &World) {
    world.put_all(&["a"]).await;
    let absent = Condition { version: Some(0), ..Condition::default() };
    let results = world
        .store
        .mutate_all(vec![
            check("a", 1),
            Mutation::Delete(Delete::keys(["a"])),
            check("a", 0),
            Mutation::Put(Put { condition: absent, ..Put::new("a", json(r#"{"x":1}"#)) }),
            Mutation::Patch(Patch { condition: at(1), ..Patch::merge("a", json(r#"{"y":2}"#)) }),
            Mutation::Check(Check {
                key: "a".to_owned(),
                condition: Condition { version: Some(2), revision: Some(4), exists: None },
            }),
        ])
        .await
        .unwrap();
    assert_eq!(results[4], MutationResult::Written(written(2, 4)));
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json(r#"{"x":1,"y":2}"#));
}

async fn a_failing_mutation_undoes_those_before_it(world: &World) {
    world.put_all(&["a", "b", "b"]).await;
    let before = world.store.list(0, None).await.unwrap();
    for failing in [
        vec![put("new", "1"), put("a", "2"), Mutation::Delete(Delete::keys(["b"])), check("b", 2)],
        vec![Mutation::Delete(Delete::keys(["a", "b"])), put("a", "3"), check("a", 2)],
        vec![
            Mutation::Patch(Patch::merge("a", json(r#"{"x":1}"#))),
            Mutation::Patch(Patch::json_patch("nobody", json("[]"))),
        ],
        vec![Mutation::Delete(Delete::prefix("a")), Mutation::Delete(Delete::range("b", "c")), check("b", 2)],
    ] {
        world.store.mutate_all(failing).await.unwrap_err();
        assert_eq!(world.store.list(0, None).await.unwrap(), before);
        assert_eq!(world.store.stream_seq().await.unwrap(), 3);
    }
    assert_eq!(world.store.put(Put::new("c", json("1"))).await.unwrap(), written(1, 4));
}

async fn the_error_names_the_position_and_the_present_version(world: &World) {
    world.put_all(&["a", "a"]).await;
    let error = world.store.mutate_all(vec![put("b", "1"), put("c", "1"), check("a", 1)]).await.unwrap_err();
    assert_eq!(error.code, Code::VersionMismatch);
    assert_eq!((error.details.index, error.details.current), (Some(2), Some(2)));
    assert!(!error.maybe);
}

async fn a_failed_mutate_harms_no_neighbour_in_its_batch(world: &World) {
    let store = &world.store;
    let (first, failed, last) = tokio::join!(
        store.put(Put::new("a", json("1"))),
        store.mutate_all(vec![put("a", "2"), put("b", "2"), check("nobody", 1)]),
        store.mutate_all(vec![check("a", 1), put("b", "3")]),
    );
    assert_eq!(first.unwrap(), written(1, 1));
    assert_eq!(failed.unwrap_err().details.index, Some(2));
    assert_eq!(last.unwrap()[1], MutationResult::Written(written(1, 2)));
    assert_eq!(store.get("b").await.unwrap().unwrap().value, json("3"));
    let changes = store.stream(0, None).await.unwrap();
    assert!(changes.iter().all(|change| change.tx == change.seq && change.tx_end));
}

async fn a_check_guards_without_writing(world: &World) {
    world.put_all(&["a"]).await;
    let revision = |revision| {
        Mutation::Check(Check {
            key: "a".to_owned(),
            condition: Condition { revision: Some(revision), ..Condition::default() },
        })
    };
    assert_eq!(
        world.store.mutate_all(vec![revision(1), put("b", "1")]).await.unwrap()[0],
        MutationResult::Checked
    );
    let error = world.store.mutate_all(vec![put("b", "2"), revision(7)]).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(1)));
    assert_eq!(world.store.get("a").await.unwrap().unwrap().version, 1);
}

async fn a_check_without_a_condition_is_refused(world: &World) {
    let check = Check { key: "a".to_owned(), condition: Condition::default() };
    let error = world.store.mutate_all(vec![put("b", "1"), Mutation::Check(check)]).await.unwrap_err();
    assert_eq!((error.code, error.details.index), (Code::BadRequest, Some(1)));
}

async fn a_mutate_of_checks_alone_writes_nothing(world: &World) {
    world.put_all(&["a"]).await;
    let results = world.store.mutate_all(vec![check("a", 1), check("b", 0)]).await.unwrap();
    assert_eq!(results, [MutationResult::Checked, MutationResult::Checked]);
    assert_eq!(world.store.stream_seq().await.unwrap(), 1);
}

async fn an_empty_mutate_writes_nothing(world: &World) {
    assert_eq!(world.store.mutate_all(Vec::new()).await.unwrap(), []);
    assert_eq!(world.store.stream_seq().await.unwrap(), 0);
}

async fn range_deletes_see_what_was_put_and_deleted_before_them(world: &World) {
    world.put_all(&["p/1", "p/2", "q/1", "q/2"]).await;
    let results = world
        .store
        .mutate_all(vec![
            put("p/3", "1"),
            Mutation::Delete(Delete::keys(["p/1"])),
            Mutation::Delete(Delete::prefix("p/")),
            Mutation::Delete(Delete::prefix("p/")),
            put("p/2", "2"),
            Mutation::Delete(Delete::range("q/1", "q/2")),
        ])
        .await
        .unwrap();
    let deleted: Vec<u64> =
        results
            .iter()
            .filter_map(|result| {
                if let MutationResult::Deleted(deleted) = result { Some(deleted.deleted) } else { None }
            })
            .collect();
    assert_eq!(deleted, [1, 2, 0, 1]);
    assert_eq!(keys(world).await, ["p/2", "q/2"]);
    // Deleted and put again: the version starts anew.
    assert_eq!(world.store.get("p/2").await.unwrap().unwrap().version, 1);
}

async fn range_deletes_honour_offset_and_limit(world: &World) {
    world.put_all(&["a", "b", "c", "d", "e"]).await;
    world
        .store
        .mutate_all(vec![
            Mutation::Delete(Delete::keys(["a"])),
            Mutation::Delete(Delete { offset: 1, limit: Some(2), ..Delete::all() }),
            Mutation::Delete(Delete { limit: Some(0), ..Delete::all() }),
            put("bb", "1"),
            Mutation::Delete(Delete { offset: 1, limit: Some(1), ..Delete::range("b", "f") }),
        ])
        .await
        .unwrap();
    assert_eq!(keys(world).await, ["b", "e"]);
}

async fn a_range_delete_of_a_large_range_with_a_limit_is_fine(world: &World) {
    put_many(world, 10_500).await;
    let first = || Mutation::Delete(Delete { limit: Some(2), ..Delete::prefix("many/") });
    let named: Vec<String> = (0..500).map(|number| format!("many/{number:05}")).collect();
    world
        .store
        .mutate_all(vec![Mutation::Delete(Delete::keys(named)), first(), first(), first()])
        .await
        .unwrap();
    assert_eq!(world.store.list(0, Some(1)).await.unwrap()[0].key, "many/00506");
    assert_eq!(world.store.count().await.unwrap(), 10_500 - 506);
}

async fn range_deletes_cover_at_most_10_000_records_together(world: &World) {
    put_many(world, 10_001).await;
    let error = world
        .store
        .mutate_all(vec![put("z", "1"), Mutation::Delete(Delete::prefix("many/"))])
        .await
        .unwrap_err();
    assert_eq!((error.code, error.details.index), (Code::TooLarge, Some(1)));
    let halves = |end: &str| {
        vec![
            Mutation::Delete(Delete::range("many/00000", "many/05000")),
            Mutation::Delete(Delete::range("many/05000", end)),
        ]
    };
    let error = world.store.mutate_all(halves("many/10001")).await.unwrap_err();
    assert_eq!((error.code, error.details.index), (Code::TooLarge, Some(1)));
    assert_eq!(world.store.count().await.unwrap(), 10_001);
    world.store.mutate_all(halves("many/10000")).await.unwrap();
    assert_eq!(keys(world).await, ["many/10000"]);
    let changes = world.store.stream(20_000, None).await.unwrap();
    assert_eq!((changes[0].seq, changes[0].tx, changes[0].tx_end), (20_000, 10_002, false));
    assert!(changes[1].tx_end && changes[1].record.key == "many/09999");
}

async fn put_many(world: &World, count: usize) {
    for first in (0..count).step_by(1_000) {
        let numbers = first..count.min(first + 1_000);
        let puts = numbers.map(|number| put(&format!("many/{number:05}"), "0")).collect();
        world.store.mutate_all(puts).await.unwrap();
    }
}

async fn a_failed_range_delete_brings_every_record_back(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    let before = world.store.list(0, None).await.unwrap();
    world
        .store
        .mutate_all(vec![put("b", "2"), Mutation::Delete(Delete::all()), put("a", "9"), check("b", 1)])
        .await
        .unwrap_err();
    assert_eq!(world.store.list(0, None).await.unwrap(), before);
}

async fn a_value_written_and_deleted_in_one_mutate_is_in_the_stream(world: &World) {
    world.store.put(Put::new("b", json(r#""stored""#))).await.unwrap();
    world.store.mutate_all(vec![put("a", r#""new""#), Mutation::Delete(Delete::all())]).await.unwrap();
    let told: Vec<_> = world
        .store
        .stream(2, None)
        .await
        .unwrap()
        .into_iter()
        .map(|change| (change.action, change.record.key, change.record.value))
        .collect();
    assert_eq!(
        told,
        [
            (Action::Create, "a".to_owned(), json(r#""new""#)),
            (Action::Delete, "a".to_owned(), json(r#""new""#)),
            (Action::Delete, "b".to_owned(), json(r#""stored""#)),
        ]
    );
}

async fn patches_of_one_key_build_on_each_other(world: &World) {
    world.store.put(Put::new("a", json(r#"{"n":[]}"#))).await.unwrap();
    let append = |number: u32| {
        let patch = format!(r#"[{{"op":"add","path":"/n/-","value":{number}}}]"#);
        Mutation::Patch(Patch::json_patch("a", json(&patch)))
    };
    world.store.mutate_all((0..3).map(append).collect()).await.unwrap();
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json(r#"{"n":[0,1,2]}"#));
}

async fn more_patched_values_than_fit_are_too_large(world: &World) {
    let large = json(&format!("{{\"x\":\"{}\"}}", "x".repeat(7 * 1_024 * 1_024)));
    for key in 0..6 {
        world.store.put(Put::new(key.to_string(), large.clone())).await.unwrap();
    }
    let patches = |count: u32| {
        let patch = |key: u32| Mutation::Patch(Patch::merge(key.to_string(), json(r#"{"x":null}"#)));
        (0..count).map(patch).collect()
    };
    let error = world.store.mutate_all(patches(6)).await.unwrap_err();
    assert_eq!((error.code, error.details.index), (Code::TooLarge, Some(5)));
    assert_eq!(world.store.stream_seq().await.unwrap(), 6);
    // A put in the same mutate makes the stored value needless.
    let mut replaced = vec![put("5", "{}")];
    replaced.extend::<Vec<Mutation>>(patches(6));
    world.store.mutate_all(replaced).await.unwrap();
    assert_eq!(world.store.get("4").await.unwrap().unwrap().value, json("{}"));
}

async fn too_many_mutations_are_refused(world: &World) {
    let mutations = |count| vec![put("a", "1"); count];
    assert_eq!(world.store.mutate_all(mutations(1_001)).await.unwrap_err().code, Code::TooLarge);
    assert_eq!(world.store.mutate_all(mutations(1_000)).await.unwrap().len(), 1_000);
}

async fn a_mutate_over_its_bytes_is_refused(world: &World) {
    let value = format!("\"{}\"", "x".repeat(7 * 1_024 * 1_024));
    let error = world.store.mutate_all(vec![put("a", &value), put("b", &value)]).await.unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
    assert_eq!(world.store.stream_seq().await.unwrap(), 0);
}

async fn a_mutation_that_makes_no_sense_is_named_by_its_position(world: &World) {
    for mutation in [put("", "1"), put("a\0", "1"), Mutation::Delete(Delete::prefix(""))] {
        let error = world.store.mutate_all(vec![put("a", "1"), mutation]).await.unwrap_err();
        assert_eq!((error.code, error.details.index), (Code::BadRequest, Some(1)));
    }
    assert_eq!(world.store.get("a").await.unwrap(), None);
    let grant = world.store.lock_acquire("l", "me", Duration::from_secs(1)).await.unwrap();
    let fenced = Guarded::new(&*world.store).fence("l", grant.fence + 1);
    assert_eq!(fenced.mutate_all(vec![put("a", "1")]).await.unwrap_err().code, Code::Fenced);
}
