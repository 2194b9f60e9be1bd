//! Lines in a shell, with every program that speaks to a Unix socket.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::{Kv, wait_until};

const PUT: &str = r#"{"op":"put","key":"hello","value":{"hello":"world"}}"#;
const GET: &str = r#"{"id":"g","op":"get","key":"hello"}"#;
const BYE: &str = r#"{"op":"bye"}"#;

/// The programs, and whether each ends its side when its input ends.
const PROGRAMS: &[(&str, bool)] = &[
    ("nc -U $(kv socket)", false),
    ("nc -NU $(kv socket)", true),
    ("ncat -U $(kv socket)", true),
    ("socat -t 60 - UNIX-CONNECT:$(kv socket)", true),
    ("kv rpc", true),
    (
        "python3 -c 'import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); \
         s.sendall(sys.stdin.buffer.read()); s.shutdown(socket.SHUT_WR); \
         [sys.stdout.write(line) for line in s.makefile()]' $(kv socket)",
        true,
    ),
];

#[test]
fn every_program_prints_every_reply_and_ends() {
    let kv = Kv::new();
    kv.ok("kv init");
    for (program, ends_its_side) in PROGRAMS {
        let told = kv.ok(&format!(
            "printf '%s\\n' '{PUT}' '{GET}' '{BYE}' | timeout 20 {program} | jq -c '[.id, .ok]'"
        ));
        assert_eq!(told, "[null,true]\n[\"g\",true]\n[null,true]\n", "{program}");
        let told = kv
            .shell(&format!("set -o pipefail; printf '%s\\n' '{GET}' | timeout 3 {program} | jq -c .value"));
        assert_eq!(String::from_utf8_lossy(&told.stdout), "{\"hello\":\"world\"}\n", "{program}");
        assert_eq!(told.status.code(), Some(if *ends_its_side { 0 } else { 124 }), "{program}");
    }
}

#[test]
fn many_lines_and_large_ones_pass_through_every_program() {
    let kv = Kv::new();
    kv.ok("kv init; seq 2000 | sed 's|.*|{\"id\":&,\"op\":\"put\",\"key\":\"many/&\",\"value\":&}|' > many");
    kv.ok("head -c 3000000 /dev/zero | tr '\\0' x | sed 's/.*/{\"op\":\"put\",\"key\":\"large\",\"value\":\"&\"}/' > large; echo >> large");
    for (program, _) in PROGRAMS.iter().filter(|(_, ends_its_side)| *ends_its_side) {
        assert_eq!(kv.ok(&format!("{program} < many | jq .id")), kv.ok("seq 2000"), "{program}");
        assert_eq!(
            kv.ok(&format!("{program} < large | jq .ok; kv get large --text | wc -c")),
            "true\n3000001\n"
        );
    }
}

#[test]
fn rpc_tells_when_an_answer_is_missing() {
    let kv = Kv::new();
    kv.ok("kv init");
    let told = kv.shell(&format!("printf '%s\\n' '{PUT}' '{BYE}' '{PUT}' | kv rpc"));
    assert_eq!(told.status.code(), Some(2), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stderr).contains("1 of 3 lines came behind the bye"), "{told:?}");
    assert_eq!(kv.ok("kv stream seq"), "1\n");
    // A last line without its newline is answered too, and not executed.
    assert!(kv.ok(&format!("printf '%s' '{PUT}' | kv rpc")).contains("parse_error"));
    assert_eq!(kv.fails("kv --daemon=never rpc").0, 2);
    kv.ok("kv daemon stop");
    assert_eq!(kv.fails("kv --daemon=require rpc < /dev/null").0, 6);
    assert_eq!(kv.ok("kv rpc < /dev/null"), "", "it starts the daemon");
}

#[test]
fn rpc_knows_an_orderly_end_from_a_daemon_that_is_gone() {
    let kv = Kv::new();
    kv.ok("kv init; kv put hello --value 1");
    let subscribe = r#"{"id":"s","op":"subscribe","after":0}"#;
    let unsubscribe = r#"{"op":"unsubscribe","subscription":"s"}"#;
    let shutdown = r#"{"op":"shutdown"}"#;
    // It has seen a change, and ends by itself or with its daemon.
    for (last, events) in
        [(unsubscribe, "null\n\"change\"\nnull\n"), (shutdown, "null\n\"change\"\n\"end\"\nnull\n")]
    {
        let printed = kv.ok(&format!(
            ": > said; (echo '{subscribe}'; until grep -q change said; do sleep 0.01; done; echo '{last}') | kv rpc > said \
             && jq -c .event said"
        ));
        let sorted = |lines: &str| {
            let mut lines: Vec<_> = lines.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&printed), sorted(events), "{last}");
    }
    // Also without any event yet: a subscription goes on until it is ended.
    for after in ["0", "\"now\""] {
        let subscribe = subscribe.replace('0', after);
        let killed = kv.shell(&format!(
            "kv get hello; echo '{subscribe}' | kv rpc & until kv daemon status | grep -q '\"attached\": 1'; do sleep 0.01; done; \
             kill -9 $(kv daemon status | jq .pid); wait $!"
        ));
        assert_eq!(killed.status.code(), Some(6), "{killed:?}");
    }
}

/// A person at a terminal types a line, reads the answer, and types the next one.
#[test]
fn rpc_can_be_talked_to() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut rpc = kv.command("kv");
    let mut rpc = rpc.arg("rpc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut typed = rpc.stdin.take().unwrap();
    let mut printed = BufReader::new(rpc.stdout.take().unwrap());
    for (line, answer) in [(PUT, "\"version\":1"), (GET, "\"g\""), (BYE, "\"ok\":true")] {
        typed.write_all(format!("{line}\n").as_bytes()).unwrap();
        let mut reply = String::new();
        printed.read_line(&mut reply).unwrap();
        assert!(reply.contains(answer), "{reply}");
    }
    // After the bye it ends, although its input goes on.
    let begun = Instant::now();
    wait_until("the end", || rpc.try_wait().unwrap().is_some());
    assert!(begun.elapsed() < Duration::from_secs(5) && rpc.wait().unwrap().success());
    drop(typed);
}
