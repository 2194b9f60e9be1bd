use std::time::Duration;

use kv::store::{
    Action, Check, Code, Condition, Delete, Expire, ExpiryChange, List, Mutation, Patch, Put, Selector,
    Subscribe, Timestamp, TypeChange,
};

use crate::support::{START_MS, World, json};

cases! {
    a_put_keeps_the_expiry_when_it_is_told,
    a_record_is_gone_for_every_read_when_its_time_is_over,
    pages_counts_and_limits_pass_over_what_has_expired,
    a_write_finds_an_expired_key_absent_and_the_stream_tells_of_both,
    a_put_without_a_time_to_live_stays,
    a_patch_keeps_the_expiry_unless_it_is_told_otherwise,
    expire_changes_nothing_but_the_expiry,
    what_expired_leaves_with_any_write_those_first_that_expired_first,
    deletes_neither_remove_nor_count_what_has_expired,
    a_mutate_that_fails_takes_back_no_expiry,
    a_condition_on_an_expired_key_is_one_on_an_absent_one,
    exists_is_a_condition_of_every_write,
    a_subscription_is_told_without_another_write,
    more_than_a_batch_removes_are_gone_all_the_same,
    a_time_to_live_out_of_its_bounds_is_refused,
}

fn lives(key: &str, ttl_ms: u64) -> Put {
    Put::new(key, json("1")).ttl(Duration::from_millis(ttl_ms))
}

fn at(ms: i64) -> Option<Timestamp> {
    Some(Timestamp::from_unix_ms(START_MS + ms))
}

/// The actions and keys of the stream.
async fn a_put_keeps_the_expiry_when_it_is_told(world: &World) {
    world.store.put(lives("a", 1_000)).await.unwrap();
    let before = world.store.get("a").await.unwrap().unwrap().expires;
    world.clock.advance_ms(10);
    world.store.put(Put::new("a", json("2")).keep_ttl()).await.unwrap();
    let record = world.store.get("a").await.unwrap().unwrap();
    assert_eq!((record.value.get(), record.expires), ("2", before));
    world.store.put(Put::new("b", json("1")).keep_ttl()).await.unwrap();
    assert_eq!(world.store.get("b").await.unwrap().unwrap().expires, None);
    world.clock.advance_ms(1_000);
    world.store.put(Put::new("a", json("3")).keep_ttl()).await.unwrap();
    let record = world.store.get("a").await.unwrap().unwrap();
    assert_eq!((record.version, record.expires), (1, None), "what has expired has no expiry to keep");
}

async fn told(world: &World) -> Vec<(Action, String)> {
    let changes = world.store.stream(0, None).await.unwrap();
    changes.into_iter().map(|change| (change.action, change.record.key)).collect()
}

fn named(actions: &[(Action, &str)]) -> Vec<(Action, String)> {
    actions.iter().map(|(action, key)| (*action, (*key).to_owned())).collect()
}

async fn a_record_is_gone_for_every_read_when_its_time_is_over(world: &World) {
    world.store.put(lives("a", 1_000).of_type("T")).await.unwrap();
    world.put_all(&["b"]).await;
    world.clock.advance_ms(999);
    // Often, so that it is kept in memory.
    for _ in 0..4 {
        assert_eq!(world.store.get("a").await.unwrap().unwrap().expires, at(1_000));
    }
    assert_eq!(world.store.count().await.unwrap(), 2);
    world.clock.advance_ms(1);
    assert_eq!(world.store.get("a").await.unwrap(), None);
    let keys = |records: Vec<kv::store::Record>| records.into_iter().map(|record| record.key).collect();
    let batch: Vec<String> = keys(world.store.get_batch(&["a", "b"]).await.unwrap());
    assert_eq!(batch, ["b"]);
    let listed: Vec<String> = keys(world.store.list(0, None).await.unwrap());
    assert_eq!(listed, ["b"]);
    assert_eq!(world.store.keys(List::default()).await.unwrap().items, ["b"]);
    assert_eq!(world.store.get_type("T", 0, None).await.unwrap(), []);
    assert_eq!(world.store.count().await.unwrap(), 1);
    assert_eq!(world.store.count_prefix("a").await.unwrap(), 0);
    assert_eq!(world.store.count_of(Selector::Type("T".to_owned())).await.unwrap(), 0);
}

async fn pages_counts_and_limits_pass_over_what_has_expired(world: &World) {
    for number in 0..9 {
        let put = Put::new(format!("p/{number}"), json("1"));
        world
            .store
            .put(if number % 3 == 1 { put } else { put.ttl(Duration::from_millis(10)) })
            .await
            .unwrap();
    }
    world.clock.advance_ms(10);
    let list = |offset, reverse| List { offset, limit: Some(2), reverse, ..List::default() };
    assert_eq!(world.store.keys(list(0, false)).await.unwrap().items, ["p/1", "p/4"]);
    assert_eq!(world.store.keys(list(1, false)).await.unwrap().items, ["p/4", "p/7"]);
    assert_eq!(world.store.keys(list(0, true)).await.unwrap().items, ["p/7", "p/4"]);
    let page = world.store.page(list(0, false)).await.unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("p/4")));
    let last = world.store.page(List { after: page.next, ..list(0, false) }).await.unwrap();
    assert_eq!((last.items.len(), last.next), (1, None), "nothing but expired records follows");
    assert_eq!(world.store.count_range("p/1", "p/7").await.unwrap(), 2);
}

async fn a_write_finds_an_expired_key_absent_and_the_stream_tells_of_both(world: &World) {
    world.store.put(lives("a", 10).of_type("T")).await.unwrap();
    world.store.put(lives("a", 10)).await.unwrap();
    let before = world.store.get("a").await.unwrap().unwrap();
    world.clock.advance_ms(10);
    let written = world.store.put(Put::new("a", json("2"))).await.unwrap();
    assert_eq!((written.version, written.revision), (1, 4));
    let after = world.store.get("a").await.unwrap().unwrap();
    assert_eq!((after.record_type, after.created.unix_ms()), (None, START_MS + 10));
    let changes = world.store.stream(3, None).await.unwrap();
    let [expired, created] = &changes[..] else { panic!("{changes:?}") };
    assert_eq!((expired.action, expired.tx, expired.tx_end), (Action::Expire, 3, true));
    assert_eq!((expired.time.unix_ms(), &expired.record), (START_MS + 10, &before));
    assert_eq!((created.action, created.tx, created.tx_end), (Action::Create, 4, true));
    // Again, by a patch, whose value was loaded.
    world.store.put(lives("a", 10)).await.unwrap();
    world.clock.advance_ms(10);
    let patched = world.store.patch(Patch::merge("a", json(r#"{"x":1}"#))).await.unwrap();
    assert_eq!(patched.version, 1);
    let actions: Vec<Action> = told(world).await.into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions[4..], [Action::Update, Action::Expire, Action::Create]);
}

async fn a_put_without_a_time_to_live_stays(world: &World) {
    world.store.put(lives("a", 10)).await.unwrap();
    world.store.put(Put::new("a", json("2"))).await.unwrap();
    world.clock.advance_ms(100);
    let record = world.store.get("a").await.unwrap().unwrap();
    assert_eq!((record.version, record.expires), (2, None));
}

async fn a_patch_keeps_the_expiry_unless_it_is_told_otherwise(world: &World) {
    world.store.put(lives("a", 1_000)).await.unwrap();
    let patch = |expiry| Patch { expiry, ..Patch::merge("a", json(r#"{"x":1}"#)) };
    world.clock.advance_ms(100);
    for (change, expires) in [
        (ExpiryChange::Keep, at(1_000)),
        (ExpiryChange::After(Duration::from_millis(5)), at(105)),
        (ExpiryChange::Clear, None),
        (ExpiryChange::Keep, None),
    ] {
        world.store.patch(patch(change)).await.unwrap();
        assert_eq!(world.store.get("a").await.unwrap().unwrap().expires, expires, "{change:?}");
    }
}

async fn expire_changes_nothing_but_the_expiry(world: &World) {
    world.store.put(Put::new("a", json(r#"{"b":1.50,"b":2}"#)).of_type("T")).await.unwrap();
    let before = world.store.get("a").await.unwrap().unwrap();
    world.clock.advance_ms(100);
    let written = world.store.expire(Expire::after("a", Duration::from_millis(50))).await.unwrap();
    assert_eq!((written.version, written.revision, &written.value), (2, 2, &None));
    let after = world.store.get("a").await.unwrap().unwrap();
    let updated = Timestamp::from_unix_ms(START_MS + 100);
    let mut expected = before;
    (expected.version, expected.revision) = (2, 2);
    (expected.updated, expected.expires) = (updated, at(150));
    assert_eq!(after, expected);
    let last = world.store.stream(2, None).await.unwrap().remove(0);
    assert_eq!((last.action, last.record), (Action::Update, expected));
    world.store.expire(Expire::never("a")).await.unwrap();
    world.clock.advance_ms(1_000);
    assert_eq!(world.store.get("a").await.unwrap().unwrap().expires, None);
    let error = world.store.expire(Expire::never("b")).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (Code::NotFound, "b is not there, so it cannot expire"));
    let condition = Condition { version: Some(9), ..Condition::default() };
    let error = world
        .store
        .expire(Expire { condition, ..Expire::after("a", Duration::from_millis(1)) })
        .await
        .unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(3)));
}

async fn what_expired_leaves_with_any_write_those_first_that_expired_first(world: &World) {
    for (key, ttl_ms) in [("a", 30), ("b", 10), ("c", 20), ("d", 10), ("e", 1_000)] {
        world.store.put(lives(key, ttl_ms)).await.unwrap();
    }
    world.clock.advance_ms(30);
    world.store.put(Put::new("z", json("1"))).await.unwrap();
    let expected = ["b", "d", "c", "a"].map(|key| (Action::Expire, key));
    let all = told(world).await;
    assert_eq!(all[5..9], named(&expected));
    assert_eq!(all[9..], named(&[(Action::Create, "z")]));
    for change in &world.store.stream(6, Some(4)).await.unwrap() {
        assert!(change.tx == change.seq && change.tx_end, "{change:?}");
    }
}

async fn deletes_neither_remove_nor_count_what_has_expired(world: &World) {
    for number in 0..6 {
        let put = Put::new(format!("p/{number}"), json("1"));
        world
            .store
            .put(if number % 2 == 0 { put.ttl(Duration::from_millis(10)) } else { put })
            .await
            .unwrap();
    }
    world.clock.advance_ms(10);
    let first = world.store.delete(Delete { limit: Some(1), ..Delete::prefix("p/") }).await.unwrap();
    assert_eq!(first.deleted, 1);
    let mutation = Mutation::Delete(Delete { offset: 1, ..Delete::prefix("p/") });
    world.store.mutate_all(vec![mutation]).await.unwrap();
    let expected = [("p/0", true), ("p/2", true), ("p/4", true), ("p/1", false), ("p/5", false)];
    let expected =
        expected.map(|(key, expired)| (if expired { Action::Expire } else { Action::Delete }, key));
    assert_eq!(told(world).await[6..], named(&expected));
    world.store.put(lives("p/9", 10)).await.unwrap();
    world.clock.advance_ms(10);
    assert_eq!(world.store.delete(Delete::keys(["p/9", "p/3"])).await.unwrap().deleted, 1);
    let last = [(Action::Create, "p/9"), (Action::Expire, "p/9"), (Action::Delete, "p/3")];
    assert_eq!(told(world).await[11..], named(&last));
}

async fn a_mutate_that_fails_takes_back_no_expiry(world: &World) {
    world.store.put(lives("a", 10)).await.unwrap();
    world.clock.advance_ms(10);
    let put = Mutation::Put(Put::new("a", json("2")));
    let check = Mutation::Check(Check {
        key: "b".to_owned(),
        condition: Condition { version: Some(1), ..Condition::default() },
    });
    let error = world.store.mutate_all(vec![put, check]).await.unwrap_err();
    assert_eq!(error.details.index, Some(1));
    assert_eq!(told(world).await, named(&[(Action::Create, "a"), (Action::Expire, "a")]));
    assert_eq!(world.store.get("a").await.unwrap(), None);
}

async fn a_condition_on_an_expired_key_is_one_on_an_absent_one(world: &World) {
    world.store.put(lives("a", 10)).await.unwrap();
    world.clock.advance_ms(10);
    for put in [Put::new("a", json("2")).if_version(1), Put::new("a", json("2")).if_present()] {
        let error = world.store.put(put).await.unwrap_err();
        assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(0)));
    }
    let error = world.store.expire(Expire::never("a")).await.unwrap_err();
    assert_eq!(error.code, Code::NotFound);
    assert_eq!(world.store.put(Put::new("a", json("2")).if_version(0)).await.unwrap().version, 1);
}

async fn exists_is_a_condition_of_every_write(world: &World) {
    world.put_all(&["a"]).await;
    let exists = |exists| Condition { exists: Some(exists), ..Condition::default() };
    let writes = |key: &str, condition| {
        [
            Mutation::Check(Check { key: key.to_owned(), condition }),
            Mutation::Put(Put { condition, ..Put::new(key, json("1")) }),
            Mutation::Patch(Patch { condition, ..Patch::merge(key, json("{}")) }),
            Mutation::Delete(Delete { condition, ..Delete::keys([key]) }),
        ]
    };
    for (key, wrong, current, message) in
        [("a", false, 1, "a is there already, at version 1"), ("b", true, 0, "b is not there")]
    {
        for mutation in writes(key, exists(wrong)) {
            let error = world.store.mutate_all(vec![mutation]).await.unwrap_err();
            assert_eq!((error.code, error.details.current), (Code::VersionMismatch, Some(current)));
            assert_eq!(error.message, message);
        }
        for mutation in &writes(key, exists(!wrong))[..3] {
            world.store.mutate_all(vec![mutation.clone()]).await.unwrap();
            let _ = world.store.delete(Delete { condition: exists(true), ..Delete::keys(["b"]) }).await;
        }
    }
}

async fn a_subscription_is_told_without_another_write(world: &World) {
    world.store.put(lives("a", 10)).await.unwrap();
    world.store.put(lives("b", 3_600_000)).await.unwrap();
    let mut subscription = world.store.subscribe(Subscribe::default()).await.unwrap();
    world.clock.advance_ms(10);
    let kv::store::Event::Change(change) = subscription.next().await.unwrap() else { panic!("no change") };
    assert_eq!((change.action, change.record.key.as_str()), (Action::Expire, "a"));
    // What is written while it waits is known at once.
    world.store.put(lives("c", 5)).await.unwrap();
    world.clock.advance_ms(5);
    for expected in [Action::Create, Action::Expire] {
        let kv::store::Event::Change(change) = subscription.next().await.unwrap() else { panic!("none") };
        assert_eq!((change.action, change.record.key.as_str()), (expected, "c"));
    }
}

async fn more_than_a_batch_removes_are_gone_all_the_same(world: &World) {
    let count = 2 * kv::limits::EXPIRED_PER_BATCH + 7;
    let puts = (0..count).map(|number| Mutation::Put(lives(&format!("{number:04}"), 10)));
    world.store.mutate_all(puts.collect()).await.unwrap();
    world.clock.advance_ms(10);
    assert_eq!(world.store.count().await.unwrap(), 0);
    for _ in 0..3 {
        world.store.put(Put::new("z", json("1"))).await.unwrap();
        assert_eq!(world.store.count().await.unwrap(), 1);
    }
    let expired = told(world).await.into_iter().filter(|(action, _)| *action == Action::Expire);
    assert_eq!(expired.map(|(_, key)| key).collect::<std::collections::BTreeSet<_>>().len(), count);
    assert_eq!(told(world).await.len(), 2 * count + 3);
}

async fn a_time_to_live_out_of_its_bounds_is_refused(world: &World) {
    world.put_all(&["a"]).await;
    let too_long = Duration::from_millis(kv::limits::TTL_MS + 1);
    for ttl in [Duration::ZERO, Duration::from_micros(999), too_long, Duration::MAX] {
        let patch = Patch { expiry: ExpiryChange::After(ttl), ..Patch::merge("a", json("{}")) };
        for mutation in [
            Mutation::Put(Put::new("a", json("1")).ttl(ttl)),
            Mutation::Patch(patch),
            Mutation::Expire(Expire::after("a", ttl)),
        ] {
            let error = world.store.mutate_all(vec![mutation]).await.unwrap_err();
            assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("ttl_ms")));
        }
    }
    let longest = Put { record_type: TypeChange::Keep, ..lives("a", kv::limits::TTL_MS) };
    world.store.put(longest).await.unwrap();
    assert!(world.store.get("a").await.unwrap().unwrap().expires.is_some());
}
