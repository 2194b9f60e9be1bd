//! Clients that mean no good, or know no better: they harm themselves only, and memory stays bounded.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::exchange;
use crate::support::{Kv, number_from_environment, peak_bytes, wait_until};

const MIB: usize = 1_024 * 1_024;

fn connect(kv: &Kv) -> UnixStream {
    UnixStream::connect(kv.ok("kv socket").trim()).unwrap()
}

fn codes(replies: &[String]) -> Vec<String> {
    let code = |reply: &String| {
        let reply: Value = serde_json::from_str(reply).unwrap();
        reply["error"]["code"].as_str().unwrap_or("ok").to_owned()
    };
    replies.iter().map(code).collect()
}

/// Asserts that another client is served, for a read and a write.
#[track_caller]
fn others_are_served(kv: &Kv) {
    kv.ok("timeout 10 kv put other --value 1; timeout 10 kv get other; timeout 10 kv list 0 1 2>/dev/null");
}

/// Sends lines until the daemon takes no more, and answers how many bytes it took.
fn send_until_it_blocks(stream: &mut UnixStream, lines: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut sent = 0;
    while sent < lines.len() {
        match stream.write(&lines[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    sent
}

#[test]
fn each_limit_of_a_line_is_answered_and_the_connection_lives_on() {
    let kv = Kv::new();
    kv.ok("kv init");
    let put = |value: &str| format!(r#"{{"op":"put","key":"a","value":{value}}}"#).into_bytes();
    let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let key = |bytes: usize| format!(r#"{{"op":"get","key":"{}"}}"#, "k".repeat(bytes)).into_bytes();
    let many = |count: usize| {
        let keys: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        json!({ "op": "get", "keys": keys }).to_string().into_bytes()
    };
    let text = |bytes: usize| put(&format!("\"{}\"", "x".repeat(bytes - 2)));
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (vec![b'x'; 17 * MIB], "too_large"),
        (text(8 * MIB + 1), "too_large"),
        (text(8 * MIB), "ok"),
        (put(&deep(10_000)), "too_large"),
        (put(&deep(101)), "too_large"),
        (put(&deep(100)), "ok"),
        (put(r#""a\u0000b""#), "bad_request"),
        (put(r#""\ud800""#), "bad_request"),
        (b"\xff\xfe".to_vec(), "parse_error"),
        (b"{\"op\":\"get\",\"key\":\"\xc3\x28\"}".to_vec(), "parse_error"),
        (deep(10_000).into_bytes(), "parse_error"),
        (format!("{}1{}", r#"{"a":"#.repeat(10_000), "}".repeat(10_000)).into_bytes(), "bad_request"),
        (b"GET / HTTP/1.1\r".to_vec(), "parse_error"),
        (b"".to_vec(), "parse_error"),
        (key(1_025), "too_large"),
        (key(1_024), "not_found"),
        (key(0), "bad_request"),
        (br#"{"op":"get","key":"a\u0000"}"#.to_vec(), "bad_request"),
        (many(1_001), "too_large"),
        (many(1_000), "ok"),
        (br#"{"op":"get","key":"a","timeout_ms":86400001}"#.to_vec(), "bad_request"),
        (br#"{"op":"frobnicate"}"#.to_vec(), "unknown_op"),
        (br#"{"op":"get","kee":"a"}"#.to_vec(), "unknown_field"),
        (br#"{"op":"get","key":"a","key":"b"}"#.to_vec(), "bad_request"),
        (br#"{"op":"stream.seq"}"#.to_vec(), "ok"),
    ];
    let input: Vec<u8> = cases.iter().flat_map(|(line, _)| [line.as_slice(), b"\n"].concat()).collect();
    let replies = exchange(&kv, &input);
    let told = codes(&replies);
    assert_eq!(told.len(), cases.len());
    for ((line, code), told) in cases.iter().zip(&told) {
        let line = String::from_utf8_lossy(&line[..line.len().min(60)]).into_owned();
        assert_eq!(told, code, "{line}");
    }
}

/// A line that is cut anywhere is never executed, whether the client ends its side or goes away.
#[test]
fn a_line_that_is_cut_at_any_byte_has_no_effect() {
    let kv = Kv::new();
    kv.ok("kv init");
    let line = br#"{"op":"put","key":"cut","value":{"a":[1,2,"x"]},"once":"c"}"#;
    for length in 1..=line.len() {
        let replies = exchange(&kv, &line[..length]);
        assert_eq!(codes(&replies), ["parse_error"], "{length}");
        connect(&kv).write_all(&line[..length]).unwrap();
    }
    assert_eq!(kv.ok("kv stream seq"), "0\n");
    assert_eq!(exchange(&kv, b""), Vec::<String>::new());
}

#[test]
fn requests_that_are_pipelined_without_reading_are_answered_in_order_later() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let pid = kv.daemon_pid();
    let before = peak_bytes(pid);
    let count = 100_000;
    let lines: String =
        (0..count).map(|number| format!("{{\"id\":{number},\"op\":\"get\",\"key\":\"a\"}}\n")).collect();
    let mut stream = connect(&kv);
    let sent = send_until_it_blocks(&mut stream, lines.as_bytes());
    assert!(sent < lines.len(), "the daemon took all of it");
    others_are_served(&kv);
    let grown = peak_bytes(pid).saturating_sub(before);
    assert!(grown < 32 * MIB, "the daemon grew by {grown} bytes");

    stream.set_write_timeout(None).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let rest = lines.as_bytes()[sent..].to_vec();
    let sending = std::thread::spawn(move || writer.write_all(&rest).unwrap());
    let mut replies = BufReader::new(stream).lines();
    for number in 0..count {
        let reply = replies.next().unwrap().unwrap();
        assert!(reply.starts_with(&format!("{{\"id\":{number},\"ok\":true,")), "{number}: {reply}");
    }
    sending.join().unwrap();
}

/// 1,024 replies of 8 MiB each are asked for on each of 20 connections, and none is read.
#[test]
fn large_replies_that_nobody_reads_are_loaded_one_at_a_time() {
    let kv = Kv::new();
    kv.ok("kv init; head -c 8000000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | kv put large; kv put a --value 1");
    let pid = kv.daemon_pid();
    let before = peak_bytes(pid);
    let lines = "{\"op\":\"get\",\"key\":\"large\"}\n{\"op\":\"list\"}\n".repeat(512);
    let mut greedy: Vec<UnixStream> = (0..20).map(|_| connect(&kv)).collect();
    for stream in &mut greedy {
        stream.write_all(lines.as_bytes()).unwrap();
    }
    others_are_served(&kv);
    let grown = peak_bytes(pid).saturating_sub(before);
    assert!(grown < 512 * MIB, "the daemon grew by {} MiB", grown / MIB);
    // A client that did not read while others waited was disconnected; one that reads gets everything.
    let mut replies = BufReader::new(connect(&kv));
    let mut patient = replies.get_ref().try_clone().unwrap();
    patient.write_all(&lines.as_bytes()[..27 * 3]).unwrap();
    patient.shutdown(Shutdown::Write).unwrap();
    let mut text = Vec::new();
    replies.read_to_end(&mut text).unwrap();
    assert!(text.len() > 3 * 8_000_000 || text.split(|&byte| byte == b'\n').count() >= 3, "{}", text.len());
}

/// Sixty clients stop in the middle of a line of 15 MiB.
#[test]
fn long_lines_that_are_never_ended_take_no_more_than_their_places() {
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let before = peak_bytes(pid);
    let part = vec![b'x'; 15 * MIB];
    let mut stuck: Vec<UnixStream> = (0..60).map(|_| connect(&kv)).collect();
    for stream in &mut stuck {
        stream.set_write_timeout(Some(Duration::from_millis(5))).unwrap();
        // The daemon stops to read when it has no place for the rest.
        let _ = stream.write_all(&part);
    }
    others_are_served(&kv);
    kv.ok("head -c 4000000 /dev/zero | tr '\\0' x | sed 's/.*/\"&\"/' | timeout 100 kv put large");
    let grown = peak_bytes(pid).saturating_sub(before);
    assert!(grown < 512 * MIB, "the daemon grew by {} MiB", grown / MIB);
}

/// Ten clients send and read a byte at a time.
#[test]
fn clients_that_dawdle_are_served_and_hold_up_nobody() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    let line = b"{\"op\":\"get\",\"key\":\"a\"}\n";
    let mut slow: Vec<UnixStream> = (0..10).map(|_| connect(&kv)).collect();
    for &byte in line {
        for stream in &mut slow {
            stream.write_all(&[byte]).unwrap();
        }
        others_are_served(&kv);
    }
    for stream in &mut slow {
        let mut reply = Vec::new();
        while !reply.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            reply.push(byte[0]);
        }
        assert!(reply.ends_with(b"\"value\":1}\n"));
    }
}

/// Idle connections cost little. The long form holds 10,000; the file limit of the machine must allow them.
#[test]
#[allow(clippy::print_stderr, reason = "the long form reports its figure")]
fn idle_connections_cost_little_and_hold_up_nobody() {
    let count = number_from_environment("IDLE_CONNECTIONS", 500) as usize;
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let before = peak_bytes(pid);
    let mut idle: Vec<UnixStream> = (0..count).map(|_| connect_to(&kv)).collect();
    let first = idle.first_mut().unwrap();
    first.write_all(b"{\"op\":\"stream.seq\"}\n").unwrap();
    others_are_served(&kv);
    let status: Value = serde_json::from_str(&kv.ok("kv daemon status")).unwrap();
    assert!(status["connections"].as_u64().unwrap() as usize >= count);
    let each = peak_bytes(pid).saturating_sub(before) / count;
    eprintln!("{count} idle connections: {each} bytes each");
    assert!(each < 24 * 1_024, "an idle connection costs {each} bytes");
}

fn connect_to(kv: &Kv) -> UnixStream {
    let socket = kv.directory.path().join("socket");
    if !socket.exists() {
        std::os::unix::fs::symlink(kv.ok("kv socket").trim(), &socket).unwrap();
    }
    UnixStream::connect(socket).unwrap()
}

/// A daemon that may open 128 files serves half as many connections, tells the others, and takes new ones as soon as
/// there is a place.
#[test]
fn a_flood_of_connections_is_told_that_there_are_too_many() {
    let kv = Kv::new();
    kv.ok("kv init; kv daemon stop; ulimit -n 128; kv daemon start");
    let limit = exchange(&kv, b"{\"op\":\"hello\"}\n");
    let limit: Value = serde_json::from_str(&limit[0]).unwrap();
    assert_eq!(limit["limits"]["connections"], json!(64));
    let flood: Vec<UnixStream> = (0..300).map(|_| connect_to(&kv)).collect();
    let mut told = String::new();
    BufReader::new(flood.last().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(codes(&[told]), ["too_many_connections"]);
    let (code, stderr) = kv.fails("kv get a");
    assert!(code == 6 && stderr.contains("(too_many_connections)"), "{code} {stderr}");
    // The first ones are served.
    let mut first = &flood[0];
    first.write_all(b"{\"op\":\"stream.seq\"}\n").unwrap();
    let mut reply = String::new();
    BufReader::new(first).read_line(&mut reply).unwrap();
    assert_eq!(codes(&[reply]), ["ok"]);
    drop(flood);
    wait_until("a place", || kv.shell("kv stream seq").status.success());
}
