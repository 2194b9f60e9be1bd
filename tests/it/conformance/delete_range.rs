use kv::store::{Action, Code, Condition, Delete, Deleted, Put, Selector, Target};

use crate::support::{World, json};

cases! {
    a_prefix_is_deleted_in_key_order_as_one_call,
    a_range_is_half_open,
    offset_and_limit_count_in_key_order,
    nothing_to_delete_is_no_change,
    an_empty_prefix_is_refused_and_all_is_not,
    a_prefix_is_no_pattern,
    the_end_of_the_code_points_is_no_end_of_a_prefix,
    a_condition_on_a_range_is_refused,
    a_type_is_no_range,
    a_range_delete_takes_its_place_among_the_writes_around_it,
    a_deleted_range_can_be_put_again,
    more_records_than_a_page_are_deleted_at_once,
}

async fn keys(world: &World) -> Vec<String> {
    world.store.list(0, None).await.unwrap().into_iter().map(|record| record.key).collect()
}

async fn a_prefix_is_deleted_in_key_order_as_one_call(world: &World) {
    world.put_all(&["p/2", "p/1", "q", "p/10"]).await;
    world.store.put(Put::new("p/1", json(r#""last""#)).of_type("T")).await.unwrap();
    let deleted = world.store.delete(Delete::prefix("p/")).await.unwrap();
    assert_eq!(deleted, Deleted { deleted: 3, revision: Some(8) });
    assert_eq!(keys(world).await, ["q"]);
    let changes = world.store.stream(6, None).await.unwrap();
    let told: Vec<_> = changes
        .iter()
        .map(|change| (change.seq, change.tx, change.tx_end, change.action, change.record.key.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (6, 6, false, Action::Delete, "p/1"),
            (7, 6, false, Action::Delete, "p/10"),
            (8, 6, true, Action::Delete, "p/2"),
        ]
    );
    let last = &changes[0].record;
    assert_eq!((last.version, last.revision, last.record_type.as_deref()), (2, 5, Some("T")));
    assert_eq!(last.value, json(r#""last""#));
}

async fn a_range_is_half_open(world: &World) {
    world.put_all(&["a", "b", "c", "d"]).await;
    assert_eq!(world.store.delete_range("b", "d", 0, None).await.unwrap(), 2);
    assert_eq!(keys(world).await, ["a", "d"]);
    assert_eq!(world.store.delete_range("d", "a", 0, None).await.unwrap(), 0);
    assert_eq!(world.store.delete_range("", "b", 0, None).await.unwrap(), 1);
}

async fn offset_and_limit_count_in_key_order(world: &World) {
    world.put_all(&["e", "d", "c", "b", "a"]).await;
    assert_eq!(world.store.delete_range("a", "e", 1, Some(2)).await.unwrap(), 2);
    assert_eq!(keys(world).await, ["a", "d", "e"]);
    let seqs: Vec<_> = world
        .store
        .stream(6, None)
        .await
        .unwrap()
        .into_iter()
        .map(|change| (change.seq, change.tx_end, change.record.key))
        .collect();
    assert_eq!(seqs, [(6, false, "b".to_owned()), (7, true, "c".to_owned())]);
    assert_eq!(world.store.delete_range("a", "f", 9, None).await.unwrap(), 0);
    assert_eq!(world.store.delete_range("a", "f", 0, Some(0)).await.unwrap(), 0);
    assert_eq!(world.store.delete_range("a", "f", 2, None).await.unwrap(), 1);
    assert_eq!(keys(world).await, ["a", "d"]);
}

async fn nothing_to_delete_is_no_change(world: &World) {
    world.put_all(&["a"]).await;
    let deleted = world.store.delete(Delete::prefix("b")).await.unwrap();
    assert_eq!(deleted, Deleted { deleted: 0, revision: None });
    assert_eq!(world.store.stream_seq().await.unwrap(), 1);
}

async fn an_empty_prefix_is_refused_and_all_is_not(world: &World) {
    world.put_all(&["a", "b"]).await;
    let error = world.store.delete_prefix("", 0, None).await.unwrap_err();
    assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("prefix")));
    assert!(error.hint.unwrap().contains("--all"));
    assert_eq!(world.store.delete(Delete { limit: Some(1), ..Delete::all() }).await.unwrap().deleted, 1);
    assert_eq!(world.store.delete(Delete::all()).await.unwrap().deleted, 1);
    assert_eq!(keys(world).await, [""; 0]);
}

async fn a_prefix_is_no_pattern(world: &World) {
    world.put_all(&["a%", "a%b", "a_", "ab", "A%", "a*", "a\\"]).await;
    assert_eq!(world.store.delete_prefix("a%", 0, None).await.unwrap(), 2);
    assert_eq!(world.store.delete_prefix("a_", 0, None).await.unwrap(), 1);
    assert_eq!(world.store.delete_prefix("a*", 0, None).await.unwrap(), 1);
    assert_eq!(world.store.delete_prefix("a\\", 0, None).await.unwrap(), 1);
    assert_eq!(keys(world).await, ["A%", "ab"]);
}

async fn the_end_of_the_code_points_is_no_end_of_a_prefix(world: &World) {
    world.put_all(&["\u{D7FF}x", "\u{E000}", "\u{10FFFF}", "\u{10FFFF}\u{10FFFF}", "z"]).await;
    assert_eq!(world.store.delete_prefix("\u{D7FF}", 0, None).await.unwrap(), 1);
    assert_eq!(world.store.delete_prefix("\u{10FFFF}", 0, None).await.unwrap(), 2);
    assert_eq!(keys(world).await, ["z", "\u{E000}"]);
}

async fn a_condition_on_a_range_is_refused(world: &World) {
    let condition = Condition { version: Some(1), revision: None };
    let delete = Delete { condition, ..Delete::prefix("a") };
    assert_eq!(world.store.delete(delete).await.unwrap_err().code, Code::BadRequest);
}

async fn a_type_is_no_range(world: &World) {
    let target = Target::Selection(Selector::Type("T".to_owned()));
    let error = world.store.delete(Delete { target, ..Delete::all() }).await.unwrap_err();
    assert_eq!(error.code, Code::BadRequest);
}

async fn a_range_delete_takes_its_place_among_the_writes_around_it(world: &World) {
    let store = &world.store;
    let (a, b, deleted, again, c) = tokio::join!(
        store.put(Put::new("p/a", json("1"))),
        store.put(Put::new("p/b", json("1"))),
        store.delete(Delete::prefix("p/")),
        store.put(Put::new("p/a", json("2"))),
        store.delete(Delete::prefix("p/")),
    );
    assert_eq!((a.unwrap().revision, b.unwrap().revision), (1, 2));
    assert_eq!(deleted.unwrap(), Deleted { deleted: 2, revision: Some(4) });
    assert_eq!((again.as_ref().unwrap().version, again.unwrap().revision), (1, 5));
    assert_eq!(c.unwrap(), Deleted { deleted: 1, revision: Some(6) });
}

async fn a_deleted_range_can_be_put_again(world: &World) {
    world.put_all(&["a", "a", "b"]).await;
    world.store.delete(Delete::all()).await.unwrap();
    let written = world.store.put(Put::new("a", json("1"))).await.unwrap();
    assert_eq!((written.version, written.revision), (1, 6));
}

async fn more_records_than_a_page_are_deleted_at_once(world: &World) {
    let names: Vec<String> = (0..2_500).map(|number| format!("p/{number:04}")).collect();
    let puts = names.iter().map(|key| world.store.put(Put::new(key, json("0"))));
    futures_util::future::join_all(puts).await.into_iter().for_each(|written| assert!(written.is_ok()));
    assert_eq!(world.store.delete_prefix("p/", 0, None).await.unwrap(), 2_500);
    let changes = world.store.stream(2_501, None).await.unwrap();
    assert_eq!(changes.len(), 2_500);
    for ((seq, change), key) in (2_501..).zip(&changes).zip(&names) {
        assert_eq!((change.seq, change.tx, &change.record.key), (seq, 2_501, key));
        assert_eq!(change.tx_end, seq == 5_000);
    }
}
