//! Clients of several daemons that write and follow while something happens to them or to the store.

#![allow(clippy::print_stderr, reason = "the tests report their figures")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use kv::Client;
use kv::store::{Address, Change, Code, Error, Event, Guarded, Put, Store, Subscribe};
use tokio::sync::watch;

use super::own_daemon::OwnDaemon;
use super::{assert_sound, json, runtime};

/// How many write through each daemon.
const CLIENTS: usize = 4;

/// What became of the puts of a client. What was repeated because its outcome was unknown is acknowledged in the end.
#[derive(Default)]
struct Outcomes {
    /// With its revision.
    acknowledged: Vec<(String, u64)>,
    refused: Vec<String>,
    unknown: Vec<String>,
    repeated: usize,
}

/// Has clients of several daemons write and follow while something happens, and then checks what they were told.
pub(crate) fn under_load(
    daemons: &[OwnDaemon],
    address: &Address,
    happens: impl FnOnce(&[OwnDaemon], &AtomicUsize),
) {
    runtime().block_on(async { daemons[0].client().await.init().await.unwrap() });
    let writers_count = daemons.len() * CLIENTS;
    let (is_over, acknowledged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (told_end, end) = tokio::sync::watch::channel(None);
    std::thread::scope(|scope| {
        let followers: Vec<_> = daemons
            .iter()
            .map(|daemon| {
                let end = end.clone();
                scope.spawn(move || {
                    let mut seen: Vec<(u64, String, u64)> = Vec::new();
                    runtime().block_on(async {
                        follow(&daemon.client().await, end, |change| {
                            assert_eq!(change.seq, seen.len() as u64 + 1, "the stream has a hole");
                            seen.push((change.seq, change.record.key, change.record.version));
                        })
                        .await;
                    });
                    seen
                })
            })
            .collect();
        let writers: Vec<_> = (0..writers_count)
            .map(|number| {
                let (daemon, is_over, acknowledged) =
                    (&daemons[number % daemons.len()], &is_over, &acknowledged);
                scope.spawn(move || {
                    runtime().block_on(async {
                        write(&daemon.client().await, number, is_over, acknowledged).await
                    })
                })
            })
            .collect();
        // A panic must not leave the others at work, or nobody would hear of it.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happens(daemons, &acknowledged)));
        is_over.store(true, Ordering::SeqCst);
        let outcomes: Vec<Outcomes> = writers.into_iter().filter_map(|writer| writer.join().ok()).collect();
        if outcome.is_err() || outcomes.len() < writers_count {
            drop(told_end);
            panic!("{} of {} writers have come to their end", outcomes.len(), writers_count);
        }
        let head = runtime().block_on(async { daemons[0].client().await.stream_seq().await.unwrap() });
        told_end.send(Some(head)).unwrap();
        let streams: Vec<_> = followers.into_iter().map(|follower| follower.join().unwrap()).collect();
        assert!(streams.iter().all(|stream| *stream == streams[0]), "followers saw different streams");
        check(&outcomes, &streams[0]);
    });
    assert_sound(address);
}

/// Puts keys that are never used again, every second one with an id, until it is over.
async fn write(client: &Client, writer: usize, is_over: &AtomicBool, acknowledged: &AtomicUsize) -> Outcomes {
    let mut outcomes = Outcomes::default();
    for number in 0.. {
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        let key = format!("{writer}/{number}");
        let put = || Put::new(&key, json("1"));
        let mut told = if number % 2 == 0 {
            client.put(put()).await
        } else {
            Guarded::new(client).once(&key).put(put()).await
        };
        let is_open = |told: &Result<_, Error>| told.as_ref().is_err_and(|error| error.maybe);
        if number % 2 == 1 && is_open(&told) {
            outcomes.repeated += 1;
            let begun = Instant::now();
            while let Err(error) = &told {
                assert!(passes(error) && begun.elapsed() < Duration::from_secs(60), "{error:?}");
                told = Guarded::new(client).once(&key).put(put()).await;
            }
        }
        match told {
            Ok(written) => {
                acknowledged.fetch_add(1, Ordering::SeqCst);
                outcomes.acknowledged.push((key, written.revision));
            }
            Err(error) => {
                assert!(passes(&error), "{error:?}");
                let list = if error.maybe { &mut outcomes.unknown } else { &mut outcomes.refused };
                list.push(key);
                // So many refusals prove no more than a few.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
    outcomes
}

fn passes(error: &Error) -> bool {
    error.retry && matches!(error.code, Code::Unavailable | Code::Busy)
}

/// Asserts that the stream holds what was acknowledged, at its place, and nothing that was refused, and all of it once.
fn check(outcomes: &[Outcomes], stream: &[(u64, String, u64)]) {
    let mut found = HashMap::new();
    for (seq, key, version) in stream.iter().filter(|(_, key, _)| key != "back") {
        assert_eq!((found.insert(key, *seq), *version), (None, 1), "{key} was put twice");
    }
    let mut count = [0; 4];
    for outcome in outcomes {
        for (key, revision) in &outcome.acknowledged {
            assert_eq!(found.remove(key), Some(*revision), "{key} was acknowledged");
        }
        for key in &outcome.refused {
            assert_eq!(found.remove(key), None, "{key} was refused");
        }
        for key in &outcome.unknown {
            found.remove(key);
        }
        count[0] += outcome.acknowledged.len();
        count[1] += outcome.refused.len();
        count[2] += outcome.unknown.len();
        count[3] += outcome.repeated;
    }
    assert!(found.is_empty(), "nobody was told of {found:?}");
    let [acknowledged, refused, unknown, repeated] = count;
    eprintln!(
        "{acknowledged} acknowledged, {refused} refused, {unknown} unknown, {repeated} unknown and repeated with an id"
    );
}

/// Follows the stream from its beginning to its end, which is told when it is known.
pub(crate) async fn follow(
    store: &dyn Store,
    mut end: watch::Receiver<Option<u64>>,
    mut sees: impl FnMut(Change),
) {
    let mut seq = 0;
    let mut subscription = loop {
        match store.subscribe(Subscribe::after(0)).await {
            Ok(subscription) => break subscription,
            Err(error) => assert!(error.retry, "{error:?}"),
        }
    };
    loop {
        let last = *end.borrow_and_update();
        if last.is_some_and(|last| seq >= last) {
            return;
        }
        let late = async {
            match last {
                Some(_) => tokio::time::sleep(Duration::from_secs(60)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = subscription.next() => match event {
                Ok(Event::Change(change)) => {
                    seq = change.seq;
                    sees(change);
                }
                Ok(_) => {}
                Err(error) => assert!(error.retry && !error.maybe, "{error:?}"),
            },
            changed = end.changed() => changed.expect("those who write have failed"),
            () = late => panic!("a follower stands at {seq}"),
        }
    }
}
