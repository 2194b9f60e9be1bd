//! kill -9 in the middle of writes.

use kv::Client;
use kv::store::{Code, Mutation, Put, Request, Store as _, Write};

use crate::support::{Kv, Load, json, number_from_environment, runtime, wait_until};

/// Eight clients put; the daemon is killed in the middle. Every acknowledged put is there, and the stream is dense.
/// `KILL_ROUNDS=200` is the long form.
#[test]
fn every_acknowledged_put_survives_kill_9() {
    for round in 0..number_from_environment("KILL_ROUNDS", 5) {
        let kv = Kv::new();
        kv.ok("kv init");
        let pid = kv.daemon_pid();
        let load = Load::start(&kv);
        wait_until("some puts", || load.acknowledged() >= 100 * (round as usize % 5));
        kv.ok(&format!("kill -9 {pid}"));
        load.check(&kv);
        assert_ne!(kv.daemon_pid(), pid);
    }
}

/// The call may be sent again; when no daemon takes it, the outcome at the first daemon stays unknown.
#[test]
fn a_write_with_an_id_whose_daemon_dies_and_is_not_followed_is_unknown() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let socket = kv.ok("kv socket").trim().to_owned();
    runtime().block_on(async {
        let store = Client::connect(socket.as_ref()).await.unwrap();
        kv.ok(&format!("kill -STOP {pid}"));
        let write = Write { once: Some("o".to_owned()), ..Mutation::Put(Put::new("a", json("1"))).into() };
        let told = store.call(Request::Write(write));
        let killed = async {
            // It was sent at the first poll.
            tokio::task::yield_now().await;
            kv.ok(&format!("kill -9 {pid}"));
        };
        let (told, ()) = tokio::join!(told, killed);
        let error = told.unwrap_err();
        assert!(error.maybe && error.code == Code::Unavailable, "{error:?}");
    });
}
