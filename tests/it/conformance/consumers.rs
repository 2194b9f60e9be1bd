use std::time::Duration;

use kv::store::{
    Code, ConsumerCommit, ConsumerGet, Error, Event, Filter, NameList, Reply, Result, Start, Subscribe,
    Subscription, Trim, WriteOperation,
};

use crate::support::{START_MS, World};

cases! {
    a_consumer_that_is_not_there_begins_with_what_is_kept,
    a_consumer_can_begin_at_a_position,
    getting_makes_no_consumer_and_a_commit_does,
    a_position_never_goes_back,
    a_position_never_passes_the_head,
    a_limit_and_a_filter_say_what_to_commit,
    a_consumer_keeps_its_filter_and_refuses_another_one,
    a_consumer_without_a_filter_takes_the_first_one,
    the_oldest_change_that_waits_is_told,
    a_position_that_was_trimmed_is_told,
    a_consumer_is_forgotten,
    consumers_are_listed_by_name,
    a_consumer_is_no_record_and_no_lock,
    what_was_not_committed_comes_again,
    one_session_at_a_time_follows_as_a_consumer,
    who_waits_follows_when_the_other_has_ended,
    while_a_session_follows_nobody_else_commits_or_forgets,
    a_session_that_lost_its_lease_cannot_commit,
    a_session_that_lost_its_lease_is_told,
    a_lease_that_nobody_else_got_is_good_enough_to_commit,
    a_position_is_read_again_when_the_lease_is_gained,
    a_lost_lease_is_not_gained_again_in_passing,
    a_session_with_a_backlog_is_told_that_it_lost_its_lease,
    a_position_moves_on_past_what_is_not_wanted,
    a_commit_makes_no_consumer_that_is_trimmed_already,
    who_follows_under_no_name_commits_nothing,
    names_have_bounds,
}

fn get(name: &str) -> ConsumerGet {
    ConsumerGet::of(name)
}

async fn next_seq(subscription: &mut Subscription) -> u64 {
    let next = tokio::time::timeout(Duration::from_secs(10), subscription.next());
    match next.await.expect("no event came").unwrap() {
        Event::Change(change) => change.seq,
        other => panic!("half a minute has passed: {other:?}"),
    }
}

/// The position, and whether a session follows.
async fn status(world: &World, name: &str) -> Option<(u64, bool)> {
    let (_, consumer) = world.store.consumer_status(name).await.unwrap();
    consumer.map(|consumer| (consumer.position, consumer.holder.is_some()))
}

/// Waits until nobody follows: a session ends a moment after its subscription.
async fn until_free(world: &World, name: &str) {
    for _ in 0..1_000 {
        if status(world, name).await.is_none_or(|(_, is_held)| !is_held) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{name} is still held");
}

async fn a_consumer_that_is_not_there_begins_with_what_is_kept(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    let (changes, position) = world.store.consumer_get(get("c")).await.unwrap();
    assert_eq!((position, changes.changes.len(), changes.next, changes.seq), (0, 3, 4, 3));
    world.store.stream_trim(Trim::UpTo(1)).await.unwrap();
    let (changes, position) = world.store.consumer_get(get("c")).await.unwrap();
    assert_eq!((position, changes.changes.len()), (1, 2));
    let mut subscription = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut subscription).await, 2);
}

async fn a_consumer_can_begin_at_a_position(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    for (start, expected) in [(Start::After(0), 0), (Start::After(2), 2), (Start::Now, 3)] {
        let request = ConsumerGet { start: Some(start.clone()), ..get("c") };
        assert_eq!(world.store.consumer_get(request).await.unwrap().1, expected);
        let name = format!("c{expected}");
        let wanted = Subscribe { start: Some(start), ..Subscribe::consumer(&name) };
        world.store.subscribe(wanted).await.unwrap();
        assert_eq!(status(world, &name).await.unwrap().0, expected);
    }
    let beyond = ConsumerGet { start: Some(Start::After(9)), ..get("c") };
    assert_eq!(world.store.consumer_get(beyond).await.unwrap_err().code, Code::Future);
    let beyond = Subscribe { start: Some(Start::After(9)), ..Subscribe::consumer("c") };
    assert_eq!(world.store.subscribe(beyond).await.unwrap_err().code, Code::Future);
    // One that is there goes on from where it is.
    let ignored = ConsumerGet { start: Some(Start::After(1)), ..get("c3") };
    assert_eq!(world.store.consumer_get(ignored).await.unwrap().1, 3);
}

async fn getting_makes_no_consumer_and_a_commit_does(world: &World) {
    world.put_all(&["a", "b"]).await;
    world.store.consumer_get(get("c")).await.unwrap();
    assert_eq!(status(world, "c").await, None);
    assert_eq!(world.store.consumer_commit("c", 1).await.unwrap(), 1);
    assert_eq!(status(world, "c").await, Some((1, false)));
    let (changes, position) = world.store.consumer_get(get("c")).await.unwrap();
    assert_eq!((position, changes.changes[0].seq, changes.next), (1, 2, 3));
}

async fn a_position_never_goes_back(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    for (seq, expected) in [(2, 2), (1, 2), (0, 2), (2, 2), (3, 3)] {
        assert_eq!(world.store.consumer_commit("c", seq).await.unwrap(), expected);
    }
}

async fn a_position_never_passes_the_head(world: &World) {
    world.put_all(&["a"]).await;
    for seq in [2, u64::MAX] {
        let error = world.store.consumer_commit("c", seq).await.unwrap_err();
        assert_eq!((error.code, error.maybe), (Code::Future, false));
    }
    assert_eq!(status(world, "c").await, None, "a failed commit makes nothing");
}

async fn a_limit_and_a_filter_say_what_to_commit(world: &World) {
    world.put_all(&["x", "a/1", "x", "a/2", "x"]).await;
    let request = ConsumerGet { filter: Filter::prefix("a/"), limit: Some(1), ..get("c") };
    let mut seen = Vec::new();
    loop {
        let (changes, _) = world.store.consumer_get(request.clone()).await.unwrap();
        seen.extend(changes.changes.iter().map(|change| change.seq));
        let filter = request.filter.clone();
        let reply = commit(world, "c", changes.next - 1, filter).await.unwrap();
        if matches!(reply, Reply::Position { position: 5 }) {
            break;
        }
    }
    assert_eq!(seen, [2, 4]);
}

async fn commit(world: &World, name: &str, seq: u64, filter: Filter) -> Result<Reply> {
    let commit = ConsumerCommit { name: name.to_owned(), seq, filter, ..ConsumerCommit::default() };
    world.store.call(WriteOperation::ConsumerCommit(commit).into()).await
}

/// With another filter a consumer would pass over changes for good.
async fn a_consumer_keeps_its_filter_and_refuses_another_one(world: &World) {
    world.put_all(&["a/1", "b/1", "a/2"]).await;
    let with = |name: &str, filter: Filter| Subscribe { filter, ..Subscribe::consumer(name) };
    let refused = |error: Error| {
        assert_eq!((error.code, error.retry, error.maybe), (Code::BadRequest, false, false));
        assert!(error.message.contains("follows") && error.hint.is_some(), "{error:?}");
    };
    // Told by a session, by a commit, and by a session that wants everything.
    drop(world.store.subscribe(with("session", Filter::prefix("a/"))).await.unwrap());
    commit(world, "commit", 0, Filter::prefix("a/")).await.unwrap();
    drop(world.store.subscribe(with("all", Filter::default())).await.unwrap());
    for (name, kept) in
        [("session", Filter::prefix("a/")), ("commit", Filter::prefix("a/")), ("all", Filter::default())]
    {
        let (_, consumer) = world.store.consumer_status(name).await.unwrap();
        assert_eq!(consumer.unwrap().filter, kept, "{name}");
        for other in [Filter::prefix("b/"), Filter::key("a/"), Filter::prefix("a/").of_type("T")] {
            refused(world.store.subscribe(with(name, other.clone())).await.unwrap_err());
            refused(
                world
                    .store
                    .consumer_get(ConsumerGet { filter: other.clone(), ..get(name) })
                    .await
                    .unwrap_err(),
            );
            refused(commit(world, name, 3, other).await.unwrap_err());
        }
        let (_, consumer) = world.store.consumer_status(name).await.unwrap();
        assert_eq!(consumer.unwrap().position, 0, "nothing was committed");
        // Who names no filter gets what is kept, and so does who names the same one.
        let expected: &[u64] = if kept.is_all() { &[1, 2, 3] } else { &[1, 3] };
        for filter in [Filter::default(), kept] {
            let (changes, _) =
                world.store.consumer_get(ConsumerGet { filter: filter.clone(), ..get(name) }).await.unwrap();
            assert_eq!(changes.changes.iter().map(|change| change.seq).collect::<Vec<_>>(), expected);
            let mut session = world.store.subscribe(with(name, filter)).await.unwrap();
            for seq in expected {
                assert_eq!(next_seq(&mut session).await, *seq);
            }
        }
    }
}

/// A position alone does not tell what its reader wants.
async fn a_consumer_without_a_filter_takes_the_first_one(world: &World) {
    world.put_all(&["a/1", "b/1"]).await;
    world.store.consumer_commit("c", 0).await.unwrap();
    for prefix in ["a/", "b/"] {
        let request = ConsumerGet { filter: Filter::prefix(prefix), ..get("c") };
        assert_eq!(
            world.store.consumer_get(request).await.unwrap().0.changes.len(),
            1,
            "a read tells nothing"
        );
    }
    commit(world, "c", 1, Filter::prefix("a/")).await.unwrap();
    world.store.consumer_commit("c", 1).await.unwrap();
    let other = Subscribe { filter: Filter::prefix("b/"), ..Subscribe::consumer("c") };
    assert_eq!(world.store.subscribe(other).await.unwrap_err().code, Code::BadRequest);
}

async fn the_oldest_change_that_waits_is_told(world: &World) {
    let waiting_since = async |name: &str| {
        let (_, consumer) = world.store.consumer_status(name).await.unwrap();
        let listed = world.store.consumers(NameList::default()).await.unwrap();
        let consumer = consumer.unwrap();
        assert_eq!(listed.items.iter().find(|listed| listed.name == name), Some(&consumer));
        consumer.waiting_since.map(|since| since.unix_ms() - START_MS)
    };
    world.put_all(&["a"]).await;
    world.store.consumer_commit("c", 1).await.unwrap();
    assert_eq!(waiting_since("c").await, None);
    world.clock.advance_ms(5);
    world.put_all(&["b"]).await;
    world.clock.advance_ms(5);
    world.put_all(&["c"]).await;
    assert_eq!(waiting_since("c").await, Some(5));
    world.store.consumer_commit("c", 2).await.unwrap();
    assert_eq!(waiting_since("c").await, Some(10));
    world.put_all(&["d"]).await;
    world.store.stream_trim(Trim::UpTo(3)).await.unwrap();
    assert_eq!(waiting_since("c").await, Some(10), "the next one that is kept");
}

async fn a_position_that_was_trimmed_is_told(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    world.store.consumer_commit("c", 1).await.unwrap();
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    let error = world.store.consumer_get(get("c")).await.unwrap_err();
    assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(3)));
    let error = world.store.subscribe(Subscribe::consumer("c")).await.unwrap_err();
    assert_eq!((error.code, error.details.first), (Code::Trimmed, Some(3)));
    // Nobody holds it for that, and a commit goes on.
    until_free(world, "c").await;
    world.store.consumer_commit("c", 2).await.unwrap();
    let mut subscription = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut subscription).await, 3);
}

async fn a_consumer_is_forgotten(world: &World) {
    world.put_all(&["a", "b"]).await;
    world.store.consumer_commit("c", 2).await.unwrap();
    assert!(world.store.consumer_delete("c").await.unwrap());
    assert!(!world.store.consumer_delete("c").await.unwrap());
    assert_eq!(status(world, "c").await, None);
    // The next one of this name begins anew.
    assert_eq!(world.store.consumer_commit("c", 1).await.unwrap(), 1);
}

async fn consumers_are_listed_by_name(world: &World) {
    world.put_all(&["a", "b"]).await;
    for (name, seq) in [("b", 1), ("a/2", 2), ("a/1", 0)] {
        world.store.consumer_commit(name, seq).await.unwrap();
    }
    let list = |prefix: &str, after: Option<&str>| NameList {
        prefix: prefix.to_owned(),
        after: after.map(str::to_owned),
    };
    let names = |page: kv::store::Page<kv::store::Consumer>| {
        page.items.into_iter().map(|consumer| (consumer.name, consumer.position)).collect::<Vec<_>>()
    };
    let all = world.store.consumers(list("", None)).await.unwrap();
    assert_eq!(all.seq, 2);
    let named = |name: &str, position| (name.to_owned(), position);
    assert_eq!(names(all), [named("a/1", 0), named("a/2", 2), named("b", 1)]);
    let some = world.store.consumers(list("a/", Some("a/1"))).await.unwrap();
    assert_eq!(names(some), [named("a/2", 2)]);
}

async fn a_consumer_is_no_record_and_no_lock(world: &World) {
    world.put_all(&["a"]).await;
    let _held = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(world.store.stream_seq().await.unwrap(), 1);
    assert_eq!(world.store.count().await.unwrap(), 1);
    assert_eq!(world.store.lock_list("").await.unwrap(), []);
    world.store.lock_acquire("c", "me", Duration::from_secs(60)).await.unwrap();
}

async fn what_was_not_committed_comes_again(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    let mut first = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!((next_seq(&mut first).await, next_seq(&mut first).await), (1, 2));
    assert_eq!(first.commit(1).await.unwrap(), 1);
    drop(first);
    let again = Subscribe { wait: Duration::from_secs(10), ..Subscribe::consumer("c") };
    let mut second = world.store.subscribe(again).await.unwrap();
    assert_eq!((next_seq(&mut second).await, next_seq(&mut second).await), (2, 3));
    assert_eq!(second.commit(3).await.unwrap(), 3);
    world.put_all(&["d"]).await;
    assert_eq!(next_seq(&mut second).await, 4, "events go on behind a commit");
}

async fn one_session_at_a_time_follows_as_a_consumer(world: &World) {
    let first = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    let error = world.store.subscribe(Subscribe::consumer("c")).await.unwrap_err();
    assert_eq!((error.code, error.retry), (Code::ConsumerBusy, true));
    assert!(error.details.holder.is_some() && error.details.expires_ms.is_some());
    let begun = std::time::Instant::now();
    let wait = Subscribe { wait: Duration::from_millis(100), ..Subscribe::consumer("c") };
    assert_eq!(world.store.subscribe(wait).await.unwrap_err().code, Code::ConsumerBusy);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    world.store.subscribe(Subscribe::consumer("d")).await.unwrap();
    drop(first);
}

async fn who_waits_follows_when_the_other_has_ended(world: &World) {
    world.put_all(&["a", "b"]).await;
    let mut first = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    let wait = Subscribe { wait: Duration::from_secs(20), ..Subscribe::consumer("c") };
    let second = world.store.subscribe(wait);
    let ending = async {
        assert_eq!(next_seq(&mut first).await, 1);
        tokio::time::sleep(Duration::from_millis(50)).await;
        first.commit(1).await.unwrap();
        drop(first);
    };
    let (second, ()) = tokio::join!(second, ending);
    assert_eq!(next_seq(&mut second.unwrap()).await, 2);
}

async fn while_a_session_follows_nobody_else_commits_or_forgets(world: &World) {
    world.put_all(&["a"]).await;
    let session = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(world.store.consumer_commit("c", 1).await.unwrap_err().code, Code::ConsumerBusy);
    assert_eq!(world.store.consumer_delete("c").await.unwrap_err().code, Code::ConsumerBusy);
    assert_eq!(world.store.consumer_get(get("c")).await.unwrap().1, 0, "reading harms nobody");
    drop(session);
    until_free(world, "c").await;
    world.store.consumer_commit("c", 1).await.unwrap();
    assert!(world.store.consumer_delete("c").await.unwrap());
}

async fn a_session_that_lost_its_lease_cannot_commit(world: &World) {
    world.put_all(&["a", "b"]).await;
    let mut paused = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut paused).await, 1);
    world.clock.advance_ms(11_000);
    let mut next = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut next).await, 1);
    assert_eq!(paused.commit(2).await.unwrap_err().code, Code::ConsumerBusy);
    assert_eq!(status(world, "c").await, Some((0, true)));
    next.commit(1).await.unwrap();
}

async fn a_session_that_lost_its_lease_is_told(world: &World) {
    let mut paused = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    world.clock.advance_ms(11_000);
    let _next = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    // When it tries to renew.
    let told = tokio::time::timeout(Duration::from_secs(10), paused.next()).await.unwrap();
    assert_eq!(told.unwrap_err().code, Code::ConsumerBusy);
}

async fn a_lease_that_nobody_else_got_is_good_enough_to_commit(world: &World) {
    world.put_all(&["a"]).await;
    let mut session = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut session).await, 1);
    world.clock.advance_ms(3_600_000);
    assert_eq!(session.commit(1).await.unwrap(), 1);
}

async fn a_position_is_read_again_when_the_lease_is_gained(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    let first = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    drop(first);
    until_free(world, "c").await;
    world.store.consumer_commit("c", 2).await.unwrap();
    let mut second = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut second).await, 3);
}

/// The next one has followed, committed and ended before the first one tries to renew.
async fn a_lost_lease_is_not_gained_again_in_passing(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    let mut paused = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut paused).await, 1);
    world.clock.advance_ms(11_000);
    let mut next = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    next.commit(3).await.unwrap();
    drop(next);
    until_free(world, "c").await;
    let told = async {
        loop {
            if let Err(error) = paused.next().await {
                return error;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.unwrap();
    assert_eq!(told.code, Code::ConsumerBusy);
    assert_eq!(status(world, "c").await, Some((3, false)));
}

async fn a_session_with_a_backlog_is_told_that_it_lost_its_lease(world: &World) {
    let value = crate::support::json(&format!("\"{}\"", "x".repeat(30_000)));
    let puts = (0..300)
        .map(|number| kv::store::Mutation::Put(kv::store::Put::new(number.to_string(), value.clone())));
    world.store.mutate_all(puts.collect()).await.unwrap();
    let mut paused = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    assert_eq!(next_seq(&mut paused).await, 1);
    world.clock.advance_ms(11_000);
    let _next = world.store.subscribe(Subscribe::consumer("c")).await.unwrap();
    // The time in which it would have renewed.
    tokio::time::sleep(Duration::from_millis(3_700)).await;
    for _ in 0..299 {
        match paused.next().await {
            Ok(_) => {}
            Err(error) => return assert_eq!(error.code, Code::ConsumerBusy),
        }
    }
    panic!("all of the backlog came to who lost the name");
}

async fn a_position_moves_on_past_what_is_not_wanted(world: &World) {
    let wanted = Subscribe { filter: Filter::prefix("jobs/"), ..Subscribe::consumer("c") };
    let mut session = world.store.subscribe(wanted).await.unwrap();
    world.put_all(&["a", "b"]).await;
    let told = tokio::time::timeout(Duration::from_secs(10), session.next()).await.unwrap().unwrap();
    assert_eq!(told, Event::Progress { seq: 2, lag: 0 });
    session.commit(2).await.unwrap();
}

async fn a_commit_makes_no_consumer_that_is_trimmed_already(world: &World) {
    world.put_all(&["a", "b", "c"]).await;
    world.store.stream_trim(Trim::UpTo(2)).await.unwrap();
    assert_eq!(world.store.consumer_commit("c", 1).await.unwrap_err().code, Code::Trimmed);
    assert_eq!(world.store.consumer_commit("c", 2).await.unwrap(), 2);
}

async fn who_follows_under_no_name_commits_nothing(world: &World) {
    let mut subscription = world.store.subscribe(Subscribe::after(0)).await.unwrap();
    assert_eq!(subscription.commit(0).await.unwrap_err().code, Code::BadRequest);
}

async fn names_have_bounds(world: &World) {
    for name in ["", "a\0b", &"x".repeat(257)] {
        for error in [
            world.store.consumer_commit(name, 0).await.unwrap_err(),
            world.store.consumer_delete(name).await.unwrap_err(),
            world.store.consumer_status(name).await.unwrap_err(),
            world.store.consumer_get(get(name)).await.unwrap_err(),
        ] {
            assert!(matches!(error.code, Code::BadRequest | Code::TooLarge), "{name:?}: {error}");
        }
    }
}
