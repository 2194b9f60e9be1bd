//! Random sequences of every operation, cut at random into batches and spread over two stores on one file, against a
//! plain model.
//!
//! `MODEL_CASES=20000 MODEL_STEPS=60 cargo test --locked --release --test it model` runs for long.

mod consumers;
mod plain;
mod steps;

use kv::store::{Clock, LocalStore, ManualClock, Request, Store, Timestamp, Write};
use proptest::prelude::*;

use self::plain::{Failure, Model};
use self::steps::Step;
use crate::support::{START_MS, address, assert_sound, number_from_environment, runtime};

/// The calls of one step, which are made at one instant: writes become one batch, in their order; a read sees committed
/// changes only, so it runs alone.
struct Batch {
    requests: Vec<Request>,
    store: usize,
}

fn first_batch(steps: &[Step], earlier: &mut Vec<Write>) -> (Batch, usize) {
    let mut requests: Vec<Request> = Vec::new();
    let mut length = 0;
    let mut store = 0;
    for step in steps {
        let (request, joins, through) = match step {
            Step::Clock(_) | Step::Reopen | Step::Compact(_) => break,
            Step::Call { request, joins, store } => (request.clone(), *joins, *store),
            Step::Again { which, joins, store } => {
                let Some(again) = earlier.get(*which % earlier.len().max(1)) else {
                    length += 1;
                    continue;
                };
                (Request::Write(again.clone()), *joins, *store)
            }
        };
        let is_write = matches!(request, Request::Write(_));
        if !(requests.is_empty() || joins && is_write) {
            break;
        }
        if requests.is_empty() {
            store = through;
        }
        if let Request::Write(write) = &request {
            earlier.push(write.clone());
        }
        requests.push(request);
        length += 1;
        if !is_write {
            break;
        }
    }
    (Batch { requests, store }, length)
}

async fn check(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(Timestamp::from_unix_ms(START_MS));
    let open = || LocalStore::open(&address(directory.path()), Clock::Manual(clock.clone()));
    let mut stores = [open(), open()];
    stores[0].init().await.unwrap();
    let mut model = Model::default();
    let (mut now_ms, mut earlier) = (START_MS, Vec::new());
    let mut rest = steps.as_slice();
    while let Some((first, later)) = rest.split_first() {
        match first {
            Step::Clock(by_ms) => {
                clock.advance_ms(*by_ms);
                now_ms += by_ms;
                rest = later;
                continue;
            }
            Step::Reopen => {
                for store in std::mem::replace(&mut stores, [open(), open()]) {
                    store.close().await;
                }
                rest = later;
                continue;
            }
            Step::Compact(store) => {
                stores[*store].compact().await.unwrap();
                rest = later;
                continue;
            }
            Step::Call { .. } | Step::Again { .. } => {}
        }
        let (batch, length) = first_batch(rest, &mut earlier);
        rest = &rest[length..];
        let calls = batch.requests.iter().map(|request| stores[batch.store].call(request.clone()));
        let told = futures_util::future::join_all(calls).await;
        for (request, told) in batch.requests.iter().zip(told) {
            let told = told.map_err(|error| {
                assert!(!error.maybe, "{error:?}");
                Failure { code: error.code, details: *error.details }
            });
            assert_eq!(told, model.call(request, now_ms), "{request:#?}");
        }
    }
    let [store, other] = stores;
    assert_eq!(store.list(0, None).await.unwrap(), model.records());
    assert_eq!(other.stream(0, None).await.unwrap(), model.kept_changes());
    store.close().await;
    other.close().await;
    assert_sound(&address(directory.path()));
}

#[test]
fn any_sequence_in_any_batches_through_two_stores_equals_the_plain_model() {
    let cases = number_from_environment("MODEL_CASES", 200);
    let steps = number_from_environment("MODEL_STEPS", 40) as usize;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&prop::collection::vec(steps::step(), steps), |steps| {
            runtime().block_on(check(steps));
            Ok(())
        })
        .unwrap();
}
