use futures_util::future::join_all;
use kv::store::{
    Check, Code, Condition, Delete, Fence, LockRelease, Mutation, Patch, Put, Reply, Request, Write,
    WriteOperation,
};

use crate::support::{World, json};

cases! {
    a_failing_request_of_each_kind_harms_no_neighbour_in_a_batch_of_500,
    small_patches_of_a_large_value_are_bounded_by_what_they_write,
}

/// A request of each kind that fails, with its code.
fn failing() -> Vec<(Write, Code)> {
    let condition = Condition { version: Some(7), ..Condition::default() };
    let put = || Put::new("own", json("1"));
    vec![
        (Mutation::Put(put().if_version(7)).into(), Code::VersionMismatch),
        (
            Mutation::Patch(Patch { condition, ..Patch::merge("own", json("{}")) }).into(),
            Code::VersionMismatch,
        ),
        (Mutation::Patch(Patch::json_patch("nobody", json("[]"))).into(), Code::NotFound),
        (
            Mutation::Patch(Patch::json_patch("own", json(r#"[{"op":"remove","path":"/x"}]"#))).into(),
            Code::PatchFailed,
        ),
        (Mutation::Delete(Delete { condition, ..Delete::keys(["own"]) }).into(), Code::VersionMismatch),
        (
            WriteOperation::Mutate(vec![
                Mutation::Put(Put::new("own", json("2"))),
                Mutation::Delete(Delete::prefix("key")),
                Mutation::Check(Check { key: "own".to_owned(), condition }),
            ])
            .into(),
            Code::VersionMismatch,
        ),
        (
            Write {
                fence: Some(Fence { lock: "l".to_owned(), token: 9 }),
                ..Write::from(Mutation::Put(put()))
            },
            Code::Fenced,
        ),
        (
            WriteOperation::LockRelease(LockRelease {
                name: "l".to_owned(),
                owner: "other".to_owned(),
                fence: None,
                refreshes: None,
            })
            .into(),
            Code::NotOwner,
        ),
    ]
}

async fn a_failing_request_of_each_kind_harms_no_neighbour_in_a_batch_of_500(world: &World) {
    world.put_all(&["own"]).await;
    world.store.lock_acquire("l", "owner", std::time::Duration::from_secs(60)).await.unwrap();
    for (round, (failing, code)) in (0..).zip(failing()) {
        // Joined calls are gathered into one batch.
        let outcomes = join_all((0..500).map(|number| {
            let neighbour = Mutation::Put(Put::new(format!("key{number:03}"), json(&round.to_string())));
            let write = if number == 250 { failing.clone() } else { neighbour.into() };
            world.store.call(Request::Write(write))
        }))
        .await;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Err(error) => assert_eq!((number, error.code), (250, code), "{failing:?}"),
                Ok(Reply::Written(written)) => assert_eq!(written.version, round + 1, "{number}"),
                Ok(other) => panic!("{number}: {other:?}"),
            }
        }
        let seqs: Vec<u64> =
            world.store.stream(0, None).await.unwrap().iter().map(|change| change.seq).collect();
        assert_eq!(seqs, (1..=1 + 499 * (round + 1)).collect::<Vec<u64>>(), "{failing:?}");
        let records = world.store.get_prefix("key", 0, None).await.unwrap();
        assert!(
            records.len() == 499 && records.iter().all(|record| record.value == json(&round.to_string()))
        );
        assert_eq!(world.store.get("own").await.unwrap().unwrap().version, 1);
    }
}

/// Forty patches of a value of 2 MiB are asked for in one batch, and write 80 MiB: they take effect in order, in several.
/// A mutate is not taken apart, so it is refused.
async fn small_patches_of_a_large_value_are_bounded_by_what_they_write(world: &World) {
    let large = format!(r#"{{"text":"{}"}}"#, "x".repeat(2 * 1_024 * 1_024));
    world.store.put(Put::new("large", json(&large))).await.unwrap();
    let patch = |number: usize| Patch::merge("large", json(&format!(r#"{{"n":{number}}}"#)));
    let outcomes = join_all((0..40).map(|number| world.store.patch(patch(number)))).await;
    let versions: Vec<u64> = outcomes.into_iter().map(|outcome| outcome.unwrap().version).collect();
    assert_eq!(versions, (2..=41).collect::<Vec<u64>>());

    for (count, returned, is_taken) in
        [(15, false, true), (16, false, false), (5, true, true), (6, true, false)]
    {
        let before = world.store.stream_seq().await.unwrap();
        let patches = (0..count).map(|number| Patch { return_value: returned, ..patch(number) });
        match world.store.mutate_all(patches.map(Mutation::Patch).collect()).await {
            Ok(results) => assert!(is_taken && results.len() == count),
            Err(error) => {
                assert!(!is_taken && error.code == Code::TooLarge && error.hint.is_some(), "{error:?}");
                assert_eq!(world.store.stream_seq().await.unwrap(), before);
            }
        }
    }
}
