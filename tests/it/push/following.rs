//! Where `kv watch` begins and ends, and what it prints first.

use std::io::Write as _;
use std::process::Stdio;

use super::seqs;
use crate::support::{Kv, wait_until};

fn printed(kv: &Kv, options: &str) -> Vec<u64> {
    seqs(&kv.ok(&format!("kv watch {options}")))
}

#[test]
fn a_watch_begins_where_it_is_told() {
    let kv = Kv::new();
    kv.ok("kv init; for key in a a2 a b a; do kv put $key --value 1; done");
    assert_eq!(printed(&kv, "a --first --limit 3"), [1, 3, 5]);
    assert_eq!(printed(&kv, "a --last 2 --limit 2"), [3, 5]);
    assert_eq!(printed(&kv, "--last 2 --limit 2"), [4, 5]);
    assert_eq!(printed(&kv, "--prefix a --last 9 --limit 4"), [1, 2, 3, 5]);
    assert_eq!(printed(&kv, "--since 1h --limit 5"), [1, 2, 3, 4, 5]);
    assert_eq!(printed(&kv, "--since 2000-01-01 --limit 1"), [1]);
    let third = kv.ok("kv stream get 3 1 2>/dev/null | jq -r '.[0].time'");
    assert_eq!(printed(&kv, &format!("--since {} --limit 1", third.trim())), [3]);
    kv.ok("kv stream trim 2");
    assert_eq!(printed(&kv, "--first --limit 1"), [3]);
    assert_eq!(printed(&kv, "--since 1h --limit 1"), [3]);
    assert_eq!(kv.fails("kv watch --after 0").0, 7);
    for options in [
        "--first --last 1",
        "--since 1h --after 1",
        "--initial --first",
        "a --prefix a",
        "--since soon",
        "--last x",
    ] {
        assert_eq!(kv.fails(&format!("kv watch {options}")).0, 2, "{options}");
    }
}

#[test]
fn a_watch_ends_when_its_time_is_over() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    assert_eq!(printed(&kv, "--first --timeout 300ms"), [1]);
    assert_eq!(printed(&kv, "--first --limit 1 --timeout 1h"), [1]);
    let output = kv.shell("kv watch --first --limit 2 --timeout 300ms");
    assert_eq!(output.status.code(), Some(5));
    assert_eq!(seqs(std::str::from_utf8(&output.stdout).unwrap()), [1]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .starts_with("kv: 1 of 2 changes came within the time (timeout)\n")
    );
}

/// The records that are there, and then each change once, whatever is committed while they are listed.
#[test]
fn the_present_records_come_first_and_then_the_changes_without_a_gap() {
    let kv = Kv::new();
    kv.ok("kv init; for i in $(seq 3000); do echo '{\"op\":\"put\",\"key\":\"k/'$i'\",\"value\":0}'; done | split -l 1000 --filter='kv mutate'; kv put other --value 0");
    assert_eq!(
        kv.ok("kv watch k/7 --initial --limit 1 | jq -c '[.action, .seq, .record.key]'"),
        "[\"present\",7,\"k/7\"]\n"
    );
    assert_eq!(
        kv.ok(
            "kv watch k/7 --initial --limit 1 -- sh -c 'echo $KV_CHANGE_ACTION $KV_CHANGE_SEQ $KV_CHANGE_KEY'"
        ),
        "present 7 k/7\n"
    );
    for round in 0..3 {
        let mut writing = kv
            .command("bash")
            .args(["-c", "while read -r; do kv put k/$((RANDOM % 3000 + 1)) --value $((RANDOM)); kv delete k/$((RANDOM % 3000 + 1)); done"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = writing.stdin.take().unwrap();
        stdin.write_all(&b"\n".repeat(30)).unwrap();
        let watch = kv.command("bash").args(["-c", "exec kv watch --prefix k/ --initial > seen"]).spawn();
        let mut watch = watch.unwrap();
        drop(stdin);
        assert!(writing.wait().unwrap().success());
        kv.ok(&format!("kv put k/end --value {round}"));
        let end = format!("\"value\":{round}");
        let is_whole = || {
            let seen = std::fs::read_to_string(kv.directory.path().join("seen")).unwrap_or_default();
            seen.lines().any(|line| line.contains("\"key\":\"k/end\"") && line.contains(&end))
        };
        wait_until("the end", is_whole);
        watch.kill().unwrap();
        watch.wait().unwrap();
        // A mirror that follows is the store, and no key goes back to an older revision.
        let mirror = kv.ok(
            "jq -sc 'reduce .[] as $c ({}; if (.[$c.record.key].revision // 0) >= $c.seq then error(\"backwards\")
                elif $c.action == \"delete\" then del(.[$c.record.key]) else .[$c.record.key] = $c.record end)
                | [.[]] | sort_by(.key) | map([.key, .revision])' seen",
        );
        let store = kv.ok("kv get prefix k/ | jq -c 'sort_by(.key) | map([.key, .revision])'");
        assert_eq!(mirror, store);
    }
}

/// On a terminal a change is a line for people.
#[test]
fn people_see_a_line_for_each_change() {
    let kv = Kv::with(&[("TERM", "xterm"), ("TZ", "UTC")]);
    kv.ok("kv init; kv put user/1 --value '{\"name\":\"Ada\"}'; kv put $'e\\e[31m' --text \"$(printf 'x%.0s' {1..300})\"");
    for columns in [60, 80, 200] {
        let shown =
            kv.ok(&format!("script -qec 'stty cols {columns}; kv watch --first --limit 2' /dev/null"));
        let lines: Vec<&str> = shown.lines().map(|line| line.trim_end_matches('\r')).collect();
        let ["watching from seq 1", first, second] = lines[..] else { panic!("{shown}") };
        assert!(first.ends_with("  create   user/1  v1  {\"name\":\"Ada\"}"), "{first:?}");
        assert!(second.contains("  create   e\\u{1b}[31m  v1  \"xxx") && second.ends_with('…'), "{second:?}");
        assert_eq!(second.chars().count(), columns);
    }
}
