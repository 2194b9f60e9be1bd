//! The leader is killed under load: what was acknowledged is there once, what was refused is not, and all goes on with the
//! next leader.
//!
//! `LEADER_KILLS=100 cargo test --locked --release --test it rqlite::kills -- --nocapture` is the long form.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::store::{Put, Store};

use super::{OwnDaemon, address, wait_until_caught_up};
use crate::support::rqlite::Cluster;
use crate::support::under_load::under_load;
use crate::support::{is_alive, json, number_from_environment, runtime, skipped, wait_until};

/// A service is to be back so long after there is a leader.
const BACK_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn nothing_is_lost_when_the_leader_is_killed_again_and_again() {
    let name = "nothing_is_lost_when_the_leader_is_killed_again_and_again";
    let Some(cluster) = Cluster::start(3) else { return skipped(name) };
    let daemons = [OwnDaemon::start(cluster.url()), OwnDaemon::start(cluster.url())];
    let mut times = Vec::new();
    under_load(&daemons, &address(cluster.url()), |daemons, acknowledged| {
        let pids: Vec<u32> = daemons.iter().map(OwnDaemon::pid).collect();
        for round in 0..number_from_environment("LEADER_KILLS", 10) as usize {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= before + 25 * (round % 4));
            let leader = cluster.wait_for_leader();
            // Now and then those are gone that could be asked what became of a write.
            let others = if round % 5 == 4 { [(leader + 1) % 3, (leader + 2) % 3].to_vec() } else { vec![] };
            cluster.kill(leader);
            others.iter().for_each(|node| cluster.kill(*node));
            others.iter().for_each(|node| cluster.restart(*node));
            cluster.wait_for_leader();
            if !others.is_empty() {
                // After a start it has to read its whole log first, whatever it takes itself for.
                cluster.sql("select 1");
            }
            let elected = Instant::now();
            runtime().block_on(join_all(daemons.iter().map(async |daemon| {
                let client = daemon.client().await;
                while let Err(error) = client.put(Put::new("back", json("1"))).await {
                    assert!(error.retry && elected.elapsed() < BACK_WITHIN, "{error:?}");
                }
            })));
            times.push(elected.elapsed());
            assert!(elected.elapsed() < BACK_WITHIN, "{:?}", elected.elapsed());
            cluster.restart(leader);
            (0..3).for_each(|node| wait_until_caught_up(&cluster, node));
        }
        assert!(pids.iter().all(|&pid| is_alive(pid)), "a daemon has ended with a node");
    });
    times.sort_unstable();
    eprintln!("all daemons serve again after the election: {times:?}");
}
