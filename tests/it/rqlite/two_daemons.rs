//! Two daemons on the same nodes are one store.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::limits;
use kv::store::{Code, Event, Guarded, LockAcquire, Put, Store, Subscribe, Subscription};

use super::{OwnDaemon, wait_until_caught_up};
use crate::support::rqlite::{Cluster, Database};
use crate::support::{json, runtime, skipped, wait_until};

const CLIENTS: usize = 3;

fn both(url: &str) -> [OwnDaemon; 2] {
    let daemons = [OwnDaemon::start(url), OwnDaemon::start(url)];
    runtime().block_on(async { daemons[0].client().await.init().await.unwrap() });
    daemons
}

async fn next_change(subscription: &mut Subscription) -> String {
    let change = async {
        loop {
            if let Event::Change(change) = subscription.next().await.unwrap() {
                return change.record.key;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), change).await.expect("no change came")
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
fn each_is_told_of_what_the_other_commits() {
    let name = "each_is_told_of_what_the_other_commits";
    let Some(node) = Database::lease() else { return skipped(name) };
    let daemons = both(node.url());
    runtime().block_on(async {
        let clients = [daemons[0].client().await, daemons[1].client().await];
        let mut subscriptions = Vec::new();
        for client in &clients {
            subscriptions.push(client.subscribe(Subscribe::default()).await.unwrap());
        }
        let (mut own, mut others) = (Vec::new(), Vec::new());
        for number in 0..40 {
            let (writer, other) = (number % 2, 1 - number % 2);
            let key = number.to_string();
            clients[writer].put(Put::new(&key, json("1"))).await.unwrap();
            let begun = Instant::now();
            assert_eq!(next_change(&mut subscriptions[writer]).await, key);
            own.push(begun.elapsed());
            assert_eq!(next_change(&mut subscriptions[other]).await, key);
            others.push(begun.elapsed());
        }
        let (own, others) = (median(&mut own), median(&mut others));
        eprintln!(
            "told of an own change: median {own:?}, of one through the other daemon: median {others:?}"
        );
        // Nobody looks for the one, and both daemons look often for the other.
        assert!(own < limits::RQLITE_LOOK_MIN && others < limits::RQLITE_LOOK_MIN * 4, "{own:?}, {others:?}");
    });
}

#[test]
fn a_lock_has_one_holder_and_its_fences_grow() {
    const ROUNDS: usize = 3;
    let name = "a_lock_has_one_holder_and_its_fences_grow";
    let Some(node) = Database::lease() else { return skipped(name) };
    let daemons = both(node.url());
    let (is_held, granted) = (&AtomicBool::new(false), AtomicUsize::new(0));
    let begun = Instant::now();
    let fences = runtime().block_on(async {
        let contenders = (0..2 * CLIENTS).map(async |contender| {
            let client = daemons[contender % 2].client().await;
            let owner = contender.to_string();
            let mut fences = Vec::new();
            for round in 0..ROUNDS {
                let wanted = LockAcquire {
                    name: "deploy".to_owned(),
                    owner: owner.clone(),
                    duration: Duration::from_secs(60),
                    fence: None,
                };
                let grant = client.lock_acquire_within(wanted, Duration::from_secs(60)).await.unwrap();
                assert!(!is_held.swap(true, Ordering::SeqCst), "two hold the lock");
                fences.push((granted.fetch_add(1, Ordering::SeqCst), grant.fence));
                let guarded = Guarded::new(&client).fence("deploy", grant.fence);
                guarded.put(Put::new(format!("{owner}/{round}"), json("1"))).await.unwrap();
                is_held.store(false, Ordering::SeqCst);
                assert_eq!(client.lock_release("deploy", &owner).await, Ok(true));
                let stale = guarded.put(Put::new("never", json("1"))).await.unwrap_err();
                assert_eq!(stale.code, Code::Fenced);
            }
            fences
        });
        join_all(contenders).await.concat()
    });
    let mut fences = fences;
    fences.sort_unstable();
    let rounds = fences.len();
    eprintln!("{rounds} grants through two daemons, one after the other: {:?}", begun.elapsed());
    assert_eq!(rounds, 2 * CLIENTS * ROUNDS);
    assert!(fences.is_sorted_by(|before, after| before.1 < after.1), "{fences:?}");
    assert_eq!(node.sql("select count(*) from kv_record"), rounds.to_string());
}

/// What became of the increments of a client: what was told to be done, with its version, and what may be.
#[derive(Default)]
struct Counted {
    done: Vec<(u64, String)>,
    unknown: HashSet<String>,
}

#[test]
fn who_counts_with_conditions_while_the_leader_is_killed_counts_each_once() {
    const INCREMENTS: usize = 60;
    let name = "who_counts_with_conditions_while_the_leader_is_killed_counts_each_once";
    let Some(cluster) = Cluster::start(3) else { return skipped(name) };
    let daemons = both(cluster.url());
    let done = AtomicUsize::new(0);
    let counted: Vec<Counted> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2 * CLIENTS)
            .map(|number| {
                let (daemon, done) = (&daemons[number % 2], &done);
                scope.spawn(move || {
                    runtime().block_on(async {
                        let client = daemon.client().await;
                        let mut counted = Counted::default();
                        while counted.done.len() + counted.unknown.len() < INCREMENTS {
                            increment(&client, number, &mut counted).await;
                            done.fetch_add(1, Ordering::SeqCst);
                        }
                        counted
                    })
                })
            })
            .collect();
        for _ in 0..2 {
            let before = done.load(Ordering::SeqCst);
            wait_until("some increments", || done.load(Ordering::SeqCst) >= before + INCREMENTS / 2);
            let leader = cluster.wait_for_leader();
            cluster.kill(leader);
            cluster.wait_for_leader();
            cluster.restart(leader);
            wait_until_caught_up(&cluster, leader);
        }
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let changes = runtime().block_on(async { daemons[0].client().await.stream(0, None).await.unwrap() });
    let mut unknown: HashSet<&String> = counted.iter().flat_map(|counted| &counted.unknown).collect();
    let (all, unknown_count) = (changes.len(), unknown.len());
    for counted in &counted {
        for (version, value) in &counted.done {
            let change = &changes[usize::try_from(*version).unwrap() - 1].record;
            assert_eq!((change.version, change.value.get()), (*version, value.as_str()));
        }
    }
    let told: HashSet<u64> =
        counted.iter().flat_map(|counted| &counted.done).map(|(version, _)| *version).collect();
    for change in &changes {
        // Each that nobody was told of is one that was unknown, and is there once.
        let (version, value) = (change.record.version, change.record.value.get().to_owned());
        assert!(told.contains(&version) || unknown.remove(&value), "{version}: {value}");
    }
    eprintln!("{} told, {unknown_count} unknown, the last version is {all}", told.len());
    assert_eq!(told.len(), counted.iter().map(|counted| counted.done.len()).sum::<usize>());
    assert_eq!(all, told.len() + unknown_count - unknown.len());
}

/// Puts the next version, with a value that nobody else writes.
async fn increment(client: &impl Store, number: usize, counted: &mut Counted) {
    let value = format!("\"{number}/{}\"", counted.done.len() + counted.unknown.len());
    let begun = Instant::now();
    let error = loop {
        assert!(begun.elapsed() < Duration::from_secs(60), "{value} is not counted");
        let version = match client.get("count").await {
            Ok(record) => record.map_or(0, |record| record.version),
            Err(error) => {
                assert!(error.retry && !error.maybe, "{error:?}");
                continue;
            }
        };
        match client.put(Put::new("count", json(&value)).if_version(version)).await {
            Ok(written) => {
                assert_eq!(written.version, version + 1);
                counted.done.push((written.version, value));
                return;
            }
            Err(error) if error.code == Code::VersionMismatch || (error.retry && !error.maybe) => {}
            Err(error) => break error,
        }
    };
    assert!(error.maybe && error.code == Code::Unavailable, "{error:?}");
    counted.unknown.insert(value);
}
