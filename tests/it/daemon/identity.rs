//! A client never uses a daemon that serves another store than the one that it asked for, and a store that was moved is
//! served at once.

use std::time::{Duration, Instant};

use crate::support::{Kv, wait_until};

/// Runs a shell text that must succeed within a second or two, on a machine that is busy as well.
#[track_caller]
fn at_once(kv: &Kv, text: &str) -> String {
    let begun = Instant::now();
    let printed = kv.ok(text);
    assert!(begun.elapsed() < Duration::from_secs(4), "{text} took {:?}", begun.elapsed());
    printed
}

#[test]
fn a_store_that_was_moved_aside_is_not_mixed_up_with_the_one_that_took_its_place() {
    let kv = Kv::new();
    kv.ok("mkdir p; cd p; kv init; kv put a --text old; cd ..; mv p q");
    kv.ok("mkdir p; cd p; kv init; kv put a --text new");
    assert_eq!(at_once(&kv, "cd q; kv get a"), "\"old\"\n");
    at_once(&kv, "cd q; kv put b --value 1; kv delete a");
    assert_eq!(kv.ok("cd p; kv list --keys-only --output ndjson"), "\"a\"\n");
    assert_eq!(kv.ok("cd q; kv list --keys-only --output ndjson"), "\"b\"\n");
    assert_eq!(kv.ok("cd p; kv get a"), "\"new\"\n");
}

#[test]
fn a_renamed_store_is_served_at_once_by_every_command() {
    for command in [
        "kv get a",
        "kv put b --value 2; kv get b --raw | sed s/2/1/",
        "kv init; kv get a",
        "kv lock run j -- kv get a",
        "kv watch --after 0 --limit 1 | jq .record.value",
        "kv rpc <<< '{\"op\":\"get\",\"key\":\"a\"}' | jq .value",
        "nc -NU $(kv socket) <<< '{\"op\":\"get\",\"key\":\"a\"}' | jq .value",
        "kv --daemon=never get a",
    ] {
        let kv = Kv::new();
        kv.ok("mkdir p; cd p; kv init; kv put a --value 1");
        assert_eq!(at_once(&kv, &format!("mv p q; cd q; {command}")), "1\n", "{command}");
    }
}

/// The follower keeps the old daemon alive, and every command finds the store all the same.
#[test]
fn a_renamed_store_is_served_at_once_although_somebody_follows_it() {
    let kv = Kv::new();
    kv.ok("mkdir p; cd p; kv init; kv put a --value 1");
    let mut follower = kv.command("bash");
    let mut follower = follower.args(["-c", "cd p; exec kv watch --after 0 > ../seen"]).spawn().unwrap();
    wait_until("the first change", || kv.shell("cat seen").stdout.starts_with(b"{"));
    assert_eq!(at_once(&kv, "mv p q; cd q; kv get a"), "1\n");
    at_once(&kv, "cd q; kv put a --value 2; kv daemon stop; kv put a --value 3");
    assert_eq!(at_once(&kv, "mv q p; cd p; kv get a"), "3\n", "moved back");
    let _ = follower.kill();
    follower.wait().unwrap();
}

#[test]
fn stores_that_changed_places_are_told_apart() {
    let kv = Kv::new();
    kv.ok("for i in 1 2; do mkdir $i; (cd $i; kv init; kv put a --value $i); done");
    kv.ok("mv 1 3; mv 2 1; mv 3 2");
    assert_eq!(at_once(&kv, "(cd 1; kv get a); (cd 2; kv get a)"), "2\n1\n");
    at_once(&kv, "(cd 1; kv put a --value 22); (cd 2; kv put a --value 11)");
    kv.ok("(cd 1; kv daemon stop); (cd 2; kv daemon stop)");
    assert_eq!(kv.ok("(cd 1; kv get a); (cd 2; kv get a)"), "22\n11\n");
}

#[test]
fn a_socket_that_was_named_serves_no_other_store_than_the_one_that_was_named() {
    let kv = Kv::new();
    kv.ok("for i in 1 2; do mkdir $i; (cd $i; kv init; kv put a --value $i); done");
    for named in [
        "kv --socket $(cd 1; kv socket) --connection 2/data.db",
        "KV_SOCKET=$(cd 1; kv socket) kv --connection 2/data.db",
        "export KV_CONNECTION=$PWD/2/data.db; kv --socket $(cd 1; unset KV_CONNECTION; kv socket)",
        "S=$(cd 1; kv socket); cd 2; kv --socket $S",
    ] {
        for command in ["get a", "put a --value 9", "watch", "lock run j -- true", "daemon stop", "rpc"] {
            let (code, error) = kv.fails(&format!("{named} {command}"));
            assert_eq!(code, 6, "{named} {command}: {error}");
            assert!(error.contains("/1/data.db") && error.contains("hint: "), "{named} {command}: {error}");
        }
    }
    assert_eq!(kv.ok("(cd 1; kv get a); (cd 2; kv get a)"), "1\n2\n");
    // What was not named is not asked for: the socket then says which store it is.
    assert_eq!(kv.ok("S=$(cd 1; kv socket); mkdir 3; cd 3; kv --socket $S get a"), "1\n");
    assert_eq!(kv.ok("S=$(cd 1; kv socket); cd 1; kv --socket $S get a"), "1\n");
    // But a store that is to be made is meant.
    let (code, _) = kv.fails("S=$(cd 1; kv socket); cd 3; kv --socket $S init");
    assert_eq!(code, 6);
}

/// A command with `mode=ro` never uses a daemon that writes.
#[test]
fn a_socket_of_a_daemon_that_writes_is_refused_for_reading_only() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let (code, error) =
        kv.fails("kv --connection 'file:data.db?mode=ro' --socket $(kv socket) put a --value 2");
    assert_eq!(code, 6, "{error}");
    assert_eq!(kv.ok("kv --connection 'file:data.db?mode=ro' get a"), "1\n");
}

/// The same path leads to another file where another file system is mounted over it, as in a container.
#[test]
fn another_mount_namespace_is_told_apart_or_shares_the_store() {
    let kv = Kv::new();
    kv.ok("mkdir p; cd p; kv init; kv put a --value 1");
    // Another file at the same path: the socket is shared, so one of the commands must fail.
    let elsewhere = "unshare -m bash -c 'mkdir -p other; cp p/data.db other; mount --bind other p; cd p; %'";
    let (code, error) = kv.fails(&elsewhere.replace('%', "kv put a --value 2"));
    assert_eq!(code, 6, "{error}");
    assert!(error.contains("mount namespace") && error.contains("hint: "), "{error}");
    assert_eq!(kv.ok("cd p; kv get a"), "1\n");
    // The same file at another path: one daemon.
    let pid = kv.ok("cd p; kv daemon status | jq .pid");
    let mounted =
        "unshare -m bash -c 'mkdir -p m; mount --bind p m; cd m; kv get a; kv daemon status | jq .pid'";
    assert_eq!(kv.ok(mounted), format!("1\n{pid}"));
    // The same file where the socket of its daemon cannot be seen: a second one serves it, and both see all.
    let container = "unshare -m bash -c 'mount -t tmpfs -o mode=700 none run; cd p; kv get a; kv put b --value 2; \
        kv daemon status | jq .pid; kv daemon stop'";
    let printed = at_once(&kv, container);
    assert!(printed.starts_with("1\n") && !printed.contains(pid.trim()), "{printed}");
    assert_eq!(kv.ok("cd p; kv get b; kv daemon status | jq .pid"), format!("2\n{pid}"));
}

/// At the last logout the directory of the socket vanishes, and at the next login it appears again.
#[test]
fn a_socket_that_was_lost_is_bound_anew_while_somebody_is_attached() {
    for lost in ["rm run/kv/*.sock", "rm -r run/kv", "rm -r run; mkdir -m 700 run", "rm -r run"] {
        let kv = Kv::new();
        kv.ok("kv init");
        let pid = kv.daemon_pid();
        let mut follower = kv.command("bash");
        let mut follower = follower.args(["-c", "exec kv watch --after 0 > seen"]).spawn().unwrap();
        kv.ok("kv put a --value 1");
        wait_until("the first change", || kv.shell("cat seen").stdout.starts_with(b"{"));
        kv.ok(lost);
        at_once(&kv, "kv put b --value 2");
        assert_eq!(at_once(&kv, "kv daemon status | jq .pid"), format!("{pid}\n"), "{lost}");
        assert_eq!(
            at_once(&kv, "nc -NU $(kv socket) <<< '{\"op\":\"get\",\"key\":\"b\"}' | jq .value"),
            "2\n"
        );
        wait_until("the second change", || kv.ok("cat seen | wc -l") == "2\n");
        let _ = follower.kill();
        follower.wait().unwrap();
        at_once(&kv, "kv daemon stop");
        wait_until("the end", || kv.daemons().is_empty());
        assert_eq!(kv.ok("kv list --keys-only --output ndjson"), "\"a\"\n\"b\"\n", "{lost}");
    }
}

/// Scripts find the daemon that commands use, from every environment.
#[test]
fn the_socket_that_is_printed_is_the_one_that_the_commands_use() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; mkdir -m 700 other home");
    let pid = kv.daemon_pid();
    let read = "kv get a; nc -NU $(kv socket) <<< '{\"op\":\"get\",\"key\":\"a\"}' | jq .value; \
        kv rpc <<< '{\"op\":\"status\"}' | jq .pid; kv daemon status | jq .pid";
    for environment in ["XDG_RUNTIME_DIR=$PWD/other", "-u XDG_RUNTIME_DIR", "-i PATH=$PATH HOME=$PWD/home"] {
        let printed = kv.ok(&format!("env {environment} bash -c {}", shell_word(read)));
        assert_eq!(printed, format!("1\n1\n{pid}\n{pid}\n"), "{environment}");
    }
    kv.ok("XDG_RUNTIME_DIR=$PWD/other kv daemon stop");
    assert_eq!(kv.daemons(), [0; 0]);
    // It starts the daemon as every command does, so that what it prints can be connected to.
    let read = "nc -NU $(kv socket) <<< '{\"op\":\"get\",\"key\":\"a\"}' | jq .value";
    assert_eq!(kv.ok(read), "1\n");
    kv.ok("kv daemon stop; kv --daemon=never socket");
    assert_eq!(kv.daemons(), [0; 0]);
}

fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
