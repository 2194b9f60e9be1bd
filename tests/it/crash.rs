//! kill -9 in the middle of writes.

use crate::support::{Kv, Load, number_from_environment, wait_until};

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
