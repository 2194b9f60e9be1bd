use kv::store::{Action, Delete, Put, Stream, Timestamp};

use crate::support::{START_MS, World, json};

cases! {
    a_fresh_stream_is_empty_and_its_seq_is_0,
    every_change_is_one_record_in_order,
    a_delete_carries_the_last_record,
    the_changes_of_one_call_share_their_tx,
    seq_and_limit_cut_the_stream,
    filters_pass_over_what_does_not_match_and_next_goes_on,
    a_page_of_the_stream_ends_at_1000_changes,
    a_seq_beyond_the_head_gives_nothing,
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
        let page = world.store.changes(Stream { prefix, record_type, ..Stream::default() }).await.unwrap();
        assert_eq!(page.next, 4, "all was examined");
        page.changes.iter().map(|change| change.seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(Some("a/"), None).await, [1, 3]);
    assert_eq!(seqs(None, Some("X")).await, [1, 2]);
    assert_eq!(seqs(Some("a/"), Some("X")).await, [1]);
    assert_eq!(seqs(Some("A/"), None).await, [0; 0]);
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

async fn a_seq_beyond_the_head_gives_nothing(world: &World) {
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    let page = world.store.changes(Stream { seq: 9, ..Stream::default() }).await.unwrap();
    assert_eq!((page.changes.len(), page.next, page.seq), (0, 9, 1));
}
