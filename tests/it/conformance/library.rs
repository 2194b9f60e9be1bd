//! What programs do with a store most, on any store: values of their own types, scans, changes as a stream, locks.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use kv::store::{Code, Fence, Guarded, List, Put, Store as _, StoreExt as _, Subscribe};

use crate::support::{World, json};

cases! {
    values_of_a_type_are_stored_and_read,
    a_scan_brings_every_record_in_its_order,
    a_scan_that_cannot_go_on_ends_with_the_error,
    changes_come_as_a_stream,
    a_lock_is_kept_while_its_program_works,
    a_lock_that_another_owner_got_is_lost,
    a_lock_that_was_released_is_free_at_once,
}

async fn values_of_a_type_are_stored_and_read(world: &World) {
    let written = world.store.put_json("a", &vec![1, 2]).await.unwrap();
    assert_eq!(written.version, 1);
    let record = world.store.get_as::<Vec<u32>>("a").await.unwrap().unwrap();
    assert_eq!((record.value, record.revision), (vec![1, 2], written.revision));
    assert_eq!(world.store.get_as::<u32>("nosuch").await.unwrap(), None);
    let error = world.store.get_as::<String>("a").await.unwrap_err();
    assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("value")));
    let unwritable = std::collections::BTreeMap::from([((1, 2), 3)]);
    assert_eq!(world.store.put_json("b", &unwritable).await.unwrap_err().code, Code::BadRequest);
}

async fn a_scan_brings_every_record_in_its_order(world: &World) {
    let keys: Vec<String> = (0..2_100).map(|number| format!("k/{number:04}")).collect();
    let puts = keys.iter().map(|key| world.store.put(Put::new(key, json("1"))));
    for outcome in futures_util::future::join_all(puts).await {
        outcome.unwrap();
    }
    world.put_all(&["other"]).await;
    let scan = async |list: List| {
        let keys = world.store.scan(list).map_ok(|record| record.key).try_collect::<Vec<String>>();
        keys.await.unwrap()
    };
    assert_eq!(scan(List::prefix("k/")).await, keys);
    assert_eq!(scan(List::range("k/0003", "k/0005")).await, keys[3..5]);
    assert_eq!(scan(List::prefix("k/").limit(1_500)).await, keys[..1_500]);
    assert_eq!(scan(List::prefix("k/").after("k/2097")).await, keys[2_098..]);
    assert_eq!(scan(List::prefix("k/").reverse().limit(2)).await, ["k/2099", "k/2098"]);
    assert_eq!(scan(List::prefix("x")).await, [""; 0]);
    assert_eq!(scan(List::of_type("x")).await, [""; 0]);
    // What is not wanted is not read.
    let first: Vec<_> = world.store.scan(List::default()).take(1).try_collect().await.unwrap();
    assert_eq!(first[0].key, "k/0000");
}

async fn a_scan_that_cannot_go_on_ends_with_the_error(world: &World) {
    let results: Vec<_> = world.store.scan(List::prefix("x".repeat(1_025))).collect().await;
    let [Err(error)] = &results[..] else { panic!("{results:?}") };
    assert_eq!(error.code, Code::TooLarge);
}

async fn changes_come_as_a_stream(world: &World) {
    let changes = world.store.subscribe(Subscribe::default()).await.unwrap().changes();
    world.put_all(&["a", "b", "a"]).await;
    let versions = changes.take(3).map_ok(|change| (change.record.key, change.record.version));
    let expected = [("a", 1), ("b", 1), ("a", 2)].map(|(key, version)| (key.to_owned(), version));
    assert_eq!(versions.try_collect::<Vec<_>>().await.unwrap(), expected);
}

async fn a_lock_is_kept_while_its_program_works(world: &World) {
    let mut lock = world.store.lock("job").duration(Duration::from_millis(400)).await.unwrap();
    let Fence { lock: name, token } = lock.fence();
    assert_eq!(name, "job");
    let begun = world.store.lock_status("job").await.unwrap().unwrap();
    let renewed = lock
        .run(async {
            loop {
                let state = world.store.lock_status("job").await.unwrap().unwrap();
                if state.expires > begun.expires {
                    break state;
                }
                world.clock.advance_ms(1);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .unwrap();
    assert_eq!((renewed.fence, &renewed.owner), (token, &begun.owner));
    Guarded::new(&*world.store).fence(name, token).put(Put::new("a", json("1"))).await.unwrap();
    assert!(lock.release().await.unwrap());
}

async fn a_lock_that_another_owner_got_is_lost(world: &World) {
    let mut lock = world.store.lock("job").duration(Duration::from_millis(100)).await.unwrap();
    let fence = lock.fence();
    world.clock.advance_ms(1_000);
    let mut other = world.store.lock("job").wait(Duration::ZERO).await.unwrap();
    assert!(other.fence().token > fence.token);
    let never: std::future::Pending<()> = std::future::pending();
    let error = lock.run(never).await.unwrap_err();
    assert_eq!(error.code, Code::Locked);
    let refused =
        Guarded::new(&*world.store).fence(fence.lock, fence.token).put(Put::new("a", json("1"))).await;
    assert_eq!(refused.unwrap_err().code, Code::Fenced);
    assert_eq!(lock.release().await.unwrap_err().code, Code::NotOwner);
    other.renew().await.unwrap();
}

async fn a_lock_that_was_released_is_free_at_once(world: &World) {
    let lock = world.store.lock("job").await.unwrap();
    let refused = world.store.lock("job").wait(Duration::from_millis(10)).await;
    assert_eq!(refused.unwrap_err().code, Code::Locked);
    lock.release().await.unwrap();
    world.store.lock("job").wait(Duration::ZERO).await.unwrap();
}
