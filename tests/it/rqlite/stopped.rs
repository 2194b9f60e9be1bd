//! The leader stands still, as on a computer that sleeps: it accepts connections and answers nothing, and goes on with what
//! it was asked long ago.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use kv::limits;
use kv::store::{Put, Store};

use super::{OwnDaemon, address, wait_until_caught_up};
use crate::support::rqlite::{Cluster, Database};
use crate::support::slow_link::SlowLink;
use crate::support::under_load::under_load;
use crate::support::{is_alive, json, runtime, skipped, wait_until};

/// Those who have asked the leader wait for it so long, and then for one answer of another node.
const BACK_WITHIN: Duration = limits::RQLITE_ANSWER_TIMEOUT.checked_add(Duration::from_secs(3)).unwrap();

/// What the requests are called that were on their way when it was stopped is known from the load: each key is put once.
#[test]
fn a_leader_that_is_stopped_and_goes_on_applies_nothing_twice() {
    let name = "a_leader_that_is_stopped_and_goes_on_applies_nothing_twice";
    let Some(cluster) = Cluster::start(3) else { return skipped(name) };
    let daemons = [OwnDaemon::start(cluster.url()), OwnDaemon::start(cluster.url())];
    under_load(&daemons, &address(cluster.url()), |daemons, acknowledged| {
        for _ in 0..2 {
            let before = acknowledged.load(Ordering::SeqCst);
            wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= before + 50);
            let leader = cluster.wait_for_leader();
            cluster.stop(leader);
            let stopped = Instant::now();
            assert_ne!(cluster.wait_for_leader(), leader);
            let elected = stopped.elapsed();
            for daemon in daemons {
                runtime().block_on(async {
                    let client = daemon.client().await;
                    while let Err(error) = client.put(Put::new("back", json("1"))).await {
                        assert!(error.retry && stopped.elapsed() < BACK_WITHIN, "{error:?}");
                    }
                });
            }
            let back = stopped.elapsed();
            eprintln!(
                "after the stop of the leader: the next one {elected:?}, all daemons serve again {back:?}"
            );
            assert!(back < BACK_WITHIN, "{back:?}");
            // Everything that it was asked for has been given up by then.
            std::thread::sleep((limits::RQLITE_ANSWER_TIMEOUT * 5 / 4).saturating_sub(stopped.elapsed()));
            let before = acknowledged.load(Ordering::SeqCst);
            cluster.go_on(leader);
            wait_until_caught_up(&cluster, leader);
            wait_until("some puts", || acknowledged.load(Ordering::SeqCst) >= before + 50);
        }
    });
}

#[test]
fn a_daemon_ends_in_time_while_its_node_does_not_answer() {
    let name = "a_daemon_ends_in_time_while_its_node_does_not_answer";
    let Some(node) = Database::lease() else { return skipped(name) };
    let link = SlowLink::to(node.node().address(), Duration::ZERO);
    let daemon = OwnDaemon::start(&format!("http://{}", link.address()));
    runtime().block_on(async {
        let client = daemon.client().await;
        client.init().await.unwrap();
        client.put(Put::new("a", json("1"))).await.unwrap();
        let pid = daemon.pid();
        link.stall();
        let writing = client.put(Put::new("a", json("2")));
        let ending = async {
            // It was sent at the first poll.
            tokio::task::yield_now().await;
            daemon.signal("TERM");
            let begun = Instant::now();
            wait_until("the end", || !is_alive(pid));
            begun.elapsed()
        };
        let (told, elapsed) = tokio::join!(writing, ending);
        let error = told.unwrap_err();
        assert!(error.maybe, "{error:?}");
        eprintln!("the daemon ended after {elapsed:?}");
        let bound = limits::DRAIN_TIMEOUT + limits::CLOSE_TIMEOUT + Duration::from_secs(1);
        assert!(elapsed < bound, "{elapsed:?}");
    });
}
