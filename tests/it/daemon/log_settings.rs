//! What a daemon logs, where, and in which form.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Kv, wait_until};

/// A daemon in the foreground, whose stderr is read once it has ended.
fn foreground(kv: &Kv, words: &[&str]) -> Child {
    let mut command = kv.command("kv");
    let child = command.args(["daemon", "run"]).args(words).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the daemon", || kv.shell("kv --daemon=require daemon status").status.success());
    child
}

fn ended(kv: &Kv, mut child: Child) -> String {
    kv.ok("kv daemon stop");
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    child.wait().unwrap();
    told
}

#[test]
fn the_level_comes_from_the_settings_and_else_from_the_variable() {
    for (before, options, is_debug, is_info) in [
        ("", "", false, true),
        ("", "--log-level debug", true, true),
        ("KV_LOG_LEVEL=debug", "", true, true),
        ("KV_LOG_LEVEL=debug", "--log-level error", false, false),
        ("RUST_LOG=kv=debug", "", true, true),
        ("RUST_LOG=kv=debug", "--log-level warn", false, false),
        ("RUST_LOG=kv=debug KV_LOG_LEVEL=info", "", false, true),
    ] {
        let kv = Kv::new();
        kv.ok(&format!("kv --daemon=never init; {before} kv {options} daemon start; kv count all"));
        kv.ok("kv daemon stop");
        let log = kv.ok("cat run/kv/*.log");
        assert_eq!(log.contains(" INFO "), is_info, "{before} {options}: {log}");
        assert_eq!(log.contains(" DEBUG "), is_debug, "{before} {options}: {log}");
    }
    let (code, stderr) = Kv::new().fails("kv --log-level loud daemon start");
    assert!(code == 2 && stderr.contains("error, warn, info, debug, trace"), "{stderr}");
}

#[test]
fn a_line_may_be_a_json_object() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let told = ended(&kv, foreground(&kv, &["--log-format", "json"]));
    let lines: Vec<Value> = told.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let listens = lines.iter().find(|line| line["fields"]["message"] == "the daemon listens");
    let listens = listens.unwrap_or_else(|| panic!("{told}"));
    assert_eq!(listens["level"], "INFO");
    assert!(listens["fields"]["pid"].is_number() && listens["timestamp"].is_string(), "{listens}");
}

#[test]
fn a_file_may_take_the_log_and_is_opened_again() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init");
    let child = foreground(&kv, &["--log-file", "logs.txt"]);
    kv.ok(&format!("mv logs.txt rotated.txt; kill -HUP {}", child.id()));
    let read = |name: &str| std::fs::read_to_string(kv.directory.path().join(name)).unwrap_or_default();
    wait_until("the new file", || read("logs.txt").contains("opened again"));
    let told = ended(&kv, child);
    assert!(!told.contains("the daemon"), "{told}");
    assert!(
        read("rotated.txt").contains("the daemon listens")
            && read("logs.txt").contains("the daemon has ended")
    );
    let (code, stderr) = kv.fails("kv daemon run --log-file nowhere/x.log");
    assert!(code == 6 && stderr.contains("nowhere/x.log") && stderr.contains("hint: "), "{stderr}");
}

/// systemd.exec(5): `JOURNAL_STREAM` holds the device and the inode of the stream that leads to the journal.
#[test]
fn the_journal_gets_priorities_and_no_times() {
    let kv = Kv::new();
    kv.ok("kv --daemon=never init; : > journal");
    let start = "exec 2>> journal; JOURNAL_STREAM=$(stat -L -c %d:%i /dev/stderr) exec kv daemon run";
    let mut child = kv.command("bash").args(["-c", start]).spawn().unwrap();
    wait_until("the daemon", || kv.shell("kv --daemon=require daemon status").status.success());
    kv.ok("kv daemon stop");
    child.wait().unwrap();
    let journal = std::fs::read(kv.directory.path().join("journal")).unwrap();
    let lines: Vec<String> = BufReader::new(&journal[..]).lines().map(Result::unwrap).collect();
    let listens = lines.iter().find(|line| line.contains("the daemon listens")).unwrap();
    assert!(listens.starts_with("<6>kv::daemon: the daemon listens pid="), "{listens}");
}
