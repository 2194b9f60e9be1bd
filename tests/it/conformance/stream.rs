use kv::store::{Action, Code, Delete, Filter, Put, Read, Reply, Request, Stream, Timestamp, Trim};

use crate::support::{START_MS, World, json, written};

cases! {
    a_fresh_stream_is_empty_and_its_seq_is_0,
    every_change_is_one_record_in_order,
    a_delete_carries_the_last_record,
    the_changes_of_one_call_share_their_tx,
    seq_and_limit_cut_the_stream,
    filters_pass_over_what_does_not_match_and_next_goes_on,
    the_stream_is_read_backwards_page_by_page,
    what_was_trimmed_ends_the_way_back,
    the_filter_of_a_key_matches_no_other_key,
    a_page_of_the_stream_ends_at_1000_changes,
    a_page_of_the_stream_ends_at_1_mib_and_holds_at_least_one_change,
    a_seq_beyond_the_head_gives_nothing,
    a_trim_removes_up_to_its_seq_and_numbers_go_on,
    a_trim_of_nothing_removes_nothing,
    a_trim_of_everything_keeps_the_records,
    reading_what_was_trimmed_tells_the_first_that_is_kept,
    a_trim_among_other_writes_takes_its_place,
    two_changes_of_a_key_in_one_batch_stand_in_order,
}

async fn a_fresh_stream_is_empty_and_its_seq_is_0(world: &World) {
    assert_eq!(world.store.stream_seq().await.unwrap(), 0);
    assert_eq!(world.store.stream(0, None).await.unwrap(), []);
    assert_eq!(world.store.changes(Stream::default()).await.unwrap().next, 1);
}

async fn every_change_is_one_record_in_order(world: &World) {
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    world.clock.advance_ms(5);
    world.store.put(Put::new("a", json("2")).of_type("T")).await.unwrap();
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    let changes = world.store.stream(0, None).await.unwrap();
    let facts: Vec<_> = changes.iter().map(|c| (c.seq, c.tx, c.tx_end, c.action, c.record.version)).collect();
    assert_eq!(
        facts,
        [(1, 1, true, Action::Create, 1), (2, 2, true, Action::Update, 2), (3, 3, true, Action::Delete, 2)]
    );
    assert_eq!(changes[0].time, Timestamp::from_unix_ms(START_MS));
    assert_eq!(changes[1].time, Timestamp::from_unix_ms(START_MS + 5));
    assert_eq!(changes[1].record.record_type.as_deref(), Some("T"));
}

async fn a_delete_carries_the_last_record(world: &World) {
    world.store.put(Put::new("a", json(r#"{"secret":1.10}"#))).await.unwrap();
    let before = world.store.get("a").await.unwrap().unwrap();
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    assert_eq!(world.store.stream(2, None).await.unwrap()[0].record, before);
}

async fn the_changes_of_one_call_share_their_tx(world: &World) {
    for key in ["a", "b", "c"] {
        world.store.put(Put::new(key, json("1"))).await.unwrap();
    }
    world.store.delete(Delete::keys(["c", "a", "b"])).await.unwrap();
    let changes = world.store.stream(4, None).await.unwrap();
    let facts: Vec<_> = changes.iter().map(|c| (c.seq, c.tx, c.tx_end, c.record.key.as_str())).collect();
    assert_eq!(facts, [(4, 4, false, "c"), (5, 4, false, "a"), (6, 4, true, "b")]);
}

async fn seq_and_limit_cut_the_stream(world: &World) {
    for _ in 0..5 {
        world.store.put(Put::new("a", json("1"))).await.unwrap();
    }
    for (seq, limit, expected) in [(0, Some(2), vec![1, 2]), (2, Some(2), vec![2, 3]), (4, None, vec![4, 5])]
    {
        let changes = world.store.stream(seq, limit).await.unwrap();
        assert_eq!(changes.iter().map(|change| change.seq).collect::<Vec<_>>(), expected);
    }
    let page = world.store.changes(Stream { seq: 2, limit: Some(2), ..Stream::default() }).await.unwrap();
    assert_eq!((page.seq, page.next), (5, 4));
    let page = world.store.changes(Stream { seq: 2, limit: Some(0), ..Stream::default() }).await.unwrap();
    assert_eq!((page.changes.len(), page.next), (0, 2));
}

async fn filters_pass_over_what_does_not_match_and_next_goes_on(world: &World) {
    for (key, record_type) in [("a/1", "X"), ("b/1", "X"), ("a/2", "Y")] {
        world.store.put(Put::new(key, json("1")).of_type(record_type)).await.unwrap();
    }
    let seqs = async |prefix: Option<&str>, record_type: Option<&str>| {
        let (prefix, record_type) = (prefix.map(str::to_owned), record_type.map(str::to_owned));
        let filter = Filter { prefix, record_type, ..Filter::default() };
        let page = world.store.changes(Stream { filter, ..Stream::default() }).await.unwrap();
        assert_eq!(page.next, 4, "all was examined");
        page.changes.iter().map(|change| change.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Some("a/"), None).await, [1, 3]);
    assert_eq!(seqs(None, Some("X")).await, [1, 2]);
    assert_eq!(seqs(Some("a/"), Some("X")).await, [1]);
    assert_eq!(seqs(Some("A/"), None).await, [0; 0]);
}

async fn the_stream_is_read_backwards_page_by_page(world: &World) {
    world.put_all(&["a", "b", "a", "c", "a"]).await;
    let back = async |seq: u64, limit: u64, filter: Filter| {
        let stream = Stream { seq, limit: Some(limit), reverse: true, filter };
        let page = world.store.changes(stream).await.unwrap();
        (page.changes.iter().map(|change| change.seq).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(back(0, 2, Filter::default()).await, (vec![5, 4], 3));
    assert_eq!(back(3, 2, Filter::default()).await, (vec![3, 2], 1));
    assert_eq!(back(1, 2, Filter::default()).await, (vec![1], 0));
    assert_eq!(back(99, 1, Filter::default()).await, (vec![5], 4));
    assert_eq!(back(0, 0, Filter::default()).await, (vec![], 5));
    assert_eq!(back(0, 2, Filter::key("a")).await, (vec![5, 3], 2));
    assert_eq!(back(2, 2, Filter::key("a")).await, (vec![1], 0));
    assert_eq!(back(0, 9, Filter::prefix("x")).await, (vec![], 0));
}

async fn what_was_trimmed_ends_the_way_back(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    let back = async |seq: u64| world.store.changes(Stream { seq, reverse: true, ..Stream::default() }).await;
    let page = back(0).await.unwrap();
    assert_eq!((page.changes.len(), page.changes[0].seq, page.next), (1, 3, 0));
    let error = back(2).await.unwrap_err();
    assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(3)));
    world.store.stream_trim(Trim::All).await.unwrap();
    let page = back(0).await.unwrap();
    assert_eq!((page.changes.len(), page.next), (0, 0));
}

async fn the_filter_of_a_key_matches_no_other_key(world: &World) {
    world.put_all(&["a", "A", "a/", "a%", "b"]).await;
    for (key, expected) in [("a", 1), ("A", 2), ("a/", 3), ("a%", 4)] {
        let page =
            world.store.changes(Stream { filter: Filter::key(key), ..Stream::default() }).await.unwrap();
        assert_eq!(page.changes.iter().map(|change| change.seq).collect::<Vec<_>>(), [expected], "{key}");
        assert_eq!(page.next, 6, "all was examined");
    }
    for filter in [Filter::key(""), Filter { prefix: Some("a".to_owned()), ..Filter::key("a") }] {
        let error = world.store.changes(Stream { filter, ..Stream::default() }).await.unwrap_err();
        assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("key")));
    }
}

async fn a_page_of_the_stream_ends_at_1000_changes(world: &World) {
    let puts = (0..1_001).map(|number| world.store.put(Put::new(format!("{number}"), json("1"))));
    for outcome in futures_util::future::join_all(puts).await {
        outcome.unwrap();
    }
    let page = world.store.changes(Stream::default()).await.unwrap();
    assert_eq!((page.changes.len(), page.next), (1_000, 1_001));
    let seqs: Vec<u64> = world.store.stream(0, None).await.unwrap().iter().map(|change| change.seq).collect();
    assert_eq!(seqs, (1..=1_001).collect::<Vec<u64>>());
}

async fn a_page_of_the_stream_ends_at_1_mib_and_holds_at_least_one_change(world: &World) {
    let text = |bytes: usize| json(&format!("\"{}\"", "x".repeat(bytes - 2)));
    for bytes in [700 * 1_024, 700 * 1_024, 8 * 1_024 * 1_024, 3] {
        world.store.put(Put::new("a", text(bytes))).await.unwrap();
    }
    let mut next = 1;
    for (changes, expected) in [(2, 3), (1, 4), (1, 5)] {
        let page = world.store.changes(Stream { seq: next, ..Stream::default() }).await.unwrap();
        assert_eq!((page.changes.len(), page.next), (changes, expected));
        next = page.next;
    }
    assert_eq!(world.store.stream(0, None).await.unwrap().len(), 4);
}

async fn a_seq_beyond_the_head_gives_nothing(world: &World) {
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    let page = world.store.changes(Stream { seq: 9, ..Stream::default() }).await.unwrap();
    assert_eq!((page.changes.len(), page.next, page.seq), (0, 9, 1));
}

/// The last seq, and the first that is kept.
async fn bounds(world: &World) -> (u64, u64) {
    match world.store.call(Request::Read(Read::StreamSeq)).await.unwrap() {
        Reply::Head { seq, first } => (seq, first),
        other => panic!("{other:?}"),
    }
}

async fn a_trim_removes_up_to_its_seq_and_numbers_go_on(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    assert_eq!(world.store.stream_trim(Trim::UpTo(2)).await.unwrap(), 2);
    assert_eq!(bounds(world).await, (3, 3));
    let seqs = |changes: Vec<kv::store::Change>| changes.iter().map(|change| change.seq).collect::<Vec<_>>();
    assert_eq!(seqs(world.store.stream(0, None).await.unwrap()), [3]);
    assert_eq!(world.store.stream_trim(Trim::UpTo(2)).await.unwrap(), 0);
    assert_eq!(world.store.stream_trim(Trim::UpTo(1)).await.unwrap(), 0);
    assert_eq!(world.store.stream_trim(Trim::UpTo(99)).await.unwrap(), 1);
    assert_eq!(bounds(world).await, (3, 4));
    assert_eq!(world.store.put(Put::new("a", json("2"))).await.unwrap(), written(2, 4));
    assert_eq!(seqs(world.store.stream(0, None).await.unwrap()), [4]);
}

async fn a_trim_of_nothing_removes_nothing(world: &World) {
    assert_eq!(world.store.stream_trim(Trim::UpTo(0)).await.unwrap(), 0);
    assert_eq!(world.store.stream_trim(Trim::UpTo(5)).await.unwrap(), 0);
    assert_eq!(world.store.stream_trim(Trim::All).await.unwrap(), 0);
    assert_eq!(bounds(world).await, (0, 1));
    world.put_all(&["a"]).await;
    assert_eq!(world.store.stream_trim(Trim::UpTo(0)).await.unwrap(), 0);
    assert_eq!(bounds(world).await, (1, 1));
}

async fn a_trim_of_everything_keeps_the_records(world: &World) {
    world.put_all(&["a", "b"]).await;
    assert_eq!(world.store.stream_trim(Trim::All).await.unwrap(), 2);
    assert_eq!(world.store.stream(0, None).await.unwrap(), []);
    assert_eq!(bounds(world).await, (2, 3));
    assert_eq!(world.store.count().await.unwrap(), 2);
    assert_eq!(world.store.changes(Stream::default()).await.unwrap().next, 3);
}

async fn reading_what_was_trimmed_tells_the_first_that_is_kept(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    for seq in [1, 2] {
        let error = world.store.stream(seq, None).await.unwrap_err();
        assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(3)));
    }
    assert_eq!(world.store.stream(3, None).await.unwrap().len(), 1);
    assert_eq!(world.store.stream(0, None).await.unwrap().len(), 1);
}

async fn a_trim_among_other_writes_takes_its_place(world: &World) {
    let store = &world.store;
    let (_, trimmed, put, trimmed_again, last) = tokio::join!(
        store.put(Put::new("a", json("1"))),
        store.stream_trim(Trim::All),
        store.put(Put::new("b", json("1"))),
        store.stream_trim(Trim::UpTo(1)),
        store.put(Put::new("c", json("1"))),
    );
    assert_eq!((trimmed.unwrap(), trimmed_again.unwrap()), (1, 0));
    assert_eq!((put.unwrap(), last.unwrap()), (written(1, 2), written(1, 3)));
    let keys: Vec<_> =
        store.stream(0, None).await.unwrap().into_iter().map(|change| change.record.key).collect();
    assert_eq!(keys, ["b", "c"]);
}

async fn two_changes_of_a_key_in_one_batch_stand_in_order(world: &World) {
    let store = &world.store;
    let (put, deleted, again) = tokio::join!(
        store.put(Put::new("a", json("1"))),
        store.delete(Delete::keys(["a"])),
        store.put(Put::new("a", json("2"))),
    );
    assert_eq!(
        (put.unwrap(), deleted.unwrap().revision, again.unwrap()),
        (written(1, 1), Some(2), written(1, 3))
    );
    let told: Vec<_> = store
        .stream(0, None)
        .await
        .unwrap()
        .into_iter()
        .map(|change| (change.action, change.record.value))
        .collect();
    let (one, two) = (json("1"), json("2"));
    assert_eq!(told, [(Action::Create, one.clone()), (Action::Delete, one), (Action::Create, two)]);
}
