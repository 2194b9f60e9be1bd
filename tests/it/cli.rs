//! The command line, by the real binary.

mod hints;
mod keys;
mod listings;
mod paging;
mod tables;
mod words;

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Kv, wait_until};

/// What a terminal of this width shows of a command, into which the user types this and then Ctrl-D, without the returns
/// before line breaks.
fn on_terminal(kv: &Kv, columns: usize, command: &str, typed: &str) -> String {
    let inner = format!("stty cols {columns} rows 50; {command}");
    let mut script = kv.command("script");
    script
        .args(["--echo", "never", "-qec", &inner, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut terminal = script.spawn().unwrap();
    terminal.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = terminal.wait_with_output().unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap().replace('\r', "")
}

#[test]
fn the_main_job_works_in_a_pipe() {
    let kv = Kv::new();
    kv.ok("kv init");
    kv.ok(r#"echo '{"hello":"world"}' | kv put hello"#);
    assert_eq!(kv.ok("kv get key hello"), "{\n  \"hello\": \"world\"\n}\n");
    assert_eq!(kv.ok("kv get hello --raw"), "{\"hello\":\"world\"}\n");
    assert!(kv.ok("kv list").contains(r#""key":"hello","version":1,"#));
    assert!(kv.ok("kv stream get").contains(r#""action":"create""#));
    assert_eq!(kv.ok("kv stream seq"), "1\n");
    assert_eq!(kv.ok("kv delete hello"), "1\n");
    assert_eq!(kv.ok("kv list"), "[]\n");
}

#[test]
fn both_spellings_mean_the_same() {
    let kv = Kv::new();
    kv.ok("kv init; kv put --key a --value 1; echo 2 | kv put b; kv put key --value 3; kv put c --text '-x'");
    for text in ["kv get a", "kv get key a", "kv get --key a", "kv get key --key a"] {
        assert_eq!(kv.ok(text), "1\n", "{text}");
    }
    assert_eq!(kv.ok("kv get key key"), "3\n");
    assert_eq!(kv.ok("kv get c --text"), "-x\n");
    assert_eq!(kv.ok("kv get batch b a x --output ndjson | jq -c .value"), "2\n1\n");
    assert_eq!(kv.ok("kv list 1 -1 --keys-only"), "[\n  \"b\",\n  \"c\",\n  \"key\"\n]\n");
    assert_eq!(kv.ok("kv get prefix k | jq -r '.[].key'"), "key\n");
    assert_eq!(kv.ok("kv get range a c 0 1 --output ndjson | jq -r .key"), "a\n");
    assert_eq!(kv.ok("kv delete key a b x; kv delete key key; kv delete --key c"), "2\n1\n1\n");
}

#[test]
fn a_file_and_a_version_can_be_given() {
    let kv = Kv::new();
    kv.ok("kv init; echo '[1, 2]' > value.json");
    assert_eq!(kv.ok("kv put a --file value.json --version 0 --print-version"), "1\n");
    assert_eq!(
        kv.ok("kv put a --value 2 --version 1 --print-version; kv put a --value 3 --version -1"),
        "2\n"
    );
    assert_eq!(kv.ok("kv get a --print-version"), "3\n");
    assert_eq!(kv.fails("kv delete a --version 2").0, 4);
}

#[test]
fn patch_and_count_work_in_a_pipe() {
    let kv = Kv::new();
    kv.ok(r#"kv init; echo '{"a":1}' | kv put x; echo '{"a":null,"b":[1]}' | kv patch x"#);
    kv.ok(
        r#"echo '[{"op":"add","path":"/b/-","value":2}]' | kv patch --key x --format json-patch --version 2"#,
    );
    assert_eq!(kv.ok("kv get x --raw"), "{\"b\":[1,2]}\n");
    let (code, stderr) =
        kv.fails(r#"kv patch x --format json-patch --value '[{"op":"test","path":"/b","value":0}]'"#);
    assert!(code == 4 && stderr.contains("patch_failed"), "{code} {stderr}");
    assert_eq!(kv.ok("kv count all; kv count prefix x; kv count range a x"), "1\n1\n0\n");
    assert_eq!(kv.ok("kv count"), "1\n");
    assert_eq!(kv.fails("kv count x").0, 2);
}

#[test]
fn every_failure_has_its_exit_code_a_code_and_no_data_on_stdout() {
    let kv = Kv::new();
    for (text, exit_code, words) in [
        ("kv get a", 6, "not_initialized"),
        ("kv --daemon=never put a --value 1", 6, "kv init"),
        ("kv --daemon=require --connection other.db get a", 6, "kv --connection other.db daemon start"),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(code == exit_code && stderr.contains(words), "{text}: {code} {stderr}");
    }
    assert!(!kv.directory.path().join("data.db").exists(), "only init creates");
    kv.ok("kv init; kv put a --value 1");
    for (text, exit_code, words) in [
        ("kv get nobody", 3, "not_found"),
        ("kv put a --value 1 --version 0", 4, "version_mismatch"),
        ("kv put a --value '{'", 2, "bad_request"),
        ("kv put a --value '1 2'", 2, "hint"),
        ("kv put '' --value 1", 2, "bad_request"),
        ("kv get key", 2, "kv get KEY"),
        ("kv get a --text", 2, "--raw"),
        ("kv list 0 x", 2, "LIMIT"),
        ("kv frobnicate", 2, "Usage"),
        ("kv --type rqlite --connection http://127.0.0.1:1 get a", 6, "cannot be reached"),
        ("kv --type rqlite --connection data.db get a", 2, "http://USER"),
        ("kv --type postgres --connection postgres://u@%2Fnowhere/d get a", 6, "cannot be reached"),
        ("kv --type postgres --connection data.db get a", 2, "postgres://USER"),
        ("kv --connection 'file:data.db?vfs=x' get a", 2, "vfs"),
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(code == exit_code && stderr.contains(words), "{text}: {code} {stderr}");
    }
}

#[test]
fn a_closed_pipe_is_no_error() {
    let kv = Kv::new();
    kv.ok(
        "kv init; for i in $(seq 50); do kv put $i --text \"$(head -c 9000 /dev/zero | tr '\\0' x)\"; done",
    );
    assert_eq!(kv.ok("set -o pipefail; kv list | head -1"), "[\n");
    assert_eq!(kv.ok("set -o pipefail; kv export 2>told | head -c 10"), "{\"kv_expor");
    assert_eq!(kv.ok("cat told"), "");
}

#[test]
fn help_shows_examples_and_goes_to_stdout() {
    let kv = Kv::new();
    for text in ["kv --help", "kv put --help", "kv stream get --help", "kv daemon --help"] {
        assert!(kv.ok(text).contains("Usage:"), "{text}");
    }
    assert!(kv.ok("kv --help").contains("kv list --keys-only"));
}

#[test]
fn reads_go_on_while_another_process_holds_the_write_lock() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let mut writer = kv.command("sqlite3").arg("data.db").stdin(Stdio::piped()).spawn().unwrap();
    let mut words = writer.stdin.take().unwrap();
    words.write_all(b"begin immediate;\n.shell touch locked\n").unwrap();
    wait_until("the lock", || kv.directory.path().join("locked").exists());
    assert_eq!(kv.ok("kv get a; kv list --keys-only --output ndjson"), "1\n\"a\"\n");
    let (code, stderr) = kv.fails("kv put a --value 2");
    assert!(code == 6 && stderr.contains("busy"), "{code} {stderr}");
    drop(words);
    writer.wait().unwrap();
    kv.ok("kv put a --value 3");
}
