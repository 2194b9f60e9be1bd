//! What a daemon tells of itself: `kv daemon status` and `kv daemon metrics`, on each engine.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use kv::store::EngineKind;
use serde_json::Value;

use crate::support::{Kv, Site, skipped, wait_until};

/// A user of an empty store on each engine, with what must live as long.
fn users() -> Vec<(Kv, Site)> {
    let mut users = Vec::new();
    for &engine in EngineKind::ALL {
        let Some(site) = Site::on(engine) else {
            skipped("the status of a daemon");
            continue;
        };
        let connection = site.address.connection();
        let kv = Kv::with(&[("KV_TYPE", engine.as_str()), ("KV_CONNECTION", &connection)]);
        kv.ok("kv init");
        users.push((kv, site));
    }
    users
}

fn status(kv: &Kv) -> Value {
    serde_json::from_str(&kv.ok("kv daemon status")).unwrap()
}

#[test]
fn what_clients_do_is_counted_and_measured() {
    for (kv, _site) in users() {
        kv.ok("kv put a --value 1; kv put u/1 --value 1; kv lock acquire l holder; kv get a");
        kv.ok("kv get missing 2> e; kv put a --value 2 --version 7 2> e; echo x | kv rpc");
        let mut watch =
            kv.command("kv").args(["watch", "--prefix", "u/"]).stdout(Stdio::null()).spawn().unwrap();
        let mut wait =
            kv.command("kv").args(["lock", "acquire", "l", "other", "--wait", "1h"]).spawn().unwrap();
        wait_until("both", || {
            let told = status(&kv);
            told["subscriptions"] == 1 && told["requests"]["waiting"] == 1
        });
        kv.ok("kv put u/2 --value 1; kv put b --value 1");
        wait_until("the subscription to follow", || status(&kv)["slowest_subscriptions"][0]["seq"] == 4);
        let told = status(&kv);
        assert_eq!(told["head"], 4, "{told}");
        assert_eq!(told["slowest_subscriptions"][0]["prefix"], "u/");
        assert_eq!(told["slowest_subscriptions"][0]["process"], watch.id());
        assert_eq!(told["slowest_subscriptions"][0]["lag"], 0);
        let errors: BTreeMap<String, u64> =
            serde_json::from_value(told["requests"]["errors"].clone()).unwrap();
        for code in ["not_found", "version_mismatch", "parse_error"] {
            assert_eq!(errors.get(code), Some(&1), "{told}");
        }
        assert!(told["requests"]["count"].as_u64() >= told["requests"]["timed"].as_u64(), "{told}");
        let commits = &told["commits"];
        // Four puts and a lock, at least; a daemon may refresh more.
        assert!(commits["writes"].as_u64().unwrap() >= 5, "{told}");
        assert!(commits["recent"]["max_us"].as_u64() >= commits["recent"]["p50_us"].as_u64(), "{told}");
        assert!(commits["recent"]["p50_us"].as_u64().unwrap() > 0, "{told}");
        for child in [&mut watch, &mut wait] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        wait_until("their end", || {
            let told = status(&kv);
            told["subscriptions"] == 0 && told["requests"]["waiting"] == 0
        });
    }
}

#[test]
fn people_see_lines_and_programs_json() {
    for (kv, _site) in users() {
        kv.ok("kv put a --value 1; kv get missing 2> e || true");
        let text = kv.ok("kv daemon status --output text");
        for (start, words) in [
            ("kv ", "started by a command, up "),
            ("store  ", kv.ok("kv daemon status | jq -r .engine").trim()),
            ("socket  ", ".sock"),
            ("head  ", "1"),
            ("clients  ", "0 requests are waiting"),
            ("requests  ", " answered, "),
            ("errors  ", "not_found 1"),
            ("commits  ", " with 1 write, "),
            ("batches  ", "half have up to 1 write"),
            ("subscriptions ", "0"),
        ] {
            let line = text.lines().find(|line| line.starts_with(start));
            assert!(line.is_some_and(|line| line.contains(words)), "{start}: {text}");
        }
        assert!(text.contains("p50 ") && text.contains(", p99 "), "{text}");
        let on_terminal = kv.ok("TERM=xterm script -qec 'kv daemon status' /dev/null");
        assert!(on_terminal.starts_with("kv ") && on_terminal.contains("subscriptions 0"), "{on_terminal}");
        kv.ok("kv daemon status --output json | jq -e .pid");
    }
}

#[test]
fn the_status_can_be_watched() {
    let kv = Kv::new();
    kv.ok("kv init");
    let watched = |words: &[&str]| {
        let mut command = kv.command("kv");
        let mut child = command
            .args(["daemon", "status", "--watch=100ms"])
            .args(words)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        (child, lines)
    };
    let (mut child, lines) = watched(&["--output", "text"]);
    assert_eq!(lines.filter(|line| line.starts_with("requests ")).take(3).count(), 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let (mut child, lines) = watched(&[]);
    let counts: Vec<u64> = lines
        .take(3)
        .map(|line| serde_json::from_str::<Value>(&line).unwrap()["requests"]["count"].as_u64().unwrap())
        .collect();
    assert!(counts.is_sorted_by(|one, next| one < next), "each look is a request: {counts:?}");
    // Its reader has gone.
    assert!(child.wait().unwrap().success());
    let (code, stderr) = kv.fails("kv daemon status --watch=1ms");
    assert!(code == 2 && stderr.contains("at least 100ms"), "{stderr}");
}

#[test]
fn the_metrics_are_those_of_the_status_in_the_format_of_prometheus() {
    for (kv, _site) in users() {
        kv.ok("kv put a --value 1; kv put b --value 1; kv get missing 2> e || true");
        let text = kv.ok("kv daemon metrics");
        let mut samples = BTreeMap::new();
        let mut family = String::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                rest.split_once(' ').unwrap().0.clone_into(&mut family);
            } else if !line.starts_with("# HELP ") {
                let (name, rest) = line.split_once('{').unwrap();
                let (labels, value) = rest.rsplit_once("} ").unwrap();
                assert!(name.starts_with(&family), "{line} is not of {family}");
                assert!(labels.starts_with("engine=\"") && labels.contains(",store=\""), "{line}");
                let rest = labels.split_once("store=\"").unwrap().1.split_once('"').unwrap().1;
                assert!(value.parse::<f64>().is_ok(), "{line}");
                samples.insert(format!("{name}{rest}"), value.parse::<f64>().unwrap());
            }
        }
        let told = status(&kv);
        assert_eq!(samples["kv_stream_head"], 2.0);
        assert_eq!(samples["kv_errors_total,code=\"not_found\""], 1.0);
        assert_eq!(samples["kv_committed_writes_total"], told["commits"]["writes"].as_f64().unwrap());
        assert_eq!(samples["kv_commit_seconds_count"], told["commits"]["count"].as_f64().unwrap());
        assert!(samples["kv_requests_total"] < told["requests"]["count"].as_f64().unwrap());
        assert!(samples["kv_commit_seconds,quantile=\"0.99\""] > 0.0);
        assert_eq!(samples["kv_info,version=\"0.1.0\""], 1.0);
    }
}
