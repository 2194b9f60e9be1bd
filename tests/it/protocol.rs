//! Lines over the socket, by the real daemon and the real nc.

mod hostile;
mod order;
mod pipes;
mod schema;

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use serde_json::Value;

use crate::support::Kv;

/// Sends bytes, ends our side, and reads to the end.
pub(crate) fn exchange(kv: &Kv, bytes: &[u8]) -> Vec<String> {
    let mut stream = UnixStream::connect(kv.ok("kv socket").trim()).unwrap();
    stream.write_all(bytes).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    stream.read_to_string(&mut replies).unwrap();
    replies.lines().map(str::to_owned).collect()
}

/// A golden file holds requests after `> ` and their replies after `< `; times are written as `…`. Lines are only ever
/// added to it.
#[test]
fn the_golden_lines_are_answered_as_they_stand() {
    let kv = Kv::new();
    kv.ok("kv init");
    let replies = exchange(&kv, format!("{}\n", golden("> ").join("\n")).as_bytes());
    let replies: Vec<String> = replies.iter().map(|reply| without_times(reply)).collect();
    let golden = golden("< ").into_iter().map(str::to_owned);
    let golden: Vec<String> = golden
        .zip(&replies)
        .map(|(line, reply)| with_grown_fields(line, reply))
        .zip(&replies)
        .map(|(line, reply)| if has_grown(&line, reply) { reply.clone() } else { line })
        .collect();
    assert_eq!(replies.join("\n"), golden.join("\n"));
}

/// The line with the fields that the reply tells of in a hint, if those of the line are among them: an operation can get more.
fn with_grown_fields(line: String, reply: &str) -> String {
    let list = |line: &str| {
        let (_, fields) = line.split_once("its fields are ")?;
        Some(fields.split_once('"')?.0.to_owned())
    };
    let (Some(known), Some(told)) = (list(&line), list(reply)) else { return line };
    let told_fields: Vec<&str> = told.split(", ").collect();
    assert!(known.split(", ").all(|field| told_fields.contains(&field)), "{known} are not all in {told}");
    line.replace(&known, &told)
}

/// Whether a reply has all that the line has, in the same order, and further members, which clients ignore.
fn has_grown(line: &str, reply: &str) -> bool {
    fn covers(told: &Value, known: &Value) -> bool {
        match (told, known) {
            (Value::Object(told), Value::Object(known)) => {
                let names: Vec<&String> = told.keys().filter(|name| known.contains_key(*name)).collect();
                names.iter().copied().eq(known.keys())
                    && known.iter().all(|(name, value)| covers(&told[name], value))
            }
            (Value::Array(told), Value::Array(known)) => {
                told.len() == known.len() && told.iter().zip(known).all(|(told, known)| covers(told, known))
            }
            (told, known) => told == known,
        }
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).ok();
    read(reply).zip(read(line)).is_some_and(|(told, known)| covers(&told, &known))
}

/// The golden lines after a mark.
fn golden(mark: &str) -> Vec<&'static str> {
    include_str!("../golden/kv1.txt").lines().filter_map(|line| line.strip_prefix(mark)).collect()
}

fn without_times(reply: &str) -> String {
    let mut text = String::new();
    let mut rest = reply;
    while let Some(position) = rest.find("\"20") {
        let (before, time) = rest.split_at(position + 1);
        text.push_str(before);
        // 2023-11-14T22:13:20.000Z
        let is_time = time.get(23..25) == Some("Z\"");
        text.push_str(if is_time { "…" } else { &time[..24] });
        rest = &time[24..];
    }
    text + rest
}

#[test]
fn a_last_line_without_a_newline_is_never_executed() {
    let kv = Kv::new();
    kv.ok("kv init");
    let replies = exchange(
        &kv,
        b"{\"op\":\"put\",\"key\":\"a\",\"value\":1}\n{\"op\":\"put\",\"key\":\"b\",\"value\":1}",
    );
    assert_eq!(replies.len(), 2);
    assert!(replies[1].contains("parse_error"), "{replies:?}");
    assert_eq!(kv.fails("kv get b").0, 3);
}

#[test]
fn broken_lines_are_answered_and_the_connection_lives_on() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut input = vec![b'x'; 16 * 1_024 * 1_024 + 1];
    input.extend_from_slice(b"\n\xff\n[]\n\n{\"op\":\"stream.seq\"}\n");
    let replies = exchange(&kv, &input);
    let codes: Vec<&str> = replies
        .iter()
        .map(|reply| {
            ["too_large", "parse_error", "\"ok\":true"].into_iter().find(|code| reply.contains(code)).unwrap()
        })
        .collect();
    assert_eq!(codes, ["too_large", "parse_error", "parse_error", "parse_error", "\"ok\":true"]);
}

#[test]
fn requests_of_one_connection_take_effect_and_are_answered_in_order() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut input = String::new();
    for number in 1..=500 {
        input.push_str(&format!("{{\"id\":{number},\"op\":\"put\",\"key\":\"a\",\"value\":{number}}}\n"));
        input.push_str("{\"id\":\"read\",\"op\":\"get\",\"key\":\"a\"}\n");
    }
    let replies = exchange(&kv, input.as_bytes());
    assert_eq!(replies.len(), 1_000);
    for (number, pair) in (1..).zip(replies.chunks(2)) {
        assert!(
            pair[0].starts_with(&format!("{{\"id\":{number},\"ok\":true,\"version\":{number},")),
            "{}",
            pair[0]
        );
        assert!(pair[1].ends_with(&format!("\"value\":{number}}}")), "{}", pair[1]);
    }
}
