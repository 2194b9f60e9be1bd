//! The clients of examples/clients, each by the runtime of its language: one test drives all, because they have the same commands.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{Kv, skipped, wait_until};

/// The directory of the clients.
fn directory() -> String {
    format!("{}/examples/clients", env!("CARGO_MANIFEST_DIR"))
}

/// A process that is killed at the end of its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a client, unless a runtime that it needs is missing. `runtimes` are commands that succeed where they are there.
fn drive(name: &str, runtimes: &[&str], client: &str) {
    let kv = Kv::new();
    if !runtimes.iter().all(|runtime| kv.shell(&format!("{runtime} >/dev/null 2>&1")).status.success()) {
        return skipped(&format!("the client {name}"));
    }
    kv.ok("kv init");
    let client = client.replace("CLIENTS", &directory());
    values_come_back(&kv, &client);
    increments_are_not_lost(&kv, &client);
    follows_from_daemon_to_daemon(&kv, &client);
}

fn values_come_back(kv: &Kv, client: &str) {
    let value = r#"{"name":"Grüße, 日本 😀","list":[1,2.5,null,true,"a\"b\\n"]}"#;
    assert_eq!(kv.ok(&format!("{client} put 'ключ/1' '{value}'")), "1\n");
    let got = kv.ok(&format!("{client} get 'ключ/1'"));
    let parsed = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(parsed(&got), parsed(value), "{got}");
    assert_eq!(parsed(&kv.ok("kv get 'ключ/1' --raw")), parsed(value));
    let (_, told) = kv.fails(&format!("{client} get nobody"));
    assert!(told.contains("(not_found)"), "{told}");
}

/// Four processes increment one number ten times each.
fn increments_are_not_lost(kv: &Kv, client: &str) {
    let ten = format!("for time in 1 2 3 4 5 6 7 8 9 10; do {client} increment counter || exit; done");
    kv.ok(&format!(
        "for process in 1 2 3 4; do ({ten}) >>counted & done; wait; test $(sort -u counted | wc -l) = 40"
    ));
    assert_eq!(kv.ok("kv get counter --raw"), "40\n");
}

/// The daemon is killed once and stopped once while the client follows.
fn follows_from_daemon_to_daemon(kv: &Kv, client: &str) {
    let expected =
        || kv.ok("kv stream get --prefix jobs/ | jq -r '.[] | \"\\(.seq) \\(.action) \\(.record.key)\"'");
    let seen = || std::fs::read_to_string(kv.directory.path().join("seen")).unwrap_or_default();
    let put = "for number in 1 2 3 4 5; do kv put jobs/$number --value $number; kv put other --value 1; done";
    kv.ok(put);
    let mut command = kv.command("bash");
    command.args(["-c", &format!("exec {client} follow jobs/ 0 >seen")]).stderr(Stdio::inherit());
    let _follower = Killed(command.spawn().unwrap());
    for end_daemon in ["", "kv daemon status | jq .pid | xargs kill -9", "kv daemon stop"] {
        kv.shell(end_daemon);
        kv.ok(put);
        let expected = expected();
        wait_until("the end of what is followed", || seen().lines().count() >= expected.lines().count());
        assert_eq!(seen(), expected, "after: {end_daemon}");
    }
}

#[test]
fn python() {
    drive("in Python", &["python3 --version"], "python3 CLIENTS/kv.py");
}

#[test]
fn node() {
    drive("in Node", &["node --version"], "node CLIENTS/kv.mjs");
}

#[test]
fn perl() {
    drive("in Perl", &["perl -MJSON::PP -e 1"], "perl CLIENTS/kv.pl");
}

#[test]
fn shell() {
    drive("in the shell", &["nc -h", "jq --version"], "bash CLIENTS/kv.sh");
}

#[test]
fn go() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).display().to_string();
    let built = format!("{place}/kv-client-{}", std::process::id());
    let build = format!(
        "GOCACHE={place}/go-cache GOFLAGS=-mod=mod GOTOOLCHAIN=local go build -o {built} {}/kv.go",
        directory()
    );
    let kv = Kv::new();
    if !kv.shell("go version").status.success() {
        return skipped("the client in Go");
    }
    kv.ok(&build);
    drive("in Go", &[], &built);
    std::fs::remove_file(built).unwrap();
}

/// Each is small enough to be read at once.
#[test]
fn each_has_less_than_80_lines() {
    for entry in std::fs::read_dir(directory()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count();
        assert!(lines < 80, "{} has {lines} lines", path.display());
    }
}
