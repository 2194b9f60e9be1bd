//! `kv doctor`: what it finds, and what it leaves alone.

use kv::store::EngineKind;
use serde_json::Value;

use crate::support::{Kv, Site, skipped};

/// The exit code, and the findings as `verdict about: message`.
fn findings(kv: &Kv, before: &str, options: &str) -> (i32, Vec<String>) {
    let output = kv.shell(&format!("{before} kv {options} doctor --output json"));
    let found: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let line = |finding: &Value| {
        let text = |field: &str| finding[field].as_str().unwrap().to_owned();
        assert!(finding["verdict"] == "ok" || finding["hint"].is_string(), "there is no hint: {finding}");
        format!("{} {}: {}", text("verdict"), text("about"), text("message"))
    };
    (output.status.code().unwrap(), found.iter().map(line).collect())
}

/// Asserts that there is such a finding, and whether it makes the command fail.
#[track_caller]
fn assert_found(kv: &Kv, before: &str, options: &str, start: &str, words: &str) {
    let (code, found) = findings(kv, before, options);
    let is_there = found.iter().any(|line| line.starts_with(start) && line.contains(words));
    assert!(is_there, "{start} … {words} is not among {found:#?}");
    assert_eq!(code, i32::from(found.iter().any(|line| line.starts_with("problem "))), "{found:#?}");
}

#[test]
fn nothing_is_wrong_with_a_sound_store_on_any_engine() {
    for &engine in EngineKind::ALL {
        let Some(site) = Site::on(engine) else {
            skipped("nothing_is_wrong_with_a_sound_store_on_any_engine");
            continue;
        };
        let connection = site.address.connection();
        let kv = Kv::with(&[("KV_TYPE", engine.as_str()), ("KV_CONNECTION", &connection)]);
        kv.ok("kv --daemon=never init; kv --daemon=never put a --value 1");
        let (code, found) = findings(&kv, "", "");
        assert_eq!(code, 0, "{found:#?}");
        assert!(found.iter().any(|line| line.contains("it answers in this process")), "{found:#?}");
        assert!(kv.daemons().is_empty(), "it has started a daemon");
        kv.ok("kv get a");
        let (code, found) = findings(&kv, "", "");
        assert!(found.iter().any(|line| line.contains("it answers through the daemon")), "{found:#?}");
        // The test's own server need not be safe, and other tests have daemons too.
        let is_of_others =
            |line: &str| line.contains(" is off on the server") || line.starts_with("warning daemons: ");
        let warnings = found.iter().filter(|line| !line.starts_with("ok ") && !is_of_others(line));
        assert_eq!((code, warnings.count()), (0, 0), "{found:#?}");
        let servers = found.iter().filter(|line| line.starts_with("ok servers: ")).count();
        assert_eq!(servers, usize::from(engine != EngineKind::Sqlite), "{found:#?}");
    }
}

#[test]
fn settings_that_cannot_be_used_or_are_read_by_others_are_found() {
    let kv = Kv::new();
    kv.ok("kv init; echo 'http://u:secret@127.0.0.1:1' > open; chmod 644 open; cp open closed; chmod 600 closed");
    assert_found(&kv, "KV_TYPE=frob", "", "problem settings", "KV_TYPE");
    assert_found(&kv, "KV_CONECTION=x", "", "warning settings", "KV_CONECTION");
    assert_found(&kv, "", "--profile nobody", "problem settings", "nobody");
    assert_found(&kv, "", "--connection 'file:a#b'", "problem settings", "%23");
    assert_found(
        &kv,
        "KV_TYPE=rqlite",
        "--connection-file open",
        "warning settings",
        "open, which holds a password",
    );
    let (_, found) = findings(&kv, "KV_TYPE=rqlite", "--connection-file closed");
    assert!(!found.iter().any(|line| line.starts_with("warning settings")), "{found:#?}");
    assert_found(
        &kv,
        "KV_TYPE=rqlite",
        "--connection http://u:secret@127.0.0.1:1",
        "warning settings",
        "command line",
    );
}

#[test]
fn daemons_and_what_they_have_left_are_found() {
    let kv = Kv::new();
    assert_found(&kv, "", "", "problem store", "not_initialized");
    kv.ok("kv init; kv get a || true");
    let pid = kv.daemon_pid();
    kv.ok(&format!("kill -STOP {pid}"));
    assert_found(&kv, "", "", "warning daemons", &format!("process {pid} does not answer"));
    kv.ok(&format!("kill -CONT {pid}"));
    kv.kill_daemon(pid);
    assert_found(&kv, "", "", "warning socket", "nobody listens at ");
    let (code, _) = findings(&kv, "", "");
    assert_eq!(code, 0, "the store answers without it");
    kv.ok("kv get a || true; chmod 755 run/kv");
    assert_found(&kv, "", "", "problem socket", "run/kv");
    kv.ok("chmod 700 run/kv");
    // A second one on the same store, with a socket of its own, is right, and worth knowing.
    let second = "file:data.db?mode=ro";
    kv.ok(&format!("kv --connection '{second}' get a || true"));
    let (code, found) = findings(&kv, "", "");
    assert!(code == 0 && found.iter().any(|line| line.ends_with(" 1 for this store")), "{found:#?}");
}

#[test]
fn the_file_and_the_limits_of_the_process_are_looked_at() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init; chmod 644 data.db");
    assert_found(&kv, "", "", "warning file", "other users can open");
    kv.ok("chmod 600 data.db");
    assert_found(&kv, "", "", "ok file", "MiB are free");
    assert_found(&kv, "ulimit -f 100000;", "", "warning limits", "ulimit -f");
    assert_found(&kv, "ulimit -n 64;", "", "warning limits", "64 open files");
    kv.ok("echo x > data.db");
    assert_found(&kv, "", "", "problem store", "");
}

#[test]
fn a_report_has_what_somebody_asks_for_and_no_secret() {
    let kv = Kv::new();
    kv.ok("kv init; kv put secret-key --text secret-value");
    let mut watch = kv
        .command("kv")
        .args(["watch", "--prefix", "secret-"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    crate::support::wait_until("the watch", || kv.ok("kv daemon status").contains("secret-"));
    let report = kv.ok("kv doctor --report");
    watch.kill().unwrap();
    watch.wait().unwrap();
    for section in ["## Versions", "## Findings", "## Settings", "## Status", "## Log (the last 100 lines)"] {
        assert!(report.contains(&format!("{section}\n\n")), "{section}: {report}");
    }
    for words in [
        env!("CARGO_PKG_VERSION"),
        "ok  store  it answers",
        "\"idle-timeout\"",
        "\"uptime_ms\"",
        "the daemon listens",
    ] {
        assert!(report.contains(words), "{words}: {report}");
    }
    assert!(!report.contains("secret"), "{report}");
    let (code, stderr) = kv.fails("kv doctor --report --output json");
    assert!(code == 2 && stderr.contains("--output"), "{stderr}");
}
