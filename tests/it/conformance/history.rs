//! Earlier states of the store, as its stream tells them.

use kv::store::{Code, Delete, Filter, Put, Timestamp, Trim, history};

use crate::support::{START_MS, World, json};

cases! {
    a_record_is_told_as_it_was_at_each_revision,
    a_record_is_told_across_pages_of_other_changes,
    what_was_trimmed_is_not_told_unless_nothing_has_changed_since,
    a_time_is_found_in_the_stream,
    the_newest_changes_that_match_are_found,
}

async fn a_record_is_told_as_it_was_at_each_revision(world: &World) {
    world.store.put(Put::new("other", json("0"))).await.unwrap();
    world.store.put(Put::new("a", json("1")).of_type("T")).await.unwrap();
    world.store.put(Put::new("a", json("2"))).await.unwrap();
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    world.store.put(Put::new("a", json("3"))).await.unwrap();
    let value = async |revision: u64| {
        let record = history::record_at(&*world.store, "a", revision).await.unwrap();
        record.map(|record| (record.value.get().to_owned(), record.version, record.revision))
    };
    let expected = [None, None, Some(("1", 1, 2)), Some(("2", 2, 3)), None, Some(("3", 1, 5))];
    for (revision, expected) in (0..).zip(expected) {
        let expected = expected.map(|(text, version, revision)| (text.to_owned(), version, revision));
        assert_eq!(value(revision).await, expected, "{revision}");
    }
    let error = history::record_at(&*world.store, "a", 6).await.unwrap_err();
    assert_eq!(error.code, Code::Future);
}

async fn a_record_is_told_across_pages_of_other_changes(world: &World) {
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    // More than one page examines.
    for _ in 0..11 {
        let puts = (0..1_000).map(|number| world.store.put(Put::new(format!("b{number}"), json("0"))));
        for outcome in futures_util::future::join_all(puts).await {
            outcome.unwrap();
        }
    }
    let record = history::record_at(&*world.store, "a", 11_001).await.unwrap();
    assert_eq!(record.map(|record| record.revision), Some(1));
    assert_eq!(history::record_at(&*world.store, "nosuch", 11_001).await.unwrap(), None);
    assert_eq!(history::seq_before_newest(&*world.store, 1, Filter::key("a")).await.unwrap(), 0);
}

async fn what_was_trimmed_is_not_told_unless_nothing_has_changed_since(world: &World) {
    world.put_all(&["same", "changed", "gone"]).await;
    world.store.put(Put::new("changed", json("2"))).await.unwrap();
    world.store.delete(Delete::keys(["gone"])).await.unwrap();
    world.store.stream_trim(Trim::All).await.unwrap();
    world.store.put(Put::new("last", json("1"))).await.unwrap();
    for revision in [1, 5, 6] {
        let record = history::record_at(&*world.store, "same", revision).await.unwrap();
        assert_eq!(record.map(|record| record.revision), Some(1), "{revision}");
    }
    let changed = async |revision: u64| history::record_at(&*world.store, "changed", revision).await;
    assert_eq!(changed(4).await.unwrap().map(|record| record.version), Some(2));
    assert_eq!(changed(3).await.unwrap_err().code, Code::Trimmed);
    for key in ["gone", "nosuch"] {
        let error = history::record_at(&*world.store, key, 5).await.unwrap_err();
        assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(6)), "{key}");
    }
}

async fn a_time_is_found_in_the_stream(world: &World) {
    let find = async |after_ms: i64| {
        history::seq_before(&*world.store, Timestamp::from_unix_ms(START_MS + after_ms)).await.unwrap()
    };
    assert_eq!(find(0).await, 0, "an empty stream");
    for _ in 0..3 {
        world.put_all(&["a", "b"]).await;
        world.clock.advance_ms(10);
    }
    for (after_ms, expected) in [(-1, 0), (0, 0), (1, 2), (10, 2), (11, 4), (20, 4), (21, 6), (99, 6)] {
        assert_eq!(find(after_ms).await, expected, "{after_ms}");
    }
    world.store.stream_trim(Trim::UpTo(3)).await.unwrap();
    assert_eq!((find(0).await, find(10).await, find(11).await), (3, 3, 4));
    assert_eq!(history::seq_before_first(&*world.store).await.unwrap(), 3);
}

async fn the_newest_changes_that_match_are_found(world: &World) {
    world.put_all(&["a", "b", "a", "b", "b"]).await;
    let find = async |count: u64, filter: Filter| {
        history::seq_before_newest(&*world.store, count, filter).await.unwrap()
    };
    assert_eq!(find(0, Filter::default()).await, 5);
    assert_eq!(find(2, Filter::default()).await, 3);
    assert_eq!(find(9, Filter::default()).await, 0);
    assert_eq!(find(1, Filter::key("a")).await, 2);
    assert_eq!(find(2, Filter::key("a")).await, 0);
    assert_eq!(find(1, Filter::key("x")).await, 0);
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    assert_eq!(find(9, Filter::key("a")).await, 2);
}
