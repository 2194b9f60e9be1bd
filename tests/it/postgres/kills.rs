//! The server, or a daemon, is killed under load: what was acknowledged is there, what was refused is not, and all goes on.
//!
//! `SERVER_KILLS=300 DAEMON_KILLS=1000 cargo test --locked --release --test it postgres::kills -- --nocapture` is the long form.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::Client;
use kv::store::{Code, EngineKind, Error, Guarded, Put, Store};

use super::{OwnDaemon, follow};
use crate::support::postgres::Cluster;
use crate::support::{
    Site, assert_sound, is_alive, json, number_from_environment, runtime, skipped, wait_until,
};

const DAEMONS: usize = 4;

/// How many write through each daemon.
const CLIENTS: usize = 4;

/// A service is to be back so long after its server.
const BACK_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn nothing_is_lost_when_the_server_is_killed_again_and_again() {
    let name = "nothing_is_lost_when_the_server_is_killed_again_and_again";
    let Some(cluster) = Cluster::start() else { return skipped(name) };
    let site = Site::in_cluster(&cluster);
    let mut times = Vec::new();
    under_load(&site, |daemons, acknowledged| {
        let pids: Vec<u32> = daemons.iter().map(OwnDaemon::pid).collect();
        for round in 0..number_from_environment("SERVER_KILLS", 4) as usize {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= before + 100 * (round % 4));
            cluster.kill();
            runtime().block_on(async {
                for daemon in daemons {
                    let client = daemon.client().await;
                    let read = client.get("a").await.unwrap_err();
                    let written = client.put(Put::new("never", json("1"))).await.unwrap_err();
                    for error in [read, written] {
                        let passes = error.code == Code::Unavailable && error.retry && !error.maybe;
                        assert!(passes, "{error:?}");
                    }
                }
            });
            cluster.restart();
            let restarted = Instant::now();
            runtime().block_on(join_all(daemons.iter().map(async |daemon| {
                let client = daemon.client().await;
                while let Err(error) = client.put(Put::new("back", json("1"))).await {
                    assert!(error.retry && restarted.elapsed() < BACK_WITHIN, "{error:?}");
                }
            })));
            times.push(restarted.elapsed());
            assert!(restarted.elapsed() < BACK_WITHIN, "{:?}", restarted.elapsed());
        }
        assert!(pids.iter().all(|&pid| is_alive(pid)), "a daemon has ended with its server");
    });
    times.sort_unstable();
    eprintln!("all daemons serve again after the server: {times:?}");
}

#[test]
fn nothing_is_lost_when_one_daemon_of_several_is_killed_again_and_again() {
    let name = "nothing_is_lost_when_one_daemon_of_several_is_killed_again_and_again";
    let Some(site) = Site::on(EngineKind::Postgres) else { return skipped(name) };
    under_load(&site, |daemons, acknowledged| {
        for round in 0..number_from_environment("DAEMON_KILLS", 8) as usize {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= before + 50 * (round % 4));
            daemons[round % DAEMONS].kill_and_start();
        }
    });
}

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
fn under_load(site: &Site, happens: impl FnOnce(&[OwnDaemon], &AtomicUsize)) {
    let url = site.database().url();
    let daemons: Vec<OwnDaemon> = (0..DAEMONS).map(|_| OwnDaemon::start(&url)).collect();
    runtime().block_on(async { daemons[0].client().await.init().await.unwrap() });
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
        let writers: Vec<_> = (0..DAEMONS * CLIENTS)
            .map(|number| {
                let (daemon, is_over, acknowledged) = (&daemons[number % DAEMONS], &is_over, &acknowledged);
                scope.spawn(move || {
                    runtime().block_on(async {
                        write(&daemon.client().await, number, is_over, acknowledged).await
                    })
                })
            })
            .collect();
        // A panic must not leave the others at work, or nobody would hear of it.
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| happens(&daemons, &acknowledged)));
        is_over.store(true, Ordering::SeqCst);
        let outcomes: Vec<Outcomes> = writers.into_iter().filter_map(|writer| writer.join().ok()).collect();
        if outcome.is_err() || outcomes.len() < DAEMONS * CLIENTS {
            drop(told_end);
            panic!("{} of {} writers have come to their end", outcomes.len(), DAEMONS * CLIENTS);
        }
        let head = runtime().block_on(async { daemons[0].client().await.stream_seq().await.unwrap() });
        told_end.send(Some(head)).unwrap();
        let streams: Vec<_> = followers.into_iter().map(|follower| follower.join().unwrap()).collect();
        assert!(streams.iter().all(|stream| *stream == streams[0]), "followers saw different streams");
        check(&outcomes, &streams[0]);
    });
    drop(daemons);
    assert_sound(&site.address);
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
