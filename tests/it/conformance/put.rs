use kv::store::{Code, Delete, Put, Record, Timestamp, TypeChange};

use crate::support::{START_MS, World, json};

cases! {
    the_version_counts_the_writes_of_a_key,
    the_revision_is_the_number_of_the_change_in_the_stream,
    version_0_puts_only_an_absent_key,
    version_n_puts_only_at_that_version,
    version_n_on_a_missing_key_fails_with_current_0,
    revision_is_a_condition_that_survives_a_delete_and_re_create,
    the_type_is_kept_by_a_put_that_gives_none_and_cleared_by_null,
    created_stays_and_updated_moves_with_the_clock,
    times_do_not_run_back_and_lead_the_clock_by_a_second_at_most,
    two_puts_at_one_version_at_once_give_one_winner,
    keys_outside_the_limits_are_refused,
}

async fn the_version_counts_the_writes_of_a_key(world: &World) {
    for expected in 1..=3 {
        assert_eq!(world.store.put(Put::new("a", json("1"))).await.unwrap().version, expected);
    }
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    assert_eq!(world.store.put(Put::new("a", json("1"))).await.unwrap().version, 1);
}

async fn the_revision_is_the_number_of_the_change_in_the_stream(world: &World) {
    for (expected, key) in (1..).zip(["a", "b", "a"]) {
        assert_eq!(world.store.put(Put::new(key, json("1"))).await.unwrap().revision, expected);
    }
    assert_eq!(world.store.get("a").await.unwrap().unwrap().revision, 3);
    assert_eq!(world.store.get("b").await.unwrap().unwrap().revision, 2);
}

async fn version_0_puts_only_an_absent_key(world: &World) {
    world.store.put(Put::new("a", json("1")).if_version(0)).await.unwrap();
    let error = world.store.put(Put::new("a", json("2")).if_version(0)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(1)));
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json("1"));
}

async fn version_n_puts_only_at_that_version(world: &World) {
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    world.store.put(Put::new("a", json("2")).if_version(1)).await.unwrap();
    let error = world.store.put(Put::new("a", json("3")).if_version(1)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(2)));
    assert!(!error.maybe && !error.retry);
}

async fn version_n_on_a_missing_key_fails_with_current_0(world: &World) {
    for put in [Put::new("a", json("1")).if_version(1), Put::new("a", json("1")).if_revision(1)] {
        let error = world.store.put(put).await.unwrap_err();
        assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(0)));
    }
    assert_eq!(world.store.get("a").await.unwrap(), None);
    assert_eq!(world.store.stream_seq().await.unwrap(), 0);
}

async fn revision_is_a_condition_that_survives_a_delete_and_re_create(world: &World) {
    let first = world.store.put(Put::new("a", json("1"))).await.unwrap();
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    let second = world.store.put(Put::new("a", json("2"))).await.unwrap();
    assert_eq!(first.version, second.version);
    let error = world.store.put(Put::new("a", json("3")).if_revision(first.revision)).await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(second.revision)));
    world.store.put(Put::new("a", json("3")).if_revision(second.revision)).await.unwrap();
}

async fn the_type_is_kept_by_a_put_that_gives_none_and_cleared_by_null(world: &World) {
    let record_type = async || world.store.get("a").await.unwrap().unwrap().record_type;
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    assert_eq!(record_type().await, None);
    world.store.put(Put::new("a", json("1")).of_type("User")).await.unwrap();
    world.store.put(Put::new("a", json("2"))).await.unwrap();
    assert_eq!(record_type().await.as_deref(), Some("User"));
    let cleared = Put { record_type: TypeChange::Clear, ..Put::new("a", json("3")) };
    world.store.put(cleared).await.unwrap();
    assert_eq!(record_type().await, None);
}

async fn put_and_get(world: &World, key: &str) -> Record {
    world.store.put(Put::new(key, json("1"))).await.unwrap();
    world.store.get(key).await.unwrap().unwrap()
}

async fn created_stays_and_updated_moves_with_the_clock(world: &World) {
    put_and_get(world, "a").await;
    world.clock.advance_ms(1_234);
    let record = put_and_get(world, "a").await;
    assert_eq!(record.created, Timestamp::from_unix_ms(START_MS));
    assert_eq!(record.updated, Timestamp::from_unix_ms(START_MS + 1_234));
    assert_eq!(record.updated.to_string(), "2023-11-14T22:13:21.234Z");
}

async fn times_do_not_run_back_and_lead_the_clock_by_a_second_at_most(world: &World) {
    put_and_get(world, "a").await;
    world.clock.advance_ms(-400);
    assert_eq!(put_and_get(world, "b").await.created, Timestamp::from_unix_ms(START_MS));
    world.clock.advance_ms(-3_600_000);
    let now = START_MS - 3_600_400;
    assert_eq!(put_and_get(world, "c").await.created, Timestamp::from_unix_ms(now + 1_000));
    world.clock.advance_ms(7_200_000);
    assert_eq!(put_and_get(world, "d").await.created, Timestamp::from_unix_ms(now + 7_200_000));
}

async fn two_puts_at_one_version_at_once_give_one_winner(world: &World) {
    world.store.put(Put::new("a", json("0"))).await.unwrap();
    let (first, second) = tokio::join!(
        world.store.put(Put::new("a", json("1")).if_version(1)),
        world.store.put(Put::new("a", json("2")).if_version(1)),
    );
    assert_eq!(first.unwrap().version, 2);
    assert_eq!(second.unwrap_err().details.current, Some(2));
}

async fn keys_outside_the_limits_are_refused(world: &World) {
    let longest = "k".repeat(1_024);
    world.store.put(Put::new(&longest, json("1"))).await.unwrap();
    for (key, code) in [
        (String::new(), Code::BadRequest),
        ("a\0b".to_owned(), Code::BadRequest),
        ("k".repeat(1_025), Code::TooLarge),
    ] {
        assert_eq!(world.store.put(Put::new(&key, json("1"))).await.unwrap_err().code, code);
        assert_eq!(world.store.get(&key).await.unwrap_err().code, code);
        assert_eq!(world.store.delete(Delete::keys([&key])).await.unwrap_err().code, code);
    }
    let long_type = Put::new("a", json("1")).of_type("t".repeat(257));
    assert_eq!(world.store.put(long_type).await.unwrap_err().code, Code::TooLarge);
}
