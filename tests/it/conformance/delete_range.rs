use kv::limits::DELETE_SLICE_RECORDS;
use kv::store::{
    Action, Code, Condition, Delete, Deleted, Guarded, Mutation, Put, Selector, Store as _, Target,
};

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
    one_slice_is_deleted_as_one_call,
    more_than_one_slice_is_deleted_as_several_calls,
    offset_and_limit_hold_across_slices,
    what_others_put_meanwhile_is_no_part_of_what_is_told,
    a_repeat_of_a_delete_of_several_slices_gets_the_same_reply,
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
    let condition = Condition { version: Some(1), ..Condition::default() };
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

/// Puts so many records below `p/`, and answers their keys in order.
async fn put_many(world: &World, records: u64) -> Vec<String> {
    let keys: Vec<String> = (0..records).map(|number| format!("p/{number:06}")).collect();
    for keys in keys.chunks(1_000) {
        let puts = keys.iter().map(|key| Mutation::Put(Put::new(key, json("0")))).collect();
        world.store.mutate_all(puts).await.unwrap();
    }
    keys
}

/// Asserts that these keys were deleted in this order behind a seq, each slice as a call of its own.
async fn assert_slices(world: &World, behind: u64, keys: &[String]) {
    let changes = world.store.stream(behind + 1, None).await.unwrap();
    assert_eq!(changes.len(), keys.len());
    for ((index, change), key) in (0..).zip(&changes).zip(keys) {
        let seq = behind + 1 + index;
        let is_last = index + 1 == keys.len() as u64 || (index + 1) % DELETE_SLICE_RECORDS == 0;
        let expected = (seq, seq - index % DELETE_SLICE_RECORDS, is_last, Action::Delete, key);
        let told = (change.seq, change.tx, change.tx_end, change.action, &change.record.key);
        assert_eq!(told, expected);
    }
}

async fn one_slice_is_deleted_as_one_call(world: &World) {
    let keys = put_many(world, DELETE_SLICE_RECORDS).await;
    let deleted = world.store.delete(Delete::all()).await.unwrap();
    let head = 2 * DELETE_SLICE_RECORDS;
    assert_eq!(deleted, Deleted { deleted: DELETE_SLICE_RECORDS, revision: Some(head) });
    assert_slices(world, DELETE_SLICE_RECORDS, &keys).await;
    let changes = world.store.stream(DELETE_SLICE_RECORDS + 1, None).await.unwrap();
    assert!(changes.iter().all(|change| change.tx == DELETE_SLICE_RECORDS + 1));
}

async fn more_than_one_slice_is_deleted_as_several_calls(world: &World) {
    let records = 2 * DELETE_SLICE_RECORDS + 1;
    let keys = put_many(world, records).await;
    let deleted = world.store.delete(Delete::prefix("p/")).await.unwrap();
    assert_eq!(deleted, Deleted { deleted: records, revision: Some(2 * records) });
    assert_eq!(world.store.count().await.unwrap(), 0);
    assert_slices(world, records, &keys).await;
}

async fn offset_and_limit_hold_across_slices(world: &World) {
    let records = 2 * DELETE_SLICE_RECORDS + 500;
    let mut keys = put_many(world, records).await;
    let limit = 2 * DELETE_SLICE_RECORDS;
    let store = &world.store;
    assert_eq!(store.delete_range("p/000100", "p/9", 7, Some(limit)).await.unwrap(), limit);
    let deleted: Vec<String> = keys.drain(107..).take(usize::try_from(limit).unwrap()).collect();
    assert_slices(world, records, &deleted).await;
    let left: Vec<String> =
        (0..107).chain(107 + limit..records).map(|number| format!("p/{number:06}")).collect();
    assert_eq!(self::keys(world).await, left);
}

async fn what_others_put_meanwhile_is_no_part_of_what_is_told(world: &World) {
    let records = 2 * DELETE_SLICE_RECORDS + 500;
    put_many(world, records).await;
    let store = &world.store;
    let puts = async {
        let mut revisions = Vec::new();
        for number in 0..50 {
            let key = format!("p/x/{number}");
            revisions.push(store.put(Put::new(key, json("1"))).await.unwrap().revision);
        }
        revisions
    };
    let (deleted, revisions) = tokio::join!(store.delete(Delete::prefix("p/")), puts);
    let Deleted { deleted, revision } = deleted.unwrap();
    assert_eq!(deleted, records, "as many as there were when it began");
    assert_eq!(store.count().await.unwrap(), 50, "they came behind its first slice");
    // Each change of the delete is a part of a call that nobody writes into.
    let changes = store.stream(records + 1, None).await.unwrap();
    assert_eq!(changes.len() as u64, records + 50);
    let mut tx = None;
    for change in &changes {
        assert_eq!(change.tx, *tx.get_or_insert(change.seq));
        assert_eq!(change.action == Action::Create, revisions.contains(&change.seq));
        if change.tx_end {
            tx = None;
        }
    }
    let last = changes.iter().rfind(|change| change.action == Action::Delete).unwrap();
    assert_eq!(revision, Some(last.seq));
}

async fn a_repeat_of_a_delete_of_several_slices_gets_the_same_reply(world: &World) {
    let records = DELETE_SLICE_RECORDS + 1;
    put_many(world, records).await;
    let once = Guarded::new(&*world.store).once("id");
    let first = once.delete(Delete::all()).await.unwrap();
    assert_eq!(first, Deleted { deleted: records, revision: Some(2 * records) });
    world.put_all(&["p/1"]).await;
    assert_eq!(once.delete(Delete::all()).await.unwrap(), first);
    assert_eq!(keys(world).await, ["p/1"]);
}
