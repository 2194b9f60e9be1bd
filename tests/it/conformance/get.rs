use kv::store::{Code, JsonText, Put, Read, Reply, Request};

use crate::support::{World, json};

cases! {
    a_missing_key_is_none,
    get_carries_the_head_of_its_snapshot,
    get_batch_answers_in_the_order_asked_and_leaves_missing_keys_out,
    get_batch_stops_at_a_page_and_says_which_key_is_next,
    more_than_1000_keys_are_refused,
    keys_are_compared_bytewise,
}

async fn a_missing_key_is_none(world: &World) {
    assert_eq!(world.store.get("a").await.unwrap(), None);
}

async fn get_carries_the_head_of_its_snapshot(world: &World) {
    for key in ["a", "b", "c"] {
        world.store.put(Put::new(key, json("1"))).await.unwrap();
    }
    let reply = world.store.call(Request::Read(Read::Get { key: "a".to_owned() })).await.unwrap();
    let Reply::Get { seq: 3, record: Some(record) } = reply else { panic!("{reply:?}") };
    assert_eq!(record.revision, 1);
}

async fn get_batch_answers_in_the_order_asked_and_leaves_missing_keys_out(world: &World) {
    for key in ["a", "b", "c"] {
        world.store.put(Put::new(key, json("1"))).await.unwrap();
    }
    let records = world.store.get_batch(&["c", "x", "a", "c"]).await.unwrap();
    assert_eq!(records.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    assert_eq!(world.store.get_batch(&[]).await.unwrap(), []);
}

async fn get_batch_stops_at_a_page_and_says_which_key_is_next(world: &World) {
    // 200 values of 10 KiB are about two pages of 1 MiB.
    let value = json(&format!("\"{}\"", "x".repeat(10_240)));
    let keys: Vec<String> = (0..200).map(|number| format!("{number:03}")).collect();
    for key in &keys {
        world.store.put(Put::new(key, value.clone())).await.unwrap();
    }
    let reply = world.store.call(Request::Read(Read::GetBatch { keys: keys.clone() })).await.unwrap();
    let Reply::Records(page) = reply else { panic!("{reply:?}") };
    assert_eq!((page.items.len(), page.next.as_deref()), (102, Some("102")));
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    assert_eq!(world.store.get_batch(&keys).await.unwrap().len(), 200);
}

async fn more_than_1000_keys_are_refused(world: &World) {
    let keys: Vec<String> = (0..1_001).map(|number| number.to_string()).collect();
    let error = world.store.call(Request::Read(Read::GetBatch { keys })).await.unwrap_err();
    assert_eq!(error.code, Code::TooLarge);
}

async fn keys_are_compared_bytewise(world: &World) {
    for key in ["a", "A", "ä", "a\u{308}"] {
        world.store.put(Put::new(key, JsonText::of(key).unwrap())).await.unwrap();
    }
    for key in ["a", "A", "ä"] {
        assert_eq!(world.store.get(key).await.unwrap().unwrap().value.to::<String>().unwrap(), key);
    }
    assert_eq!(world.store.list(0, None).await.unwrap().len(), 4);
}
