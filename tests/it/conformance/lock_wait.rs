use std::cell::RefCell;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use kv::store::{Code, Grant, LockAcquire, LockRelease, Reply, Request, Result, WriteOperation};

use crate::support::World;

cases! {
    a_free_lock_is_granted_without_a_wait,
    a_release_wakes_who_waits,
    an_expiry_wakes_who_waits,
    at_the_end_of_the_wait_the_holder_is_told,
    everyone_who_waited_is_told_who_holds_the_lock,
    the_same_owner_does_not_wait,
    a_refresh_does_not_queue_behind_those_who_wait,
    a_release_of_one_grant_leaves_the_next_one_alone,
    those_who_wait_get_the_lock_in_the_order_in_which_they_came,
    who_gives_up_keeps_nothing,
    who_gives_up_takes_nothing_from_the_same_owner,
    nobody_is_refused_before_the_end_of_the_wait,
    many_locks_are_waited_for_at_once,
    a_request_that_makes_no_sense_is_refused_at_once,
}

const MINUTE: Duration = Duration::from_secs(60);

fn acquire(name: &str, owner: &str) -> LockAcquire {
    LockAcquire::new(name, owner, Duration::from_secs(60))
}

async fn wait_for(world: &World, owner: &str) -> Result<Grant> {
    world.store.lock_acquire_within(acquire("deploy", owner), MINUTE).await
}

async fn a_free_lock_is_granted_without_a_wait(world: &World) {
    assert_eq!(wait_for(world, "a").await.unwrap().fence, 1);
    assert_eq!(world.store.lock_status("deploy").await.unwrap().unwrap().owner, "a");
    let now = world.store.lock_acquire_within(acquire("deploy", "b"), Duration::ZERO).await;
    assert_eq!(now.unwrap_err().code, Code::Locked);
}

async fn a_release_wakes_who_waits(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let begun = Instant::now();
    let releasing = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.store.lock_release("deploy", "a").await.unwrap();
    };
    let (grant, ()) = tokio::join!(wait_for(world, "b"), releasing);
    assert_eq!(grant.unwrap().fence, 2);
    assert!(begun.elapsed() >= Duration::from_millis(100));
    assert!(begun.elapsed() < Duration::from_secs(20), "it was not woken");
}

async fn an_expiry_wakes_who_waits(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let expiring = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        world.clock.advance_ms(60_000);
    };
    let (grant, ()) = tokio::join!(wait_for(world, "b"), expiring);
    assert_eq!(grant.unwrap().fence, 2);
}

async fn at_the_end_of_the_wait_the_holder_is_told(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let begun = Instant::now();
    let wait = Duration::from_millis(150);
    let error = world.store.lock_acquire_within(acquire("deploy", "b"), wait).await.unwrap_err();
    assert_eq!((error.code, error.maybe, error.details.holder.as_deref()), (Code::Locked, false, Some("a")));
    assert!(begun.elapsed() >= wait);
}

/// Also those whose turn never came.
async fn everyone_who_waited_is_told_who_holds_the_lock(world: &World) {
    let grant = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let at_once = world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap_err();
    assert_eq!(at_once.details.expires_ms, Some(grant.expires.unix_ms()));
    let wait = |owner| world.store.lock_acquire_within(acquire("deploy", owner), Duration::from_millis(100));
    for refused in join_all(["b", "c", "d"].map(wait)).await {
        assert_eq!(refused.unwrap_err(), at_once);
    }
    // A lock that is free by then is nobody's, and the error says no more than that.
    assert!(world.store.lock_release("deploy", "a").await.unwrap());
    assert_eq!(wait_for(world, "d").await.unwrap().fence, grant.fence + 1);
}

async fn the_same_owner_does_not_wait(world: &World) {
    let first = wait_for(world, "a").await.unwrap();
    assert_eq!(wait_for(world, "a").await.unwrap().fence, first.fence);
}

async fn a_refresh_does_not_queue_behind_those_who_wait(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let mut waiting = Box::pin(wait_for(world, "b"));
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut waiting).await.is_err());
    let refreshed = tokio::time::timeout(Duration::from_secs(5), wait_for(world, "a")).await;
    assert_eq!(refreshed.expect("it waits for itself").unwrap().fence, 1);
}

async fn a_release_of_one_grant_leaves_the_next_one_alone(world: &World) {
    let release = |fence| {
        let (name, owner) = ("deploy".to_owned(), "a".to_owned());
        let release = LockRelease { name, owner, fence: Some(fence), refreshes: None };
        world.store.call(Request::Write(WriteOperation::LockRelease(release).into()))
    };
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.store.lock_release("deploy", "a").await.unwrap();
    let second = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert_eq!(release(first.fence).await.unwrap(), Reply::Released { released: false });
    assert!(world.store.lock_status("deploy").await.unwrap().is_some());
    assert_eq!(release(second.fence).await.unwrap(), Reply::Released { released: true });
}

async fn those_who_wait_get_the_lock_in_the_order_in_which_they_came(world: &World) {
    world.store.lock_acquire("deploy", "first", MINUTE).await.unwrap();
    let order = RefCell::new(Vec::new());
    let waiting = (0..8).map(|number| {
        let order = &order;
        async move {
            tokio::time::sleep(Duration::from_millis(30 * number)).await;
            let owner = format!("{number}");
            wait_for(world, &owner).await.unwrap();
            order.borrow_mut().push(number);
            world.store.lock_release("deploy", &owner).await.unwrap();
        }
    });
    let releasing = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        world.store.lock_release("deploy", "first").await.unwrap();
    };
    tokio::join!(join_all(waiting), releasing);
    assert_eq!(*order.borrow(), (0..8).collect::<Vec<u64>>());
}

async fn who_gives_up_keeps_nothing(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    for _ in 0..20 {
        let mut waiting = Box::pin(wait_for(world, "b"));
        assert!(tokio::time::timeout(Duration::from_millis(5), &mut waiting).await.is_err());
        // It is given up in the moment in which it could be granted.
        world.store.lock_release("deploy", "a").await.unwrap();
        if waiting.as_mut().now_or_never().is_some() {
            world.store.lock_release("deploy", "b").await.unwrap();
        }
        drop(waiting);
        // What came too late is given back a moment later.
        let again = world.store.lock_acquire_within(acquire("deploy", "a"), Duration::from_secs(10));
        again.await.unwrap();
    }
}

/// Polls a wait for so long, and answers what it brought.
async fn poll_for(
    waiting: &mut (impl Future<Output = Result<Grant>> + Unpin),
    long: Duration,
) -> Option<Grant> {
    let begun = Instant::now();
    while begun.elapsed() < long {
        if let Some(grant) = waiting.now_or_never() {
            return Some(grant.unwrap());
        }
        tokio::task::yield_now().await;
    }
    None
}

async fn who_gives_up_takes_nothing_from_the_same_owner(world: &World) {
    for round in 0..100 {
        // It is given up in the moment in which it is granted, and another one of the same owner refreshes it.
        poll_for(&mut Box::pin(wait_for(world, "a")), Duration::from_micros(round * 20)).await;
        let kept = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let held = world.store.lock_status("deploy").await.unwrap();
        assert_eq!(held.expect("it was given back under its owner").fence, kept.fence);
        world.store.lock_release("deploy", "a").await.unwrap();
    }
}

async fn nobody_is_refused_before_the_end_of_the_wait(world: &World) {
    for round in 0..100 {
        world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
        let mut waiting = Box::pin(wait_for(world, "a"));
        if poll_for(&mut waiting, Duration::from_micros(round * 10)).await.is_none() {
            // It expires while its owner refreshes it, and somebody else is faster.
            world.clock.advance_ms(60_000);
            let taking = async {
                if world.store.lock_acquire("deploy", "b", MINUTE).await.is_ok() {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    world.store.lock_release("deploy", "b").await.unwrap();
                }
            };
            let ((), granted) = tokio::join!(taking, waiting);
            granted.unwrap();
        }
        world.store.lock_release("deploy", "a").await.unwrap();
    }
}

async fn many_locks_are_waited_for_at_once(world: &World) {
    let names: Vec<String> = (0..50).map(|number| format!("lock/{number}")).collect();
    for name in &names {
        world.store.lock_acquire(name, "a", MINUTE).await.unwrap();
    }
    let waiting = names.iter().map(|name| world.store.lock_acquire_within(acquire(name, "b"), MINUTE));
    let releasing = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        for name in names.iter().rev() {
            world.store.lock_release(name, "a").await.unwrap();
        }
    };
    let (grants, ()) = tokio::join!(join_all(waiting), releasing);
    assert!(grants.iter().all(Result::is_ok));
    assert!(world.store.lock_list("lock/").await.unwrap().iter().all(|lock| lock.owner == "b"));
}

async fn a_request_that_makes_no_sense_is_refused_at_once(world: &World) {
    for wrong in [
        acquire("", "a"),
        acquire("deploy", ""),
        LockAcquire { duration: Duration::ZERO, ..acquire("deploy", "a") },
    ] {
        let error = world.store.lock_acquire_within(wrong, MINUTE).await.unwrap_err();
        assert_eq!(error.code, Code::BadRequest);
    }
}
