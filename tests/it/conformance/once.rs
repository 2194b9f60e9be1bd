use std::time::Duration;

use kv::store::{
    Clock, Code, Delete, Guarded, LocalStore, ManualClock, Mutation, Patch, Put, Store, Timestamp, Trim,
};

use crate::support::{START_MS, World, address, json, runtime};

cases! {
    a_repeat_is_not_applied_again_and_gets_the_same_reply,
    a_repeat_of_a_failure_gets_the_same_failure,
    a_repeat_in_the_same_batch_is_not_applied_again,
    other_ids_are_other_writes,
    an_id_used_for_another_write_is_refused,
    an_outcome_is_kept_for_24_hours,
    a_clock_set_back_forgets_nothing,
    a_repeat_gets_its_reply_after_the_fence_went_on,
    an_id_has_bounds,
}

/// One write of each kind, each with its own id, and what they were told.
async fn writes(store: &dyn Store) -> Vec<String> {
    let once = |id: &str| Guarded::new(store).once(id);
    let returning = Patch { return_value: true, ..Patch::merge("a", json(r#"{"x":null,"y":null}"#)) };
    let to_null = Patch { return_value: true, ..Patch::merge("n", json("null")) };
    let mutations = vec![
        Mutation::Put(Put::new("p/1", json("1"))),
        Mutation::Patch(Patch { return_value: true, ..Patch::merge("p/2", json("null")) }),
        Mutation::Delete(Delete::keys(["p/1"])),
    ];
    vec![
        format!("{:?}", once("put").put(Put::new("a", json(r#"{"x":1}"#))).await),
        format!("{:?}", once("patch").patch(returning).await),
        format!("{:?}", once("null").patch(to_null).await),
        format!("{:?}", once("mutate").mutate_all(mutations).await),
        format!("{:?}", once("prefix").delete(Delete::prefix("p/")).await),
        format!("{:?}", once("delete").delete(Delete::keys(["a", "b"])).await),
        format!("{:?}", once("trim").stream_trim(Trim::UpTo(2)).await),
    ]
}

async fn a_repeat_is_not_applied_again_and_gets_the_same_reply(world: &World) {
    let first = writes(&*world.store).await;
    let head = world.store.stream_seq().await.unwrap();
    assert!(first.iter().all(|told| told.starts_with("Ok")), "{first:?}");
    assert_eq!(writes(&*world.store).await, first);
    assert_eq!(world.store.stream_seq().await.unwrap(), head);
}

async fn a_repeat_of_a_failure_gets_the_same_failure(world: &World) {
    world.put_all(&["a"]).await;
    let once = Guarded::new(&*world.store).once("id");
    let put = || Put::new("a", json("2")).if_version(7);
    let first = once.put(put()).await.unwrap_err();
    assert_eq!((first.code, first.details.current), (Code::VersionMismatch, Some(1)));
    world.put_all(&["a", "a", "a", "a", "a", "a"]).await;
    assert_eq!(once.put(put()).await.unwrap_err(), first);
    assert_eq!(world.store.get("a").await.unwrap().unwrap().version, 7);
    let failed = || vec![Mutation::Delete(Delete::all()), Mutation::Put(put().if_version(99))];
    let once = Guarded::new(&*world.store).once("mutate");
    let first = once.mutate_all(failed()).await.unwrap_err();
    assert_eq!(first.details.index, Some(1));
    assert_eq!(once.mutate_all(failed()).await.unwrap_err(), first);
}

async fn a_repeat_in_the_same_batch_is_not_applied_again(world: &World) {
    let once = Guarded::new(&*world.store).once("id");
    let put = || once.put(Put::new("a", json("1")));
    let (first, second, third) = tokio::join!(put(), put(), put());
    assert_eq!(first.as_ref().unwrap().version, 1);
    assert_eq!((&second, &third), (&first, &first));
    assert_eq!(world.store.stream_seq().await.unwrap(), 1);
}

async fn other_ids_are_other_writes(world: &World) {
    for (version, id) in [(1, "a"), (2, "A"), (3, "a ")] {
        let written = Guarded::new(&*world.store).once(id).put(Put::new("a", json("1"))).await.unwrap();
        assert_eq!(written.version, version);
    }
}

async fn an_id_used_for_another_write_is_refused(world: &World) {
    let once = Guarded::new(&*world.store).once("id");
    once.put(Put::new("a", json("1"))).await.unwrap();
    for error in [
        once.put(Put::new("a", json("2"))).await.unwrap_err(),
        once.put(Put::new("b", json("1"))).await.unwrap_err(),
        once.delete(Delete::keys(["a"])).await.unwrap_err(),
    ] {
        assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("once")));
    }
    assert_eq!(world.store.stream_seq().await.unwrap(), 1);
}

async fn an_outcome_is_kept_for_24_hours(world: &World) {
    let once = Guarded::new(&*world.store).once("id");
    let put = || once.put(Put::new("a", json("1")));
    put().await.unwrap();
    world.clock.advance_ms(24 * 3_600_000 - 1);
    assert_eq!(put().await.unwrap().version, 1);
    world.clock.advance_ms(1);
    assert_eq!(put().await.unwrap().version, 2);
    assert_eq!(put().await.unwrap().version, 2);
}

async fn a_clock_set_back_forgets_nothing(world: &World) {
    let once = Guarded::new(&*world.store).once("id");
    once.put(Put::new("a", json("1"))).await.unwrap();
    world.clock.advance_ms(-3_600_000);
    assert_eq!(once.put(Put::new("a", json("1"))).await.unwrap().version, 1);
    world.clock.advance_ms(7_200_000);
    assert_eq!(once.put(Put::new("a", json("1"))).await.unwrap().version, 1);
}

async fn a_repeat_gets_its_reply_after_the_fence_went_on(world: &World) {
    let grant = world.store.lock_acquire("l", "a", Duration::from_secs(1)).await.unwrap();
    let both = Guarded::new(&*world.store).fence("l", grant.fence).once("id");
    let first = both.put(Put::new("a", json("1"))).await.unwrap();
    world.store.lock_release("l", "a").await.unwrap();
    assert_eq!(both.put(Put::new("a", json("1"))).await.unwrap(), first);
}

async fn an_id_has_bounds(world: &World) {
    for (id, code) in [("", Code::BadRequest), ("a\0", Code::BadRequest), (&"x".repeat(65), Code::TooLarge)] {
        let put = Guarded::new(&*world.store).once(id).put(Put::new("a", json("1"))).await;
        assert_eq!(put.unwrap_err().code, code);
    }
    Guarded::new(&*world.store).once("x".repeat(64)).put(Put::new("a", json("1"))).await.unwrap();
}

#[test]
fn a_repeat_after_a_restart_gets_the_same_reply() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let mut told = Vec::new();
        for _ in 0..2 {
            let clock = Clock::Manual(ManualClock::at(Timestamp::from_unix_ms(START_MS)));
            let store = LocalStore::open(&address(directory.path()), clock);
            store.init().await.unwrap();
            told.push((writes(&store).await, store.stream_seq().await.unwrap()));
            store.close().await;
        }
        assert_eq!(told[0], told[1]);
    });
}
