use kv::store::{Put, Selector};

use crate::support::{World, json};

cases! {
    count_counts_what_a_listing_would_show,
    count_is_not_bounded_by_a_page,
}

async fn count_counts_what_a_listing_would_show(world: &World) {
    assert_eq!(world.store.count().await.unwrap(), 0);
    for (key, record_type) in [("a", "X"), ("a/1", "X"), ("a%", "Y"), ("A/1", "Y"), ("b", "X")] {
        world.store.put(Put::new(key, json("1")).of_type(record_type)).await.unwrap();
    }
    assert_eq!(world.store.count().await.unwrap(), 5);
    assert_eq!(world.store.count_prefix("a/").await.unwrap(), 1);
    assert_eq!(world.store.count_prefix("a%").await.unwrap(), 1);
    assert_eq!(world.store.count_prefix("").await.unwrap(), 5);
    assert_eq!(world.store.count_range("a", "b").await.unwrap(), 3);
    assert_eq!(world.store.count_range("b", "a").await.unwrap(), 0);
    assert_eq!(world.store.count_of(Selector::Type("X".to_owned())).await.unwrap(), 3);
}

async fn count_is_not_bounded_by_a_page(world: &World) {
    let puts = (0..1_500).map(|number| world.store.put(Put::new(format!("{number}"), json("1"))));
    for outcome in futures_util::future::join_all(puts).await {
        outcome.unwrap();
    }
    assert_eq!(world.store.count().await.unwrap(), 1_500);
}
