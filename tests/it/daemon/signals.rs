//! What signals do to daemons: those that a command started, and those in the foreground.

use std::os::unix::process::ExitStatusExt as _;
use std::process::Child;
use std::time::{Duration, Instant};

use crate::support::{Kv, is_alive, wait_until};

/// `kv daemon run` behind what a shell says, once it serves.
fn foreground(kv: &Kv, before: &str) -> Child {
    let child =
        kv.command("bash").args(["-c", &format!("exec {before} kv daemon run 2> said")]).spawn().unwrap();
    wait_until("the daemon", || kv.shell("kv --daemon=require stream seq").status.success());
    child
}

#[test]
fn a_daemon_that_is_asked_to_end_by_any_signal_answers_and_ends_within_a_second() {
    for signal in ["TERM", "INT", "QUIT"] {
        let kv = Kv::new();
        kv.ok("kv init; kv put a --value 1");
        let pid = kv.daemon_pid();
        let begun = Instant::now();
        kv.ok(&format!("kill -{signal} {pid}"));
        wait_until("the end", || !is_alive(pid));
        assert!(begun.elapsed() < Duration::from_secs(1), "{signal}");
        assert!(!kv.directory.path().join("data.db-wal").exists(), "{signal}: the log was written back");
        assert!(kv.ok("kv daemon logs").contains(&format!("reason=\"signal {signal}\"")), "{signal}");

        let mut daemon = foreground(&kv, "");
        kv.ok(&format!("kill -{signal} {}", daemon.id()));
        assert_eq!(daemon.wait().unwrap().code(), Some(0), "{signal}");
        assert!(!kv.directory.path().join("data.db-wal").exists(), "{signal}: the log was written back");
    }
}

/// Closing the terminal of a daemon ends it, unless it was started to survive that.
#[test]
fn a_hangup_ends_a_daemon_in_the_foreground_and_none_that_a_command_started() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    for _ in 0..3 {
        kv.ok(&format!("kill -HUP {pid}; kv put a --value 1"));
    }
    assert_eq!(kv.daemons(), [pid]);
    kv.ok("kv daemon stop");

    let mut daemon = foreground(&kv, "");
    kv.ok(&format!("kill -HUP {}", daemon.id()));
    let ended = daemon.wait().unwrap();
    assert_eq!((ended.code(), ended.signal()), (Some(0), None));
    assert!(!kv.directory.path().join("data.db-wal").exists(), "the log was written back");

    for before in ["nohup", "env --ignore-signal=HUP"] {
        let mut daemon = foreground(&kv, before);
        kv.ok(&format!("kill -HUP {}; kv put a --value 2", daemon.id()));
        assert_eq!(kv.daemon_pid(), daemon.id(), "{before}");
        kv.ok("kv daemon stop");
        assert!(daemon.wait().unwrap().success());
    }
}

/// Where the hard limit is low, the daemon ends in order before the system ends it.
#[test]
fn a_daemon_whose_processor_time_is_used_up_ends_in_order_and_the_next_one_goes_on() {
    let kv = Kv::new();
    kv.ok("kv init; kv daemon stop; (ulimit -t 2; kv daemon start)");
    let pid = kv.daemon_pid();
    while is_alive(pid) {
        kv.ok("kv benchmark get 5000 20");
    }
    let log = kv.ok("kv daemon logs");
    assert!(log.contains("signal XCPU"), "{log}");
    kv.ok("kv put a --value 1");
}
