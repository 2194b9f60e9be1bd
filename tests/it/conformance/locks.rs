use std::time::Duration;

use futures_util::future::join_all;
use kv::store::{
    Clock, Code, LocalStore, LockAcquire, ManualClock, NameList, Read, Reply, Request, Store as _, Timestamp,
};

use crate::support::{START_MS, World, address, runtime};

cases! {
    a_lock_is_granted_until_its_expiry,
    another_owner_is_told_who_holds_the_lock_and_until_when,
    the_same_owner_refreshes_and_keeps_the_fence,
    a_refresh_never_shortens,
    after_the_expiry_anybody_gets_the_lock_with_a_new_fence,
    the_last_owner_gets_a_new_fence_after_the_expiry,
    a_lock_expires_exactly_at_its_expiry,
    fences_grow_over_all_locks_and_releases,
    a_release_frees_the_lock,
    a_release_by_another_owner_is_refused,
    a_free_lock_has_nothing_to_release,
    the_last_owner_can_release_an_expired_lock,
    status_tells_the_truth_about_expiry,
    held_locks_are_listed_by_name,
    a_listing_of_many_locks_goes_page_by_page,
    a_page_of_locks_is_empty_only_when_nothing_follows,
    of_many_who_want_a_lock_at_once_one_gets_it,
    a_duration_that_makes_no_sense_is_refused,
    names_and_owners_have_bounds,
    a_clock_set_back_prolongs_and_never_shortens,
    an_expired_grant_that_nobody_else_got_is_refreshed_by_its_fence,
    a_refresh_by_its_fence_never_shortens,
    another_grant_is_not_refreshed_by_the_fence_of_an_earlier_one,
    a_released_grant_is_not_refreshed_by_its_fence,
    a_refresh_by_its_fence_waits_for_nobody,
}

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: i64 = 60_000;

async fn a_lock_is_granted_until_its_expiry(world: &World) {
    let grant = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert_eq!(grant.fence, 1);
    assert_eq!(grant.expires, Timestamp::from_unix_ms(START_MS + MINUTE_MS));
    let lock = world.store.lock_status("deploy").await.unwrap().unwrap();
    assert_eq!((lock.name.as_str(), lock.owner.as_str()), ("deploy", "a"));
    assert_eq!((lock.fence, lock.expires), (grant.fence, grant.expires));
    // A lock is not a record.
    assert_eq!((world.store.stream_seq().await.unwrap(), world.store.count().await.unwrap()), (0, 0));
}

async fn another_owner_is_told_who_holds_the_lock_and_until_when(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let error = world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap_err();
    assert_eq!((error.code, error.retry, error.maybe), (Code::Locked, true, false));
    assert_eq!(error.details.holder.as_deref(), Some("a"));
    assert_eq!(error.details.expires_ms, Some(START_MS + MINUTE_MS));
    assert_eq!(world.store.lock_status("deploy").await.unwrap().unwrap().owner, "a");
}

async fn the_same_owner_refreshes_and_keeps_the_fence(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(30_000);
    let refreshed = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert_eq!(refreshed.fence, first.fence);
    assert_eq!(refreshed.expires.unix_ms(), first.expires.unix_ms() + 30_000);
}

async fn a_refresh_never_shortens(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let refreshed = world.store.lock_acquire("deploy", "a", Duration::from_millis(1)).await.unwrap();
    assert_eq!((refreshed.fence, refreshed.expires), (first.fence, first.expires));
    assert_eq!(world.store.lock_status("deploy").await.unwrap().unwrap().expires, first.expires);
}

async fn after_the_expiry_anybody_gets_the_lock_with_a_new_fence(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(MINUTE_MS);
    let second = world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap();
    assert!(second.fence > first.fence);
    assert_eq!(world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap_err().code, Code::Locked);
}

async fn the_last_owner_gets_a_new_fence_after_the_expiry(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(MINUTE_MS);
    let second = world.store.lock_acquire("deploy", "a", Duration::from_millis(5)).await.unwrap();
    assert!(second.fence > first.fence);
    // Shorter than the first grant would be by now: it is not a refresh.
    assert_eq!(second.expires.unix_ms(), START_MS + MINUTE_MS + 5);
}

async fn a_lock_expires_exactly_at_its_expiry(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(MINUTE_MS - 1);
    assert_eq!(world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap_err().code, Code::Locked);
    world.clock.advance_ms(1);
    world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap();
}

async fn fences_grow_over_all_locks_and_releases(world: &World) {
    let mut last = 0;
    for (name, owner) in [("x", "a"), ("y", "b"), ("z", "a"), ("x", "b"), ("y", "b")] {
        let fence = world.store.lock_acquire(name, owner, MINUTE).await.unwrap().fence;
        assert!(fence > last, "{fence} after {last}");
        last = fence;
        assert!(world.store.lock_release(name, owner).await.unwrap());
    }
    world.store.init().await.unwrap();
    assert!(world.store.lock_acquire("w", "a", MINUTE).await.unwrap().fence > last);
}

async fn a_release_frees_the_lock(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert!(world.store.lock_release("deploy", "a").await.unwrap());
    assert_eq!(world.store.lock_status("deploy").await.unwrap(), None);
    world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap();
}

async fn a_release_by_another_owner_is_refused(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let error = world.store.lock_release("deploy", "b").await.unwrap_err();
    assert_eq!((error.code, error.details.holder.as_deref()), (Code::NotOwner, Some("a")));
    assert_eq!(world.store.lock_status("deploy").await.unwrap().unwrap().owner, "a");
}

async fn a_free_lock_has_nothing_to_release(world: &World) {
    assert!(!world.store.lock_release("deploy", "a").await.unwrap());
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert!(world.store.lock_release("deploy", "a").await.unwrap());
    assert!(!world.store.lock_release("deploy", "a").await.unwrap());
    // Expired is free for everybody else.
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(MINUTE_MS);
    assert!(!world.store.lock_release("deploy", "b").await.unwrap());
}

async fn the_last_owner_can_release_an_expired_lock(world: &World) {
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(2 * MINUTE_MS);
    assert!(world.store.lock_release("deploy", "a").await.unwrap());
    assert!(!world.store.lock_release("deploy", "a").await.unwrap());
}

async fn status_tells_the_truth_about_expiry(world: &World) {
    assert_eq!(world.store.lock_status("deploy").await.unwrap(), None);
    world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(MINUTE_MS - 1);
    assert!(world.store.lock_status("deploy").await.unwrap().is_some());
    world.clock.advance_ms(1);
    assert_eq!(world.store.lock_status("deploy").await.unwrap(), None);
    assert_eq!(world.store.lock_list("").await.unwrap(), []);
}

async fn held_locks_are_listed_by_name(world: &World) {
    for (name, owner, duration_ms) in [("b/2", "x", 10), ("a", "x", 100), ("b/1", "y", 100), ("b%", "y", 100)]
    {
        world.store.lock_acquire(name, owner, Duration::from_millis(duration_ms)).await.unwrap();
    }
    world.clock.advance_ms(10);
    let names = |locks: Vec<kv::store::Lock>| locks.into_iter().map(|lock| lock.name).collect::<Vec<_>>();
    assert_eq!(names(world.store.lock_list("").await.unwrap()), ["a", "b%", "b/1"]);
    assert_eq!(names(world.store.lock_list("b/").await.unwrap()), ["b/1"]);
    assert_eq!(names(world.store.lock_list("c").await.unwrap()), [""; 0]);
}

async fn a_listing_of_many_locks_goes_page_by_page(world: &World) {
    let names: Vec<String> = (0..1_002).map(|number| format!("{number:04}")).collect();
    let acquired = names.iter().map(|name| world.store.lock_acquire(name, "a", MINUTE));
    for grant in futures_util::future::join_all(acquired).await {
        grant.unwrap();
    }
    let page = world.store.locks(NameList::default()).await.unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (1_000, Some("0999")));
    let listed: Vec<String> =
        world.store.lock_list("").await.unwrap().into_iter().map(|lock| lock.name).collect();
    assert_eq!(listed, names);
}

async fn of_many_who_want_a_lock_at_once_one_gets_it(world: &World) {
    let owners: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let wanted = owners.iter().map(|owner| world.store.lock_acquire("deploy", owner, MINUTE));
    let granted = futures_util::future::join_all(wanted).await;
    assert!(granted[0].is_ok(), "the first who asked");
    assert!(granted[1..].iter().all(|other| other.as_ref().unwrap_err().code == Code::Locked));
}

async fn a_duration_that_makes_no_sense_is_refused(world: &World) {
    for duration in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        let error = world.store.lock_acquire("deploy", "a", duration).await.unwrap_err();
        assert_eq!((error.code, error.details.field.as_deref()), (Code::BadRequest, Some("duration_ms")));
    }
    assert_eq!(world.store.lock_status("deploy").await.unwrap(), None);
    let century = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    assert!(
        world
            .store
            .lock_acquire("deploy", "a", century)
            .await
            .unwrap()
            .expires
            .to_string()
            .starts_with("2123-")
    );
}

async fn names_and_owners_have_bounds(world: &World) {
    let long = "x".repeat(257);
    for (name, owner, code) in [
        ("", "a", Code::BadRequest),
        ("n", "", Code::BadRequest),
        ("n\0", "a", Code::BadRequest),
        ("n", "a\0", Code::BadRequest),
        (&long, "a", Code::TooLarge),
        ("n", &long, Code::TooLarge),
    ] {
        assert_eq!(world.store.lock_acquire(name, owner, MINUTE).await.unwrap_err().code, code);
        assert_eq!(world.store.lock_release(name, owner).await.unwrap_err().code, code);
    }
    world.store.lock_acquire(&long[1..], &long[1..], MINUTE).await.unwrap();
}

async fn a_clock_set_back_prolongs_and_never_shortens(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(-3_600_000);
    assert_eq!(world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap_err().code, Code::Locked);
    let refreshed = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert_eq!((refreshed.fence, refreshed.expires), (first.fence, first.expires));
    world.clock.advance_ms(7_200_000);
    assert!(world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap().fence > first.fence);
}

/// A machine that was asleep: time has passed, and nothing happened.
async fn an_expired_grant_that_nobody_else_got_is_refreshed_by_its_fence(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(100 * MINUTE_MS);
    assert_eq!(world.store.lock_status("deploy").await.unwrap(), None);
    let kept = world.store.lock_refresh("deploy", "a", first.fence, MINUTE).await.unwrap();
    assert_eq!((kept.fence, kept.expires.unix_ms()), (first.fence, START_MS + 101 * MINUTE_MS));
    assert_eq!(world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap_err().code, Code::Locked);
    // No number was used up.
    assert_eq!(world.store.lock_acquire("other", "b", MINUTE).await.unwrap().fence, first.fence + 1);
}

async fn a_refresh_by_its_fence_never_shortens(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let kept = world.store.lock_refresh("deploy", "a", first.fence, Duration::from_millis(1)).await.unwrap();
    assert_eq!((kept.fence, kept.expires), (first.fence, first.expires));
}

async fn another_grant_is_not_refreshed_by_the_fence_of_an_earlier_one(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(MINUTE_MS);
    let second = world.store.lock_acquire("deploy", "b", MINUTE).await.unwrap();
    let error = world.store.lock_refresh("deploy", "a", first.fence, MINUTE).await.unwrap_err();
    assert_eq!((error.code, error.retry, error.maybe), (Code::NotOwner, false, false));
    assert_eq!(error.details.holder.as_deref(), Some("b"));
    assert_eq!(error.details.expires_ms, Some(second.expires.unix_ms()));
    // Nor by somebody else who knows it, nor a grant that was never made.
    for (owner, fence) in [("a", second.fence), ("b", first.fence), ("b", second.fence + 1), ("b", 0)] {
        let error = world.store.lock_refresh("deploy", owner, fence, MINUTE).await.unwrap_err();
        assert_eq!(error.code, Code::NotOwner, "{owner} {fence}");
    }
    // The other one was there in between, also when its own time is over.
    world.clock.advance_ms(MINUTE_MS);
    let error = world.store.lock_refresh("deploy", "a", first.fence, MINUTE).await.unwrap_err();
    assert_eq!((error.code, error.details.holder), (Code::NotOwner, None));
    assert_eq!(world.store.lock_status("deploy").await.unwrap(), None, "nothing was granted");
    let third = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    assert_eq!(third.fence, second.fence + 1);
    assert_eq!(
        world.store.lock_refresh("deploy", "a", first.fence, MINUTE).await.unwrap_err().code,
        Code::NotOwner,
        "the same owner's later grant is another one"
    );
}

async fn a_released_grant_is_not_refreshed_by_its_fence(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    world.store.lock_release("deploy", "a").await.unwrap();
    let error = world.store.lock_refresh("deploy", "a", first.fence, MINUTE).await.unwrap_err();
    assert_eq!((error.code, error.details.holder), (Code::NotOwner, None));
    assert_eq!(world.store.lock_refresh("never", "a", 1, MINUTE).await.unwrap_err().code, Code::NotOwner);
    assert_eq!(world.store.lock_list("").await.unwrap(), []);
}

async fn a_refresh_by_its_fence_waits_for_nobody(world: &World) {
    let first = world.store.lock_acquire("deploy", "a", MINUTE).await.unwrap();
    let refresh = |owner: &str| LockAcquire {
        name: "deploy".to_owned(),
        owner: owner.to_owned(),
        duration: Duration::from_secs(60),
        fence: Some(first.fence),
    };
    world.clock.advance_ms(MINUTE_MS);
    let kept = world.store.lock_acquire_within(refresh("a"), 10 * MINUTE).await.unwrap();
    assert_eq!(kept.fence, first.fence);
    let refused = world.store.lock_acquire_within(refresh("b"), 10 * MINUTE).await.unwrap_err();
    assert_eq!((refused.code, refused.maybe), (Code::NotOwner, false));
}

async fn a_page_of_locks_is_empty_only_when_nothing_follows(world: &World) {
    let names: Vec<String> = (0..1_100).map(|number| format!("job/{number:04}")).collect();
    for granted in join_all(names.iter().map(|name| world.store.lock_acquire(name, "a", MINUTE))).await {
        granted.unwrap();
    }
    world.clock.advance_ms(MINUTE_MS);
    let page = || async {
        match world.store.call(Request::Read(Read::LockList(NameList::default()))).await.unwrap() {
            Reply::Locks(page) => {
                (page.items.into_iter().map(|lock| lock.name).collect::<Vec<_>>(), page.next)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(page().await, (vec![], None));
    world.store.lock_acquire("job/last", "a", MINUTE).await.unwrap();
    assert_eq!(page().await, (vec!["job/last".to_owned()], None));
}

/// A name for each job: what was granted once must not stay for ever.
#[test]
fn rows_of_locks_that_are_over_are_removed_by_later_grants() {
    let directory = tempfile::tempdir().unwrap();
    let rows = || {
        let mut command = std::process::Command::new("sqlite3");
        command.arg(directory.path().join("data.db")).arg("select count(*) from kv_lock");
        String::from_utf8(command.output().unwrap().stdout).unwrap().trim().parse::<usize>().unwrap()
    };
    runtime().block_on(async {
        let clock = ManualClock::at(Timestamp::from_unix_ms(START_MS));
        let store = LocalStore::open(&address(directory.path()), Clock::Manual(clock.clone()));
        store.init().await.unwrap();
        store.lock_acquire("always", "a", 1_000_000 * MINUTE).await.unwrap();
        let mut fence = 1;
        let mut most = 0;
        for job in 0..600 {
            // A job each hour: those of two days are kept.
            clock.advance_ms(3_600_000);
            let grant = store.lock_acquire(&format!("job/{job}"), "a", MINUTE).await.unwrap();
            assert!(grant.fence > fence, "a fence comes once");
            fence = grant.fence;
            if job % 50 == 49 {
                most = most.max(rows());
            }
        }
        assert!(most < 100, "{most} rows");
        assert!(store.lock_status("always").await.unwrap().is_some());
        // A store that was left alone gets rid of what it had, a slice with each grant.
        clock.advance_ms(100 * 24 * 3_600_000);
        for _ in 0..10 {
            store.lock_acquire("one", "a", MINUTE).await.unwrap();
        }
        assert_eq!(rows(), 2);
        store.close().await;
    });
}
