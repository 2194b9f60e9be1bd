//! Nodes that are down, or that a daemon does not know of.

use std::process::Stdio;
use std::time::{Duration, Instant};

use kv::Client;
use kv::store::{Code, Put, Store};

use super::{OwnDaemon, wait_until_caught_up};
use crate::support::rqlite::Cluster;
use crate::support::{is_alive, json, runtime, skipped, wait_until};

/// Puts a key until it is acknowledged, once there is a leader.
async fn put_patiently(client: &Client, key: &str) {
    let begun = Instant::now();
    while let Err(error) = client.put(Put::new(key, json("1"))).await {
        assert!(error.retry && !error.maybe, "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{error:?}");
    }
}

fn seqs_of(lines: &str) -> Vec<u64> {
    let seq = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64().unwrap();
    lines.lines().map(seq).collect()
}

#[test]
fn a_daemon_that_knows_one_follower_serves_whoever_leads() {
    let name = "a_daemon_that_knows_one_follower_serves_whoever_leads";
    let Some(cluster) = Cluster::start(3) else { return skipped(name) };
    let leader = cluster.wait_for_leader();
    let daemon = OwnDaemon::start(&cluster.node_url((leader + 1) % 3));
    runtime().block_on(async {
        let client = daemon.client().await;
        client.init().await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        assert_eq!(client.get("a").await.unwrap().unwrap().version, 1);
        cluster.kill(leader);
        let killed = Instant::now();
        put_patiently(&client, "a").await;
        eprintln!(
            "through one follower: a put is acknowledged {:?} after the death of the leader",
            killed.elapsed()
        );
        assert_eq!(client.get("a").await.unwrap().unwrap().version, 2);
    });
}

#[test]
fn a_daemon_outlives_all_nodes_and_serves_again_and_a_watch_goes_on() {
    let name = "a_daemon_outlives_all_nodes_and_serves_again_and_a_watch_goes_on";
    let Some(cluster) = Cluster::start(3) else { return skipped(name) };
    let daemon = OwnDaemon::start(cluster.url());
    runtime().block_on(async {
        let client = daemon.client().await;
        client.init().await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        let pid = daemon.pid();
        let seen = daemon.kv.directory.path().join("seen");
        let mut watch = daemon
            .kv
            .command("bash")
            .args(["-c", &format!("exec {} > seen", daemon.command("watch --after 0 --limit 4"))])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = |count| {
            wait_until("a change in the watch", || {
                seqs_of(&std::fs::read_to_string(&seen).unwrap_or_default()).len() == count
            })
        };
        lines(1);
        // Two of three: nobody can lead, though a node is there to ask.
        let leader = cluster.wait_for_leader();
        let others = [(leader + 1) % 3, (leader + 2) % 3];
        others.iter().for_each(|node| cluster.kill(*node));
        wait_until("the end of the leadership", || cluster.leader().is_none());
        let begun = Instant::now();
        let error = client.put(Put::new("never", json("1"))).await.unwrap_err();
        assert!(error.message.contains("no leader"), "the node that is there says more: {error:?}");
        eprintln!("without a majority a put is refused after {:?}: {error}", begun.elapsed());
        assert!(error.code == Code::Unavailable && error.retry && !error.maybe, "{error:?}");
        cluster.kill(leader);
        for _ in 0..3 {
            let begun = Instant::now();
            let read = client.get("a").await.unwrap_err();
            let written = client.put(Put::new("never", json("1"))).await.unwrap_err();
            for error in [read, written] {
                assert!(error.code == Code::Unavailable && error.retry && !error.maybe, "{error:?}");
            }
            // Who is not there need not be waited for.
            assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        }
        assert!(daemon.ok("daemon status").contains("\"pid\""), "the daemon itself answers");
        for node in 0..3 {
            cluster.restart(node);
        }
        cluster.wait_for_leader();
        let elected = Instant::now();
        put_patiently(&client, "b").await;
        eprintln!(
            "all nodes down and back: a put is acknowledged {:?} after the election",
            elected.elapsed()
        );
        assert!(elected.elapsed() < Duration::from_secs(5), "{:?}", elected.elapsed());
        lines(2);
        (0..3).for_each(|node| wait_until_caught_up(&cluster, node));
        cluster.kill(cluster.wait_for_leader());
        put_patiently(&client, "c").await;
        put_patiently(&client, "d").await;
        lines(4);
        assert!(watch.wait().unwrap().success());
        assert_eq!(seqs_of(&std::fs::read_to_string(&seen).unwrap()), [1, 2, 3, 4]);
        let keys = client.list(0, None).await.unwrap();
        assert_eq!(keys.iter().map(|record| record.key.as_str()).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
        assert!(is_alive(pid) && daemon.pid() == pid, "the daemon is the same");
    });
}
