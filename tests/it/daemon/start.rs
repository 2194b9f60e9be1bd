//! A daemon starts on demand, exactly once.

use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use crate::support::{Kv, number_from_environment, wait_until};

/// What a start may find: nothing, what a dead daemon left behind, what never was one, or no directory.
fn leave_behind(kv: &Kv, round: u32) {
    let socket = kv.ok("kv socket").trim().to_owned();
    match round % 5 {
        0 => drop(kv.ok("kv daemon stop")),
        1 => kv.kill_daemon(kv.daemon_pid()),
        2 => {
            kv.ok("kv daemon stop");
            drop(UnixListener::bind(&socket).unwrap());
        }
        3 => {
            kv.ok("kv daemon stop");
            for lock in ["start-lock", "life-lock"] {
                std::fs::write(format!("{socket}.{lock}"), "4194304\n").unwrap();
            }
            std::fs::write(kv.directory.path().join("data.db.kv-lock"), &socket).unwrap();
        }
        _ => drop(kv.ok("kv daemon stop; rm -r run/kv")),
    }
}

/// `COLD_ROUNDS=200` is the long form.
#[test]
fn fifty_commands_at_once_start_one_daemon_and_all_get_answers() {
    let kv = Kv::new();
    kv.ok("kv init && kv put a --value 7");
    for round in 0..number_from_environment("COLD_ROUNDS", 20) {
        leave_behind(&kv, round);
        kv.ok("mkdir -p -m 700 run/kv; rm -f run/kv/*.log");
        let answers = kv.ok("for i in $(seq 50); do kv get a & done; wait");
        assert_eq!(answers, "7\n".repeat(50), "round {round}");
        assert_eq!(kv.daemons(), [kv.daemon_pid()], "round {round}");
        assert_eq!(kv.ok("grep -c 'the daemon listens' run/kv/*.log"), "1\n", "round {round}");
    }
}

/// A login has a runtime directory, `ssh host command` may have none, cron and services have not even the home.
#[test]
fn no_mix_of_environments_makes_two_daemons_for_one_store() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 7; mkdir -m 700 other home");
    for round in 0..5 {
        kv.ok("kv daemon stop");
        let answers = kv.ok("for i in $(seq 8); do \
                 kv get a & \
                 XDG_RUNTIME_DIR=$PWD/other kv get a & \
                 env -u XDG_RUNTIME_DIR kv get a & \
                 env -i PATH=$PATH HOME=$PWD/home kv get a & \
                 (cd run; kv --connection ../data.db get a) & \
             done; wait");
        assert_eq!(answers, "7\n".repeat(40), "round {round}");
        let pid = kv.daemon_pid();
        for environment in
            ["XDG_RUNTIME_DIR=$PWD/other", "-u XDG_RUNTIME_DIR", "-i PATH=$PATH HOME=$PWD/home"]
        {
            let status = kv.ok(&format!("env {environment} kv daemon status | jq .pid"));
            assert_eq!(status.trim(), pid.to_string(), "{environment}");
        }
        wait_until("the end of those that came too late", || kv.daemons() == [pid]);
    }
}

#[test]
fn a_directory_that_vanishes_takes_nothing_with_it() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    kv.ok("rm -r run/kv");
    assert_eq!(kv.ok("kv put a --value 2; kv get a"), "2\n");
    assert_ne!(kv.daemon_pid(), pid);
    wait_until("the end of the daemon that nobody can reach", || !kv.daemons().contains(&pid));
    assert_eq!(kv.ok("kv get a"), "2\n", "the old daemon took the new one's socket along");
}

#[test]
fn the_daemon_keeps_nothing_of_its_caller() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop");
    let begun = Instant::now();
    assert_eq!(kv.ok("out=$(kv get a); echo $out"), "1\n");
    kv.ok("kv daemon stop; exec 9>lock; flock 9; kv get a");
    // The descriptor of the shell that ended is free although the daemon lives.
    kv.ok("flock -n lock true");
    assert!(begun.elapsed() < Duration::from_secs(5));
    let pid = kv.daemon_pid();
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
    let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(String::from_utf8_lossy(&arguments).ends_with("daemon\0run\0--spawned\0--launched\0"));
}

#[test]
fn after_kill_9_the_next_command_works() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    kv.ok(&format!("kill -9 {pid}"));
    assert_eq!(kv.ok("kv get a"), "1\n");
    assert_ne!(kv.daemon_pid(), pid);
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let kv = Kv::new();
    for (text, exit_code, words) in [
        ("mkdir -m 755 run/kv; kv init", 6, "chmod 700"),
        ("rm -r run/kv; touch run/kv; kv init", 6, "not a directory"),
        ("rm -r run/kv; chmod 755 run; mkdir -m 755 -p .local/state/kv; kv init", 6, "chmod 700"),
        ("chmod 700 run; kv --socket /nowhere/kv.sock init", 6, "mkdir"),
        ("touch file; kv --socket file init", 6, "not a socket"),
        ("kv --connection 'file:data.db?mode=rwx' init", 2, "mode"),
        ("kv --connection /nowhere/data.db init", 6, "/nowhere"),
        ("kv --daemon=require init", 6, "kv daemon start"),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(code == exit_code && stderr.contains(words), "{text}: {code} {stderr}");
    }
    let (code, stderr) = kv.fails(&format!("kv --socket /tmp/{} init", "x".repeat(200)));
    assert!(code == 6 && stderr.contains("has 205 bytes") && stderr.contains("--socket"), "{code} {stderr}");
}

#[test]
fn a_restart_is_another_process_with_the_same_store_and_its_log_can_be_read() {
    let kv = Kv::new();
    assert_eq!(kv.ok("kv daemon logs"), "", "there is none yet");
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    kv.ok("kv daemon restart");
    let next = kv.daemon_pid();
    assert_ne!(next, pid);
    assert_eq!(kv.daemons(), [next]);
    assert_eq!(kv.ok("kv get a"), "1\n");
    let listens = |text: &str| kv.ok(text).matches("the daemon listens").count();
    assert_eq!(listens("kv daemon logs"), 2);
    kv.ok("kv daemon restart; mkdir -m 700 other");
    assert_eq!(
        listens("XDG_RUNTIME_DIR=$PWD/other kv daemon logs"),
        3,
        "the log of the daemon that there is"
    );
    assert_eq!(listens("kv daemon logs -n 1"), 1);
    assert_eq!(listens("timeout 10 kv daemon logs --follow | head -2"), 1, "it ends with its reader");
    assert_eq!(kv.ok("kv daemon logs -n 0"), "");
}

#[test]
fn a_daemon_in_the_foreground_is_not_restarted_by_a_command() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let mut daemon = kv.command("kv").args(["daemon", "run"]).spawn().unwrap();
    wait_until("the daemon", || kv.shell("kv --daemon=require stream seq").status.success());
    let (code, stderr) = kv.fails("kv daemon restart");
    assert!(code == 1 && stderr.contains("kv daemon stop"), "{code} {stderr}");
    assert_eq!(kv.daemon_pid(), daemon.id());
    kv.ok("kv daemon stop");
    assert!(daemon.wait().unwrap().success());
}
