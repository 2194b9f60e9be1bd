//! What each command prints and how it ends, by the real binary.

use crate::support::Kv;

/// The commands of the original's usage that kv has so far, as they stand there.
#[test]
fn the_usage_of_the_original_works_as_it_was_documented() {
    let kv = Kv::new();
    for (text, printed) in [
        ("kv init", ""),
        (r#"echo '{"hello": "world"}' | kv put greeting/1"#, ""),
        ("kv get key greeting/1", "{\n  \"hello\": \"world\"\n}\n"),
        (r#"echo '{"name": "Alice"}' | kv put user/alice; echo '{"name": "Bob"}' | kv put user/bob"#, ""),
        ("kv get prefix user/ | jq -r '.[].value.name'", "Alice\nBob\n"),
        ("kv get prefix user/ 1 | jq -r '.[].value.name'", "Bob\n"),
        ("kv get prefix user/ 0 1 2>/dev/null | jq -r '.[].value.name'", "Alice\n"),
        ("kv get range user/alice user/bob 0 -1 | jq -r '.[].key'", "user/alice\n"),
        ("kv list | jq length; kv list 1 | jq length; kv list 0 -1 | jq length", "3\n2\n3\n"),
        ("kv count all; kv count prefix user/; kv count range user/ user/b", "3\n2\n1\n"),
        (r#"echo '{"field": "value"}' | kv patch user/alice"#, ""),
        ("kv get key user/alice", "{\n  \"name\": \"Alice\",\n  \"field\": \"value\"\n}\n"),
        ("kv delete user/bob", "1\n"),
        (
            "kv stream get | jq -c 'map(.seq)'; kv stream get 4 1 2>/dev/null | jq '.[].seq'",
            "[1,2,3,4,5]\n4\n",
        ),
        ("kv stream get 0 1000 --of-type=User", "[]\n"),
        ("kv stream seq", "5\n"),
        ("kv stream trim 2; kv stream get 3 1 2>/dev/null | jq '.[].seq'", "2\n3\n"),
        ("kv lock acquire deploy me --duration=10m | jq -c '[.held, .fence]'", "[true,1]\n"),
        ("kv lock status deploy | jq -c '[.held, .owner, .fence]'", "[true,\"me\",1]\n"),
        ("kv lock release deploy me; kv lock status deploy", "{\"name\":\"deploy\",\"held\":false}\n"),
    ] {
        assert_eq!(kv.ok(text), printed, "{text}");
    }
}

#[test]
fn benchmarks_tell_how_fast_the_store_was_and_leave_no_record() {
    let kv = Kv::new();
    assert_eq!(kv.fails("kv benchmark put 1").0, 6, "only init creates a store");
    kv.ok("kv init");
    for (text, told) in [
        ("kv benchmark get 10 200 5", "200 gets by 5 workers in "),
        ("kv benchmark put 200 5", "200 puts by 5 workers in "),
        ("kv benchmark patch 20 3", "60 patches of one record by 3 workers in "),
        ("kv --daemon=never benchmark mixed 50", "50 puts with a get by 15 workers in "),
    ] {
        let printed = kv.ok(text);
        assert!(printed.starts_with(told) && printed.contains(" per second, p50 "), "{printed}");
    }
    assert_eq!(kv.ok("kv count all"), "0\n");
    assert_eq!(kv.fails("kv benchmark put 0").0, 2);
}

#[test]
fn mutate_applies_its_lines_together_and_prints_a_result_for_each() {
    let kv = Kv::new();
    kv.ok("kv init; kv put user/1 --value 1; kv put user/2 --value 1");
    kv.ok(
        r#"printf '%s\n' '{"op":"check","key":"user/1","version":1}' '' '{"op":"put","key":"a","value": 1}' \
        '{"op":"patch","key":"b","patch":{"x":1},"return":true}' '{"op":"delete","prefix":"user/"}' > lines"#,
    );
    assert_eq!(
        kv.ok("kv mutate --output ndjson < lines"),
        "{}\n{\"version\":1,\"revision\":3}\n{\"version\":1,\"revision\":4,\"value\":{\"x\":1}}\n{\"deleted\":2,\"revision\":6}\n"
    );
    let (code, stderr) = kv.fails("kv mutate < lines");
    assert!(code == 4 && stderr.contains("mutation 1") && stderr.contains("version_mismatch"), "{stderr}");
    assert_eq!(kv.ok("kv list --keys-only --output ndjson"), "\"a\"\n\"b\"\n");
    assert_eq!(kv.ok("kv mutate < /dev/null"), "[]\n");
    for (line, words) in [
        ("x", "line 1: "),
        (r#"{"op":"put","key":"a"}"#, "value"),
        (r#"{"op":"get","key":"a"}"#, "get"),
        (r#"{"op":"put","key":"a","value":1,"once":"x"}"#, "once"),
        (r#"{"op":"delete","prefix":""}"#, "--all"),
    ] {
        let (code, stderr) = kv.fails(&format!("echo '{line}' | kv mutate"));
        assert!(code == 2 && stderr.contains(words), "{line}: {code} {stderr}");
    }
}

#[test]
fn delete_takes_a_prefix_a_range_or_everything_and_can_be_tried_first() {
    let kv = Kv::new();
    kv.ok("kv init; for key in a a/1 a/2 a/3 b 'a%'; do kv put \"$key\" --value 1; done");
    for (text, printed) in [
        ("kv delete prefix a/ --dry-run", "3\n"),
        ("kv delete key a nobody --dry-run", "1\n"),
        ("kv delete --all --offset 1 --limit 4 --dry-run", "4\n"),
        ("kv count all", "6\n"),
        ("kv delete prefix a/ --offset 1 --limit 1", "1\n"),
        ("kv list --keys-only | jq -c", "[\"a\",\"a%\",\"a/1\",\"a/3\",\"b\"]\n"),
        ("kv delete range a/ b --limit -1", "2\n"),
        ("kv delete prefix a%", "1\n"),
        ("kv delete prefix '' --all", "2\n"),
        ("kv delete --all", "0\n"),
    ] {
        assert_eq!(kv.ok(text), printed, "{text}");
    }
    for (text, words) in [
        ("kv delete prefix ''", "--all"),
        ("kv delete", "Usage"),
        ("kv delete prefix a b", "kv delete key KEY"),
        ("kv delete range a", "kv delete range FROM TO"),
        ("kv delete --all a", "hint"),
        ("kv delete prefix a --version 1", "hint"),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(code == 2 && stderr.contains(words), "{text}: {code} {stderr}");
    }
}

#[test]
fn stream_trim_removes_the_oldest_changes_and_tells_how_many() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1; kv put a --value 2; kv put a --value 3");
    assert_eq!(kv.ok("kv stream trim 0; kv stream trim 2; kv stream trim 2"), "0\n2\n0\n");
    let (code, stderr) = kv.fails("kv stream get 1");
    assert!(code == 7 && stderr.contains("begins at 3"), "{code} {stderr}");
    assert_eq!(kv.ok("kv stream get | jq -c 'map(.seq)'"), "[3]\n");
    assert_eq!(kv.ok("kv stream trim --all; kv stream get; kv stream seq; kv get a"), "1\n[]\n3\n3\n");
    for text in ["kv stream trim", "kv stream trim 1 --all", "kv stream trim -1", "kv stream trim x"] {
        assert_eq!(kv.fails(text).0, 2, "{text}");
    }
}

#[test]
fn locks_are_acquired_refreshed_listed_and_released() {
    let kv = Kv::new();
    kv.ok("kv init");
    let fence = |text: &str| kv.ok(&format!("{text} | jq .fence"));
    assert_eq!(fence("kv lock acquire deploy me --duration 1h30m"), "1\n");
    assert_eq!(fence("kv lock acquire deploy me --duration 500ms"), "1\n", "a refresh keeps its fence");
    assert_eq!(fence("kv lock acquire build you"), "2\n");
    let (code, stderr) = kv.fails("kv lock acquire deploy you");
    assert!(code == 5 && stderr.contains("me holds deploy until 20"), "{code} {stderr}");
    assert_eq!(kv.ok("kv lock list | jq -r '.[].name'"), "build\ndeploy\n");
    assert_eq!(kv.ok("kv lock list --prefix d --output ndjson | jq -r .owner"), "me\n");
    let (code, stderr) = kv.fails("kv lock release deploy you");
    assert!(code == 5 && stderr.contains("not_owner"), "{code} {stderr}");
    kv.ok("kv lock release deploy me");
    let again = kv.shell("kv lock release deploy me");
    assert!(again.status.success() && String::from_utf8_lossy(&again.stderr).contains("free"), "{again:?}");
    assert_eq!(kv.ok("kv lock status deploy"), "{\"name\":\"deploy\",\"held\":false}\n");
    assert_eq!(fence("kv lock acquire deploy you"), "3\n");
    for text in
        ["kv lock acquire x y --duration 0s", "kv lock acquire x y --duration -1m", "kv lock acquire x"]
    {
        assert_eq!(kv.fails(text).0, 2, "{text}");
    }
}

#[test]
fn every_write_takes_a_fence_and_is_refused_once_the_lock_went_on() {
    let kv = Kv::new();
    kv.ok("kv init; kv lock acquire deploy me");
    for text in [
        "kv put a --value 1",
        "kv patch a --value '{}'",
        "echo '{\"op\":\"put\",\"key\":\"b\",\"value\":1}' | kv mutate",
        "kv delete a",
        "kv delete prefix b",
        "kv stream trim 1",
    ] {
        kv.ok(&format!("{text} --fence deploy:1"));
        let (code, stderr) = kv.fails(&format!("{text} --fence deploy:2"));
        assert!(code == 4 && stderr.contains("fenced"), "{text}: {code} {stderr}");
        assert_eq!(kv.fails(&format!("{text} --fence deploy")).0, 2);
    }
    kv.ok("kv lock release deploy me");
    assert_eq!(kv.fails("kv put a --value 1 --fence deploy:1").0, 4);
}

#[test]
fn a_write_with_an_id_is_applied_once() {
    let kv = Kv::new();
    kv.ok("kv init");
    for mode in ["auto", "never"] {
        assert_eq!(kv.ok(&format!("kv --daemon={mode} put a --value 1 --once put-1 --print-version")), "1\n");
        let patch =
            format!("kv --daemon={mode} patch b --value '{{\"x\":1}}' --once patch-1 --print-version");
        assert_eq!(kv.ok(&patch), "1\n");
    }
    let (code, stderr) = kv.fails("kv put a --value 2 --once put-1");
    assert!(code == 2 && stderr.contains("new id"), "{code} {stderr}");
    assert_eq!(kv.ok("kv delete a --once delete-1; kv delete a --once delete-1; kv stream seq"), "1\n1\n3\n");
}

#[test]
fn a_patch_can_print_what_it_made() {
    let kv = Kv::new();
    kv.ok("kv init");
    assert_eq!(kv.ok("echo '{\"a\": 1}' | kv patch x --print-value"), "{\n  \"a\": 1\n}\n");
    assert_eq!(kv.ok("kv patch x --value '{\"a\":null}' --print-version"), "2\n");
}

#[test]
fn a_record_is_told_to_expire_or_to_stay_and_what_is_left_is_printed() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1 --ttl 10m");
    assert_eq!(kv.ok("kv ttl a | grep -c '^9m59[.0-9]*s$\\|^10m$'"), "1\n");
    assert_eq!(kv.ok("kv ttl a --output json | jq '.ttl_ms > 590000 and .ttl_ms <= 600000'"), "true\n");
    assert_eq!(kv.ok("kv patch a --value 2; kv expire a 2h --print-version"), "3\n");
    assert_eq!(kv.ok("kv ttl a | sed 's/^1h59m.*/nearly/'"), "nearly\n");
    assert_eq!(
        kv.ok("kv persist a --print-version; kv ttl a; kv ttl a --output json"),
        "4\nnone\n{\"ttl_ms\":null,\"expires\":null}\n"
    );
    assert_eq!(
        kv.ok("kv patch a --value 3 --ttl 1h; kv ttl a --output json | jq '.ttl_ms > 1000'"),
        "true\n"
    );
    assert_eq!(kv.ok("kv patch a --value 3 --ttl none; kv ttl a"), "none\n");
    for (text, expected) in [
        ("kv ttl b", 3),
        ("kv expire b 1h", 3),
        ("kv persist b", 3),
        ("kv expire a 1h --version 1", 4),
        ("kv expire a 0s", 2),
        ("kv put a --value 1 --ttl never", 2),
        ("kv put a --value 1 --ttl 876001h", 2),
        ("kv put a --value 1 --if-absent", 4),
        ("kv put b --value 1 --if-present", 4),
        ("kv put b --value 1 --if-present --if-absent", 2),
        ("kv incr a --if-absent", 4),
    ] {
        assert_eq!(kv.fails(text).0, expected, "{text}");
    }
    kv.ok("kv put b --value 1 --if-absent; kv put b --value 2 --if-present; kv delete b --if-present");
}

#[test]
fn a_counter_prints_its_sum() {
    let kv = Kv::new();
    kv.ok("kv init");
    assert_eq!(
        kv.ok("kv incr n; kv incr n -3; kv incr n 0.50; kv incr n -1e2; kv incr n 99999999999999999999"),
        "1\n-2\n-1.50\n-101.50\n99999999999999999897.50\n"
    );
    assert_eq!(
        kv.ok("kv get n --raw; kv incr n 0 --ttl 1h; kv ttl n | cut -c1-2"),
        "99999999999999999897.50\n99999999999999999897.50\n59\n"
    );
    for (text, expected) in
        [("kv incr n one", 2), ("kv incr n '\"1\"'", 2), ("kv put t --text x; kv incr t", 4)]
    {
        let (code, stderr) = kv.fails(text);
        assert!(code == expected && stderr.contains("hint: "), "{text}: {code} {stderr}");
    }
}
