//! Stores on real rqlite nodes, and what may happen to them: leaders that are killed or stand still, nodes that are down,
//! answers that are lost, cut or wrong, networks that are slow.

#![allow(clippy::print_stderr, reason = "the tests report their figures")]

mod answers;
mod down;
mod front;
mod idle;
mod kills;
mod reads;
mod slow;
mod status;
mod stopped;
mod two_daemons;

use kv::store::{Address, EngineKind};

use crate::support::own_daemon::OwnDaemon;
use crate::support::rqlite::Cluster;
use crate::support::wait_until;

fn address(url: &str) -> Address {
    Address::parse(EngineKind::Rqlite, url).unwrap()
}

/// Waits until a node that was down has what the others were told meanwhile, so that it can do without one of them.
#[track_caller]
fn wait_until_caught_up(cluster: &Cluster, node: usize) {
    let ready = || cluster.node(node).request("GET", "/readyz?sync", "");
    wait_until("the return of a node", || ready().is_ok_and(|answer| answer.status == 200));
}
