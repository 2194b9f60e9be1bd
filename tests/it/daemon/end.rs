//! The end of a daemon cuts no request and loses no acknowledged write.

use std::time::{Duration, Instant};

use crate::support::{Kv, Load, is_alive, wait_until};

#[test]
fn sigterm_ends_the_daemon_within_a_second_and_stop_waits_for_its_death() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    kv.ok(&format!("kill -TERM {pid}"));
    let begun = Instant::now();
    wait_until("the end", || !is_alive(pid));
    assert!(begun.elapsed() < Duration::from_secs(1));
    kv.ok("kv get prefix x");
    let pid = kv.daemon_pid();
    kv.ok("kv daemon stop");
    assert!(!is_alive(pid));
    assert!(!kv.directory.path().join("data.db-wal").exists(), "the log was written back");
}

#[test]
fn sigterm_under_load_loses_no_acknowledged_write() {
    for _ in 0..5 {
        let kv = Kv::new();
        kv.ok("kv init");
        let pid = kv.daemon_pid();
        let load = Load::start(&kv);
        wait_until("some puts", || load.acknowledged() >= 500);
        kv.ok(&format!("kill -TERM {pid}"));
        let begun = Instant::now();
        wait_until("the end", || !is_alive(pid));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        load.check(&kv);
    }
}

/// Commands that a daemon ends under go on with the next one.
#[test]
fn commands_outlive_daemons_that_end() {
    let kv = Kv::new();
    kv.ok("kv init");
    let printed = kv.ok(
        "for client in 1 2 3 4; do \
             (for number in $(seq 50); do kv put $client/$number --value 1 --once $client/$number 2>> said || exit 1; done) & \
             clients=\"$clients $!\"; \
         done; \
         for i in $(seq 10); do sleep 0.05; kv daemon stop; done; \
         for client in $clients; do wait $client || echo failed; done; \
         cat said; kv count all",
    );
    assert_eq!(printed, "200\n");
}

/// An idle daemon ends, and a client that comes at that moment is served by it or by the next one.
#[test]
fn an_idle_daemon_ends_and_cuts_no_request() {
    let kv = Kv::new();
    kv.ok("kv init; kv daemon stop; kv --idle-timeout 1 put a --value 1");
    let pid = kv.daemon_pid();
    // A connection that does nothing keeps it alive.
    let held = std::os::unix::net::UnixStream::connect(kv.ok("kv socket").trim()).unwrap();
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(is_alive(pid));
    drop(held);
    wait_until("the end", || !is_alive(pid));
    let printed = kv.ok("for client in 1 2 3 4 5 6 7 8; do \
             (for number in 1 2 3; do \
                  sleep 1.$((client * 7 + 20)); kv --idle-timeout 1 --daemon=auto get a || echo failed; \
              done) & \
         done; wait");
    assert_eq!(printed, "1\n".repeat(24));
}

/// A typing error leaves no daemon behind.
#[test]
fn a_daemon_without_a_store_ends_soon_after_its_last_client() {
    let kv = Kv::new();
    kv.ok("mkdir -m 700 made");
    for connection in ["data.db", "typo.db"] {
        let (code, stderr) = kv.fails(&format!("kv --connection {connection} get a"));
        assert!(code == 6 && stderr.contains("not_initialized"), "{code} {stderr}");
    }
    kv.fails("kv --connection made/data.db get a");
    let held = std::os::unix::net::UnixStream::connect(kv.ok("kv socket").trim()).unwrap();
    assert_eq!(kv.daemons().len(), 3);
    let connected = kv.daemon_pid();
    // A store that is made in time, by whomever, is served on.
    kv.ok("kv --daemon=never --connection made/data.db init");
    let serving = kv.ok("kv --connection made/data.db daemon status | jq .pid").trim().parse().unwrap();
    let mut expected = [connected, serving];
    expected.sort_unstable();
    wait_until("the end of the third", || {
        let mut daemons = kv.daemons();
        daemons.sort_unstable();
        daemons == expected
    });
    drop(held);
    wait_until("the end of the one that had a client", || kv.daemons() == [serving]);
    assert!(kv.ok("kv daemon logs").contains("there is no store that it can serve"));
    kv.ok("kv --connection made/data.db daemon stop");
}
