//! The log of a daemon tells its life, holds nothing that was stored, and is bounded.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use kv::limits;

use crate::support::{Kv, is_alive, wait_until};

#[test]
fn the_log_tells_the_life_of_a_daemon_and_no_secret() {
    let kv = Kv::new();
    kv.ok("kv init; echo '\"a secret\"' | kv put a; kv put b --text 'a secret'; kv get a");
    let pid = kv.daemon_pid();
    let log = kv.ok("kv daemon logs");
    let database = kv.directory.path().join("data.db");
    for words in [
        "started by=\"kv, process ".to_owned(),
        format!("the daemon listens pid={pid} version=\"{}\" schema=", env!("CARGO_PKG_VERSION")),
        format!("store=file:{}", database.display()),
        format!("socket={}", kv.ok("kv socket").trim()),
    ] {
        assert!(log.contains(&words), "{words}: {log}");
    }
    let ends = [
        ("kv daemon stop".to_owned(), "a client asked for it"),
        (format!("kill -TERM $({PID})"), "signal TERM"),
        ("kv daemon stop; kv --idle-timeout 1 get a".to_owned(), "no client was connected for long"),
    ];
    for (text, reason) in ends {
        kv.ok("kv get a");
        let before = kv.daemon_pid();
        kv.ok(&text);
        wait_until(reason, || !is_alive(before) && kv.daemons().is_empty());
        let log = kv.ok("kv daemon logs -n 2");
        assert!(log.contains(&format!("the daemon ends reason=\"{reason}\"")), "{text}: {log}");
        assert!(log.contains("the daemon has ended pid="), "{text}: {log}");
    }
    // A file that is put in its place.
    kv.ok("kv get a; cp data.db copy.db; mv copy.db data.db; kv get a");
    assert!(kv.ok("kv daemon logs").contains("was replaced"));
    assert!(!kv.ok("kv daemon logs").contains("secret"));
}

const PID: &str = "kv daemon status | jq .pid";

/// What fails beneath the store is found in the log, however often it happened.
#[test]
fn errors_of_the_store_are_logged_once_in_a_while() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv daemon stop; (ulimit -f 200; kv daemon start)");
    let (_, stderr) = kv.fails(
        "big=$(head -c 100000 /dev/zero | tr '\\0' x); for i in 1 2 3 4 5 6 7 8; do kv put big/$i --text $big; done",
    );
    let pid = kv.daemon_pid();
    for words in
        [&format!("the daemon, process {pid}, has a limit of 204800 (ulimit -f)"), "kv daemon restart"]
    {
        assert!(stderr.contains(words), "{stderr}");
    }
    let log = kv.ok("kv daemon logs");
    assert_eq!(log.matches("a request failed code=store_full").count(), 1, "{log}");
    // What the message says to do helps.
    kv.ok("kv daemon restart; kv put big/9 --text \"$(head -c 100000 /dev/zero | tr '\\0' x)\"");
}

#[test]
fn the_log_is_bounded_while_the_daemon_runs_and_both_parts_are_shown_in_order() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let log = format!("{}.log", kv.ok("kv socket").trim());
    let old = format!("{log}.old");
    let bytes = |path: &str| std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    for round in 0..3 {
        // As if that had been logged until now. One more line is logged for a file that is replaced.
        let full = limits::LOG_BYTES;
        kv.ok(&format!("(echo 0 round {round}; head -c {full} /dev/zero | tr '\\0' x; echo) >> {log}"));
        kv.ok("kv get a || true; cp data.db copy.db; mv copy.db data.db; kv get a || true");
        wait_until("the next part", || bytes(&log) < 10_000);
        assert!(bytes(&old) > full && bytes(&old) < full + 10_000);
        assert!(kv.ok(&format!("cat {old}")).contains(&format!("round {round}\n")));
    }
    assert_eq!(kv.daemon_pid(), pid);
    for path in [&log, &old] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
    }
    kv.ok("kv daemon stop");
    let shown = kv.ok("kv daemon logs");
    assert_eq!(shown, kv.ok(&format!("cat {old} {log}")));
}

/// As logrotate does: the file is moved away, and the daemon gets a signal, or notices it.
#[test]
fn a_log_that_was_moved_away_is_begun_anew_and_followed() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let log = format!("{}.log", kv.ok("kv socket").trim());
    let seen = kv.directory.path().join("seen");
    let mut follower = kv.command("kv");
    follower.args(["daemon", "logs", "--follow"]).stdout(Stdio::from(std::fs::File::create(&seen).unwrap()));
    let mut follower = follower.spawn().unwrap();
    let seen = || std::fs::read_to_string(&seen).unwrap();
    wait_until("the first lines", || seen().contains("the daemon listens"));
    kv.ok(&format!("mv {log} rotated; kill -HUP {pid}"));
    wait_until("the new log", || std::fs::exists(&log).unwrap());
    // Without a word it finds out too.
    kv.ok(&format!("rm {log}"));
    wait_until("the next log", || std::fs::exists(&log).unwrap());
    kv.ok("kv daemon stop");
    wait_until("the last line", || seen().contains("the daemon has ended"));
    assert!(std::fs::read_to_string(&log).unwrap().contains("the daemon ends"));
    kv.ok("kv get a || true");
    wait_until("the next daemon", || seen().matches("the daemon listens").count() == 2);
    follower.kill().unwrap();
    follower.wait().unwrap();
    assert_eq!(seen().matches("started by").count(), 2, "nothing comes twice");
}

/// A commit that takes long is the first thing to look for when everything is slow.
#[test]
fn slow_commits_are_logged() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    let mut trace = kv
        .command("strace")
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=fdatasync,fsync",
            "-e",
            "inject=fdatasync,fsync:delay_exit=1200000",
            "-o",
            "trace",
        ])
        .args(["-p", &pid.to_string()])
        .spawn()
        .unwrap();
    wait_until("strace", || kv.ok(&format!("grep TracerPid /proc/{pid}/status")).trim() != "TracerPid:\t0");
    kv.ok("kv put a --value 2");
    trace.kill().unwrap();
    trace.wait().unwrap();
    let log = kv.ok("kv daemon logs");
    assert!(log.contains("a commit was slow") && log.contains("writes=1"), "{log}");
}
