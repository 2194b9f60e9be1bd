//! What `kv daemon status` tells of the nodes.

use serde_json::Value;

use crate::support::own_daemon::OwnDaemon;
use crate::support::rqlite::{Cluster, Database};
use crate::support::scripted_http::{ScriptedHttp, Step};
use crate::support::skipped;

use super::front::rqlite;

fn status(daemon: &OwnDaemon) -> Value {
    serde_json::from_str(&daemon.ok("daemon status")).unwrap()
}

#[test]
fn it_names_the_nodes_the_leader_and_what_each_has_carried_out() {
    let Some(cluster) = Cluster::start(3) else {
        return skipped("it_names_the_nodes_the_leader_and_what_each_has_carried_out");
    };
    let leader = cluster.wait_for_leader();
    let daemon = OwnDaemon::start(cluster.url());
    daemon.ok("init");
    daemon.ok("put a --value 1");
    let told = status(&daemon);
    let nodes = told["servers"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for (index, node) in nodes.iter().enumerate() {
        let is_leader = node["address"] == cluster.node_url(leader);
        assert_eq!(node["leader"], is_leader, "{node}");
        assert_eq!(node["reachable"], true);
        assert!(
            node["version"].is_string() && node["applied_index"].as_u64().unwrap() > 0,
            "{index}: {node}"
        );
    }
    assert_eq!(told.get("warnings"), None, "the clocks are the same one");

    let follower = (leader + 1) % 3;
    cluster.kill(follower);
    let told = status(&daemon);
    let is_dead = |node: &&Value| node["address"] == cluster.node_url(follower) || node["reachable"] == false;
    let dead: Vec<&Value> = told["servers"].as_array().unwrap().iter().filter(is_dead).collect();
    assert_eq!(dead.len(), 1, "{told}");
    assert!(dead[0]["error"].is_string() && dead[0].get("applied_index").is_none(), "{told}");

    cluster.kill(leader);
    cluster.kill((leader + 2) % 3);
    let told = status(&daemon);
    assert_eq!(told["warnings"].as_array().unwrap().len(), 1, "{told}");
    assert!(told["pid"].is_number(), "the daemon tells of itself all the same");
}

#[test]
fn it_warns_of_a_clock_that_differs() {
    let Some(node) = Database::lease() else { return skipped("it_warns_of_a_clock_that_differs") };
    let wrong_by_ms = std::sync::Arc::new(std::sync::atomic::AtomicI64::new(0));
    let http = ScriptedHttp::in_front_of(node.node().address(), {
        let wrong_by_ms = std::sync::Arc::clone(&wrong_by_ms);
        move |request| {
            let by_ms = wrong_by_ms.load(std::sync::atomic::Ordering::SeqCst);
            let asks_for_the_time =
                request.body.starts_with(br#"[["select cast(unixepoch('subsec') * 1000 as integer)"]]"#);
            if by_ms == 0 || !asks_for_the_time {
                return Step::Forward;
            }
            let now_ms = jiff::Timestamp::now().as_millisecond() + by_ms;
            Step::Answer(rqlite(&serde_json::json!({"results": [{"values": [[now_ms]]}]}).to_string()))
        }
    });
    let daemon = OwnDaemon::start(&format!("http://{}", http.address()));
    daemon.ok("init");
    for (by_ms, words) in [(0, None), (60_000, Some("ahead of")), (-60_000, Some("behind"))] {
        wrong_by_ms.store(by_ms, std::sync::atomic::Ordering::SeqCst);
        let told = status(&daemon);
        let warning = told["warnings"][0].as_str();
        assert_eq!(warning.is_some(), words.is_some(), "{told}");
        assert!(words.is_none_or(|words| warning.unwrap().contains(words)), "{told}");
    }
}
