use kv::store::{List, Page, Put, Record, Selector};

use crate::support::{World, json};

cases! {
    keys_come_in_the_order_of_their_bytes,
    a_prefix_is_a_range_and_no_pattern,
    a_range_holds_its_from_and_not_its_to,
    a_type_selects_its_records,
    offset_and_limit_cut_the_listing,
    after_goes_on_beyond_a_key_in_both_directions,
    a_page_ends_at_1000_records,
    a_page_ends_at_1_mib_and_holds_at_least_one_record,
    a_value_of_8_mib_ends_its_page,
    each_selection_is_walked_page_by_page_to_its_end,
    keys_only_answers_the_keys,
    next_stands_exactly_where_there_is_more,
}

fn keys(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.key.as_str()).collect()
}

async fn keys_come_in_the_order_of_their_bytes(world: &World) {
    world.put_all(&["b", "a", "B", "ä", "~", "a/b", "a b", "\u{10FFFF}", "_"]).await;
    let expected = ["B", "_", "a", "a b", "a/b", "b", "~", "ä", "\u{10FFFF}"];
    assert_eq!(keys(&world.store.list(0, None).await.unwrap()), expected);
    let reversed = List { reverse: true, ..List::default() };
    let expected: Vec<&str> = expected.into_iter().rev().collect();
    assert_eq!(keys(&world.store.records(reversed).await.unwrap()), expected);
}

async fn a_prefix_is_a_range_and_no_pattern(world: &World) {
    world
        .put_all(&["user_1", "userX1", "user%", "User/1", "user/1", "*a", "a*", "\u{D7FF}x", "\u{E000}"])
        .await;
    world.put_all(&["\u{10FFFF}", "\u{10FFFF}z"]).await;
    for (prefix, expected) in [
        ("user_", vec!["user_1"]),
        ("user%", vec!["user%"]),
        ("user/", vec!["user/1"]),
        ("*", vec!["*a"]),
        ("\\", vec![]),
        ("\u{D7FF}", vec!["\u{D7FF}x"]),
        ("\u{10FFFF}", vec!["\u{10FFFF}", "\u{10FFFF}z"]),
    ] {
        assert_eq!(keys(&world.store.get_prefix(prefix, 0, None).await.unwrap()), expected, "{prefix:?}");
    }
    assert_eq!(world.store.get_prefix("", 0, None).await.unwrap().len(), 11);
}

async fn a_range_holds_its_from_and_not_its_to(world: &World) {
    world.put_all(&["a", "b", "c", "d"]).await;
    assert_eq!(keys(&world.store.get_range("b", "d", 0, None).await.unwrap()), ["b", "c"]);
    assert_eq!(keys(&world.store.get_range("d", "b", 0, None).await.unwrap()), [""; 0]);
    assert_eq!(keys(&world.store.get_range("", "b", 0, None).await.unwrap()), ["a"]);
}

async fn a_type_selects_its_records(world: &World) {
    for (key, record_type) in [("a", "X"), ("b", "x"), ("c", "X")] {
        world.store.put(Put::new(key, json("1")).of_type(record_type)).await.unwrap();
    }
    world.put_all(&["d"]).await;
    assert_eq!(keys(&world.store.get_type("X", 0, None).await.unwrap()), ["a", "c"]);
    assert_eq!(keys(&world.store.get_type("X", 1, Some(5)).await.unwrap()), ["c"]);
}

async fn offset_and_limit_cut_the_listing(world: &World) {
    world.put_all(&["a", "b", "c", "d"]).await;
    for (offset, limit, expected) in [
        (0, Some(2), vec!["a", "b"]),
        (1, Some(2), vec!["b", "c"]),
        (3, None, vec!["d"]),
        (9, None, vec![]),
        (0, Some(0), vec![]),
        (0, Some(u64::MAX), vec!["a", "b", "c", "d"]),
        (u64::MAX, None, vec![]),
    ] {
        assert_eq!(keys(&world.store.list(offset, limit).await.unwrap()), expected, "{offset} {limit:?}");
    }
}

async fn after_goes_on_beyond_a_key_in_both_directions(world: &World) {
    world.put_all(&["a", "b", "b/1", "c"]).await;
    let page = async |after: &str, reverse: bool| {
        let list = List { after: Some(after.to_owned()), reverse, ..List::default() };
        world.store.records(list).await.unwrap().into_iter().map(|record| record.key).collect::<Vec<_>>()
    };
    assert_eq!(page("b", false).await, ["b/1", "c"]);
    assert_eq!(page("b", true).await, ["a"]);
    assert_eq!(page("", false).await.len(), 4);
    let selector = Selector::Prefix("b".to_owned());
    for (after, reverse, expected) in [
        ("a", false, vec!["b", "b/1"]),
        ("b", false, vec!["b/1"]),
        ("c", true, vec!["b/1", "b"]),
        ("c", false, vec![]),
    ] {
        let list =
            List { selector: selector.clone(), after: Some(after.to_owned()), reverse, ..List::default() };
        assert_eq!(keys(&world.store.records(list).await.unwrap()), expected, "{after} {reverse}");
    }
}

async fn a_page_ends_at_1000_records(world: &World) {
    let puts = (0..1_001).map(|number| world.store.put(Put::new(format!("{number:04}"), json("1"))));
    for outcome in futures_util::future::join_all(puts).await {
        outcome.unwrap();
    }
    let Page { items, next, seq } = world.store.page(List::default()).await.unwrap();
    assert_eq!((items.len(), next.as_deref(), seq), (1_000, Some("0999"), 1_001));
    assert_eq!(world.store.list(0, None).await.unwrap().len(), 1_001);
    assert_eq!(world.store.list(0, Some(1_001)).await.unwrap().len(), 1_001);
}

async fn a_page_ends_at_1_mib_and_holds_at_least_one_record(world: &World) {
    let value = json(&format!("\"{}\"", "x".repeat(700 * 1_024)));
    for key in ["a", "b", "c"] {
        world.store.put(Put::new(key, value.clone())).await.unwrap();
    }
    world.store.put(Put::new("d", json(&format!("\"{}\"", "x".repeat(2_000 * 1_024))))).await.unwrap();
    let page = world.store.page(List::default()).await.unwrap();
    assert_eq!((keys(&page.items), page.next.as_deref()), (vec!["a", "b"], Some("b")));
    let page = world.store.page(List { after: Some("c".to_owned()), ..List::default() }).await.unwrap();
    assert_eq!((keys(&page.items), page.next), (vec!["d"], None));
    assert_eq!(keys(&world.store.list(0, None).await.unwrap()), ["a", "b", "c", "d"]);
}

async fn a_value_of_8_mib_ends_its_page(world: &World) {
    let largest = json(&format!("\"{}\"", "x".repeat(8 * 1_024 * 1_024 - 2)));
    for key in ["b", "c"] {
        world.store.put(Put::new(key, largest.clone())).await.unwrap();
    }
    world.put_all(&["a", "d"]).await;
    let page = async |after: &str| {
        let list = List { after: Some(after.to_owned()), ..List::default() };
        let page = world.store.page(list).await.unwrap();
        (page.items.into_iter().map(|record| record.key).collect::<Vec<_>>().concat(), page.next)
    };
    assert_eq!(page("").await, ("ab".to_owned(), Some("b".to_owned())));
    assert_eq!(page("b").await, ("c".to_owned(), Some("c".to_owned())));
    assert_eq!(page("c").await, ("d".to_owned(), None));
    let keys = world.store.keys(List::default()).await.unwrap();
    assert_eq!((keys.items.len(), keys.next), (4, None));
}

async fn each_selection_is_walked_page_by_page_to_its_end(world: &World) {
    world.put_all(&["a", "m0999/", "z"]).await;
    let puts = (0..1_001).map(|n| world.store.put(Put::new(format!("m{n:04}"), json("1")).of_type("T")));
    for outcome in futures_util::future::join_all(puts).await {
        outcome.unwrap();
    }
    let store = &world.store;
    assert_eq!(store.get_type("T", 0, None).await.unwrap().len(), 1_001);
    assert_eq!(store.get_type("T", 2, Some(1_000)).await.unwrap().len(), 999);
    assert_eq!(store.get_prefix("m", 0, None).await.unwrap().len(), 1_002);
    assert_eq!(store.get_prefix("m", 1, Some(1_001)).await.unwrap().len(), 1_001);
    let range = store.get_range("b", "z", 0, None).await.unwrap();
    assert_eq!(range.len(), 1_002);
    assert!(range.is_sorted_by(|left, right| left.key < right.key));
    let reversed = List { reverse: true, selector: Selector::Prefix("m".to_owned()), ..List::default() };
    let mut reversed = store.records(reversed).await.unwrap();
    reversed.reverse();
    assert_eq!(reversed, range);
}

async fn keys_only_answers_the_keys(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    let page = world.store.keys(List { limit: Some(2), ..List::default() }).await.unwrap();
    assert_eq!((page.items, page.next.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("b")));
}

async fn next_stands_exactly_where_there_is_more(world: &World) {
    world.put_all(&["a", "b"]).await;
    for (limit, next) in [(1, Some("a")), (2, None), (3, None), (0, None)] {
        let page = world.store.page(List { limit: Some(limit), ..List::default() }).await.unwrap();
        assert_eq!(page.next.as_deref(), next, "{limit}");
    }
}
