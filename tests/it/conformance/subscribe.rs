use std::time::Duration;

use kv::store::{Change, Code, Delete, Event, Filter, Mutation, Put, Start, Subscribe, Subscription, Trim};

use crate::support::{World, json};

cases! {
    what_was_there_comes_first_and_then_what_comes,
    by_default_only_what_comes,
    a_change_is_the_same_live_and_replayed,
    the_changes_of_one_call_come_together,
    filters_let_through_what_matches,
    every_subscription_brings_everything,
    a_listing_and_a_subscription_behind_its_seq_make_a_mirror,
    a_wait_that_is_given_up_loses_nothing,
    changes_that_fill_many_pages_all_come,
    a_value_of_8_mib_comes,
    a_position_that_was_trimmed_is_refused,
    a_position_at_the_edge_of_a_trim_is_good,
    a_position_beyond_the_head_is_refused,
    a_position_of_another_epoch_is_refused,
    who_falls_behind_a_trim_is_told_and_never_passes_over_a_change,
    bounds_of_names_hold,
}

/// The next change; what tells only of progress is passed over.
async fn change(subscription: &mut Subscription) -> Change {
    loop {
        let next = tokio::time::timeout(Duration::from_secs(10), subscription.next());
        if let Event::Change(change) = next.await.expect("no event came").unwrap() {
            return change;
        }
    }
}

async fn seqs(subscription: &mut Subscription, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    for _ in 0..count {
        seqs.push(change(subscription).await.seq);
    }
    seqs
}

/// Nothing comes within a moment.
async fn assert_quiet(subscription: &mut Subscription) {
    let next = tokio::time::timeout(Duration::from_millis(100), subscription.next());
    assert!(next.await.is_err(), "something came");
}

async fn what_was_there_comes_first_and_then_what_comes(world: &World) {
    world.put_all(&["a", "b"]).await;
    let mut subscription = world.store.subscribe(Subscribe::after(0)).await.unwrap();
    assert_eq!(subscription.seq(), 2);
    assert_eq!(*subscription.identity(), world.store.identity().await.unwrap());
    assert_eq!(seqs(&mut subscription, 2).await, [1, 2]);
    assert_quiet(&mut subscription).await;
    world.put_all(&["a", "c"]).await;
    world.store.delete(Delete::keys(["a", "b"])).await.unwrap();
    assert_eq!(seqs(&mut subscription, 4).await, [3, 4, 5, 6]);
    assert_quiet(&mut subscription).await;
}

async fn by_default_only_what_comes(world: &World) {
    world.put_all(&["a"]).await;
    let mut default = world.store.subscribe(Subscribe::default()).await.unwrap();
    let now = Subscribe { start: Some(Start::Now), ..Subscribe::default() };
    let mut now = world.store.subscribe(now).await.unwrap();
    world.put_all(&["b"]).await;
    assert_eq!(change(&mut default).await.record.key, "b");
    assert_eq!(change(&mut now).await.record.key, "b");
}

async fn a_change_is_the_same_live_and_replayed(world: &World) {
    let mut live = world.store.subscribe(Subscribe::default()).await.unwrap();
    world.store.put(Put::new("a", json(r#"{"z":1.10,"a":1E2}"#)).of_type("T")).await.unwrap();
    world.clock.advance_ms(7);
    world.store.put(Put::new("a", json("null"))).await.unwrap();
    world.store.delete(Delete::keys(["a"])).await.unwrap();
    let mut replayed = world.store.subscribe(Subscribe::after(0)).await.unwrap();
    for expected in world.store.stream(0, None).await.unwrap() {
        assert_eq!(change(&mut live).await, expected);
        assert_eq!(change(&mut replayed).await, expected);
    }
}

async fn the_changes_of_one_call_come_together(world: &World) {
    let mut subscription = world.store.subscribe(Subscribe::default()).await.unwrap();
    let puts = ["a", "b", "c"].map(|key| Mutation::Put(Put::new(key, json("1"))));
    world.store.mutate_all(puts.to_vec()).await.unwrap();
    let mut facts = Vec::new();
    for _ in 0..3 {
        let change = change(&mut subscription).await;
        facts.push((change.seq, change.tx, change.tx_end));
    }
    assert_eq!(facts, [(1, 1, false), (2, 1, false), (3, 1, true)]);
}

async fn filters_let_through_what_matches(world: &World) {
    let wanted = |filter: &Filter| Subscribe { filter: filter.clone(), ..Subscribe::after(0) };
    let filters = [
        Filter::prefix("a%"),
        Filter::default().of_type("T"),
        Filter::prefix("a").of_type("T"),
        Filter::prefix("x"),
        Filter::key("a"),
        Filter::key("a").of_type("T"),
    ];
    let mut live = Vec::new();
    for filter in &filters {
        live.push(world.store.subscribe(wanted(filter)).await.unwrap());
    }
    for (key, record_type) in [("a", None), ("a%1", None), ("A%", Some("T")), ("a/1", Some("T"))] {
        let put = Put::new(key, json("1"));
        let put = record_type.map_or(put.clone(), |name| put.of_type(name));
        world.store.put(put).await.unwrap();
    }
    let expected: [&[u64]; 6] = [&[2], &[3, 4], &[4], &[], &[1], &[]];
    for ((filter, expected), mut live) in filters.iter().zip(expected).zip(live) {
        let mut replayed = world.store.subscribe(wanted(filter)).await.unwrap();
        assert_eq!(seqs(&mut live, expected.len()).await, expected);
        assert_eq!(seqs(&mut replayed, expected.len()).await, expected);
        assert_quiet(&mut live).await;
    }
}

async fn every_subscription_brings_everything(world: &World) {
    let mut subscriptions = Vec::new();
    for _ in 0..20 {
        subscriptions.push(world.store.subscribe(Subscribe::default()).await.unwrap());
    }
    let keys: Vec<String> = (0..50).map(|number| number.to_string()).collect();
    world.put_all(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let expected: Vec<u64> = (1..=50).collect();
    for subscription in &mut subscriptions {
        assert_eq!(seqs(subscription, 50).await, expected);
    }
}

/// While another task writes.
async fn a_listing_and_a_subscription_behind_its_seq_make_a_mirror(world: &World) {
    let writing = async {
        for number in 0..300_u64 {
            let key = format!("{}", number % 40);
            if number % 7 == 3 {
                world.store.delete(Delete::keys([key])).await.unwrap();
            } else {
                world.store.put(Put::new(key, json(&number.to_string()))).await.unwrap();
            }
        }
        world.store.put(Put::new("last", json("true"))).await.unwrap();
    };
    let mirroring = async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let page = world.store.page(kv::store::List::default()).await.unwrap();
        let mut mirror: std::collections::BTreeMap<_, _> =
            page.items.into_iter().map(|record| (record.key.clone(), record)).collect();
        let mut subscription = world.store.subscribe(Subscribe::after(page.seq)).await.unwrap();
        loop {
            let Change { action, record, .. } = change(&mut subscription).await;
            let is_last = record.key == "last";
            match action {
                kv::store::Action::Delete | kv::store::Action::Expire => drop(mirror.remove(&record.key)),
                _ => drop(mirror.insert(record.key.clone(), record)),
            }
            if is_last {
                return mirror.into_values().collect::<Vec<_>>();
            }
        }
    };
    let ((), mirror) = tokio::join!(writing, mirroring);
    assert_eq!(mirror, world.store.list(0, None).await.unwrap());
}

async fn a_wait_that_is_given_up_loses_nothing(world: &World) {
    let mut subscription = world.store.subscribe(Subscribe::default()).await.unwrap();
    let writing = async {
        for _ in 0..200 {
            world.put_all(&["a"]).await;
        }
    };
    let reading = async {
        let mut seqs = Vec::new();
        let mut given_up = 0;
        while seqs.len() < 200 {
            match tokio::time::timeout(Duration::from_micros(300), subscription.next()).await {
                Ok(Ok(Event::Change(change))) => seqs.push(change.seq),
                Ok(other) => panic!("{other:?}"),
                Err(_) => given_up += 1,
            }
            assert!(given_up < 100_000, "{} came", seqs.len());
        }
        seqs
    };
    let ((), seqs) = tokio::join!(writing, reading);
    assert_eq!(seqs, (1..=200).collect::<Vec<u64>>());
}

async fn changes_that_fill_many_pages_all_come(world: &World) {
    let value = json(&format!("\"{}\"", "x".repeat(9_000)));
    for _ in 0..3 {
        let puts = (0..200).map(|number| Mutation::Put(Put::new(number.to_string(), value.clone())));
        world.store.mutate_all(puts.collect()).await.unwrap();
    }
    let small = (0..900).map(|number| Mutation::Put(Put::new(number.to_string(), json("1"))));
    world.store.mutate_all(small.collect()).await.unwrap();
    let mut all = world.store.subscribe(Subscribe::after(0)).await.unwrap();
    assert_eq!(seqs(&mut all, 1_500).await, (1..=1_500).collect::<Vec<u64>>());
    let mut some = world
        .store
        .subscribe(Subscribe { filter: Filter::prefix("199"), ..Subscribe::after(0) })
        .await
        .unwrap();
    assert_eq!(seqs(&mut some, 4).await, [200, 400, 600, 800]);
}

async fn a_value_of_8_mib_comes(world: &World) {
    let mut subscription = world.store.subscribe(Subscribe::default()).await.unwrap();
    let value = json(&format!("\"{}\"", "x".repeat(8 * 1_024 * 1_024 - 2)));
    world.put_all(&["before"]).await;
    world.store.put(Put::new("large", value.clone())).await.unwrap();
    world.put_all(&["behind"]).await;
    assert_eq!(change(&mut subscription).await.record.key, "before");
    assert_eq!(change(&mut subscription).await.record.value, value);
    assert_eq!(change(&mut subscription).await.record.key, "behind");
}

async fn a_position_that_was_trimmed_is_refused(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    for after in [0, 1] {
        let error = world.store.subscribe(Subscribe::after(after)).await.unwrap_err();
        assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(3)), "{after}");
    }
}

async fn a_position_at_the_edge_of_a_trim_is_good(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    let mut subscription = world.store.subscribe(Subscribe::after(2)).await.unwrap();
    assert_eq!(seqs(&mut subscription, 1).await, [3]);
    world.store.stream_trim(Trim::All).await.unwrap();
    let mut subscription = world.store.subscribe(Subscribe::after(3)).await.unwrap();
    world.put_all(&["d"]).await;
    assert_eq!(seqs(&mut subscription, 1).await, [4]);
}

async fn a_position_beyond_the_head_is_refused(world: &World) {
    assert_eq!(world.store.subscribe(Subscribe::after(1)).await.unwrap_err().code, Code::Future);
    world.put_all(&["a"]).await;
    world.store.subscribe(Subscribe::after(1)).await.unwrap();
    for after in [2, u64::MAX] {
        assert_eq!(world.store.subscribe(Subscribe::after(after)).await.unwrap_err().code, Code::Future);
    }
}

async fn a_position_of_another_epoch_is_refused(world: &World) {
    world.put_all(&["a"]).await;
    let epoch = world.store.identity().await.unwrap().epoch;
    let with = |epoch: &str| Subscribe { epoch: Some(epoch.to_owned()), ..Subscribe::after(0) };
    world.store.subscribe(with(&epoch)).await.unwrap();
    let error = world.store.subscribe(with("another")).await.unwrap_err();
    assert_eq!(error.code, Code::EpochChanged);
}

async fn who_falls_behind_a_trim_is_told_and_never_passes_over_a_change(world: &World) {
    let value = json(&format!("\"{}\"", "x".repeat(40_000)));
    let mut subscription = world.store.subscribe(Subscribe::default()).await.unwrap();
    for number in 0..100 {
        world.store.put(Put::new(number.to_string(), value.clone())).await.unwrap();
    }
    assert_eq!(change(&mut subscription).await.seq, 1);
    world.store.stream_trim(Trim::UpTo(99)).await.unwrap();
    for expected in 2.. {
        match subscription.next().await {
            Ok(Event::Change(change)) => assert_eq!(change.seq, expected),
            Ok(_) => {}
            Err(error) => {
                assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(100)));
                break;
            }
        }
        assert!(expected < 99, "all of it came, so nothing was behind");
    }
}

async fn bounds_of_names_hold(world: &World) {
    for wrong in [
        Subscribe { filter: Filter::prefix("x".repeat(1_025)), ..Subscribe::default() },
        Subscribe { filter: Filter::default().of_type(""), ..Subscribe::default() },
        Subscribe { filter: Filter::key(""), ..Subscribe::default() },
        Subscribe {
            filter: Filter { prefix: Some("a".to_owned()), ..Filter::key("a") },
            ..Subscribe::default()
        },
        Subscribe { wait: Duration::from_secs(1), ..Subscribe::default() },
        Subscribe { consumer: Some(String::new()), ..Subscribe::default() },
    ] {
        let code = world.store.subscribe(wrong.clone()).await.unwrap_err().code;
        assert!(matches!(code, Code::BadRequest | Code::TooLarge), "{wrong:?}: {code}");
    }
}
