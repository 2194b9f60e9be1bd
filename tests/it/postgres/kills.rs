//! The server, or a daemon, is killed under load: what was acknowledged is there, what was refused is not, and all goes on.
//!
//! `SERVER_KILLS=300 DAEMON_KILLS=1000 cargo test --locked --release --test it postgres::kills -- --nocapture` is the long form.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::store::{Code, EngineKind, Put, Store};

use super::OwnDaemon;
use crate::support::postgres::Cluster;
use crate::support::under_load::under_load;
use crate::support::{Site, is_alive, json, number_from_environment, runtime, skipped, wait_until};

const DAEMONS: usize = 4;

/// A service is to be back so long after its server.
const BACK_WITHIN: Duration = Duration::from_secs(2);

#[test]
fn nothing_is_lost_when_the_server_is_killed_again_and_again() {
    let name = "nothing_is_lost_when_the_server_is_killed_again_and_again";
    let Some(cluster) = Cluster::start() else { return skipped(name) };
    let site = Site::in_cluster(&cluster);
    let mut times = Vec::new();
    under_load(&daemons(&site), &site.address, |daemons, acknowledged| {
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
    under_load(&daemons(&site), &site.address, |daemons, acknowledged| {
        for round in 0..number_from_environment("DAEMON_KILLS", 8) as usize {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= before + 50 * (round % 4));
            daemons[round % DAEMONS].kill_and_start();
        }
    });
}

fn daemons(site: &Site) -> Vec<OwnDaemon> {
    let url = site.database().url();
    (0..DAEMONS).map(|_| OwnDaemon::start(&url)).collect()
}
