use std::time::Duration;

use kv::store::{Code, Delete, Guarded, Mutation, Patch, Put, Store, Trim};

use crate::support::{World, json};

cases! {
    writes_with_the_present_token_are_applied,
    after_a_release_every_write_with_the_token_is_refused,
    after_a_newer_grant_the_old_token_is_refused,
    expiry_alone_does_not_refuse_the_token,
    a_day_after_the_expiry_the_token_is_refused,
    a_token_of_a_lock_that_never_was_is_refused,
    the_refusal_tells_the_present_token,
    a_grant_in_the_same_batch_fences_the_writes_behind_it,
    a_lock_takes_no_fence,
}

const MINUTE: Duration = Duration::from_secs(60);

/// One write of each kind, with the code it was refused with.
async fn writes(store: &dyn Store) -> Vec<Option<Code>> {
    vec![
        store.put(Put::new("a", json("{}"))).await.err().map(|error| error.code),
        store.patch(Patch::merge("a", json("{}"))).await.err().map(|error| error.code),
        store.mutate_all(vec![Mutation::Put(Put::new("b", json("1")))]).await.err().map(|error| error.code),
        store.delete_prefix("b", 0, None).await.err().map(|error| error.code),
        store.delete(Delete::keys(["a"])).await.err().map(|error| error.code),
        store.stream_trim(Trim::UpTo(1)).await.err().map(|error| error.code),
    ]
}

async fn writes_with_the_present_token_are_applied(world: &World) {
    let grant = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    let fenced = Guarded::new(&*world.store).fence("l", grant.fence);
    assert_eq!(writes(&fenced).await, [None; 6]);
    world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    assert_eq!(writes(&fenced).await, [None; 6], "a refresh keeps the token");
}

async fn after_a_release_every_write_with_the_token_is_refused(world: &World) {
    let grant = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    world.store.lock_release("l", "a").await.unwrap();
    world.put_all(&["a"]).await;
    let fenced = Guarded::new(&*world.store).fence("l", grant.fence);
    assert_eq!(writes(&fenced).await, [Some(Code::Fenced); 6]);
    assert_eq!((world.store.stream_seq().await.unwrap(), world.store.count().await.unwrap()), (1, 1));
}

async fn after_a_newer_grant_the_old_token_is_refused(world: &World) {
    let old = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(60_000);
    let new = world.store.lock_acquire("l", "b", MINUTE).await.unwrap();
    assert_eq!(writes(&Guarded::new(&*world.store).fence("l", old.fence)).await, [Some(Code::Fenced); 6]);
    assert_eq!(writes(&Guarded::new(&*world.store).fence("l", new.fence)).await, [None; 6]);
    // Also when the same owner has the new grant.
    world.clock.advance_ms(60_000);
    world.store.lock_acquire("l", "b", MINUTE).await.unwrap();
    assert_eq!(writes(&Guarded::new(&*world.store).fence("l", new.fence)).await, [Some(Code::Fenced); 6]);
}

async fn expiry_alone_does_not_refuse_the_token(world: &World) {
    let grant = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(3_600_000);
    assert_eq!(writes(&Guarded::new(&*world.store).fence("l", grant.fence)).await, [None; 6]);
}

async fn a_token_of_a_lock_that_never_was_is_refused(world: &World) {
    assert_eq!(writes(&Guarded::new(&*world.store).fence("l", 1)).await, [Some(Code::Fenced); 6]);
    world.store.lock_acquire("other", "a", MINUTE).await.unwrap();
    assert_eq!(writes(&Guarded::new(&*world.store).fence("l", 1)).await, [Some(Code::Fenced); 6]);
}

async fn the_refusal_tells_the_present_token(world: &World) {
    let grant = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    let fenced = Guarded::new(&*world.store).fence("l", grant.fence + 1);
    let error = fenced.put(Put::new("a", json("1"))).await.unwrap_err();
    assert_eq!((error.code, error.details.current, error.maybe), (Code::Fenced, Some(grant.fence), false));
}

async fn a_grant_in_the_same_batch_fences_the_writes_behind_it(world: &World) {
    let old = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    world.clock.advance_ms(60_000);
    let fenced = Guarded::new(&*world.store).fence("l", old.fence);
    let (before, grant, after) = tokio::join!(
        fenced.put(Put::new("a", json("1"))),
        world.store.lock_acquire("l", "b", MINUTE),
        fenced.put(Put::new("a", json("2"))),
    );
    before.unwrap();
    grant.unwrap();
    assert_eq!(after.unwrap_err().code, Code::Fenced);
    assert_eq!(world.store.get("a").await.unwrap().unwrap().value, json("1"));
}

async fn a_lock_takes_no_fence(world: &World) {
    for (store, field) in [
        (Guarded::new(&*world.store).fence("l", 1), "fence"),
        (Guarded::new(&*world.store).once("id"), "once"),
    ] {
        for refused in [
            store.lock_acquire("l", "a", MINUTE).await.unwrap_err(),
            store.lock_release("l", "a").await.unwrap_err(),
        ] {
            assert_eq!(refused.code, Code::BadRequest);
            assert_eq!(refused.details.field.as_deref(), Some(field));
        }
    }
}

/// Nobody else got the lock, but its row is not kept for ever.
async fn a_day_after_the_expiry_the_token_is_refused(world: &World) {
    let grant = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
    let put = || async {
        let fenced = Guarded::new(&*world.store).fence("l", grant.fence);
        fenced.put(Put::new("a", json("1"))).await.map(|written| written.version)
    };
    world.clock.advance_ms(60_000 + 24 * 3_600_000 - 1);
    assert_eq!(put().await, Ok(1));
    world.clock.advance_ms(1);
    let error = put().await.unwrap_err();
    assert_eq!((error.code, error.details.current), (Code::Fenced, None));
    assert!(!world.store.lock_release("l", "a").await.unwrap(), "there is nothing to give back");
    // Other grants come and go, and the token comes never again.
    for number in 0..40 {
        world.clock.advance_ms(24 * 3_600_000);
        let later = world.store.lock_acquire("l", "a", MINUTE).await.unwrap();
        assert_eq!(later.fence, grant.fence + 1 + number);
        assert_eq!(put().await.unwrap_err().details.current, Some(later.fence));
    }
}
