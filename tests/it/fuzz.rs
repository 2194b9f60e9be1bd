//! The bodies of the fuzz targets, on inputs that resemble real ones.
//!
//! `FUZZ_CASES=1000000 cargo test --locked --release --test it fuzz` runs for long; the fuzzer itself is
//! `cargo +nightly fuzz run request_line`.

#[path = "../../fuzz/bodies.rs"]
#[allow(unreachable_pub)]
pub(crate) mod bodies;
mod inputs;

use proptest::prelude::*;

use self::inputs::{
    documents, escapes_and_numbers, json, jsonish, mangled, nested, request_lines, reworked_requests,
};
use crate::protocol::exchange;
use crate::support::{Kv, number_from_environment};

fn run(inputs: impl Strategy<Value = Vec<u8>>, body: fn(&[u8])) {
    let cases = number_from_environment("FUZZ_CASES", 2_000);
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config)
        .run(&inputs, |input| {
            body(&input);
            Ok(())
        })
        .unwrap();
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..64)
}

#[test]
fn a_text_is_a_value_exactly_when_it_is_json_within_the_bounds() {
    let valid = prop_oneof![4 => json(), 2 => escapes_and_numbers(), 1 => nested()];
    let text = prop_oneof![2 => jsonish(), 1 => ".{0,8}", 3 => valid.clone()].prop_map(String::into_bytes);
    run(prop_oneof![8 => text, 4 => mangled(valid), 1 => bytes()], bodies::json_text);
}

#[test]
fn a_merge_gives_what_the_rfc_says_and_keeps_the_rest() {
    let document = || prop_oneof![16 => documents(), 2 => escapes_and_numbers(), 1 => nested()];
    let both = (prop_oneof![4 => document(), 1 => Just(String::new())], document())
        .prop_map(|(target, patch)| format!("{target}\0{patch}"));
    run(prop_oneof![4 => both.clone().prop_map(String::into_bytes), 1 => mangled(both)], bodies::merge_patch);
}

#[test]
fn lines_are_the_same_however_they_arrive() {
    let byte = prop_oneof![3 => Just(b'x'), 1 => Just(b'\n'), 1 => any::<u8>()];
    let input = (prop::array::uniform5(any::<u8>()), prop::collection::vec(byte, 0..120));
    run(input.prop_map(|(header, input)| [&header[..], &input].concat()), bodies::line_codec);
}

fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = request_lines();
    prop_oneof![
        2 => line.clone().prop_map(String::into_bytes),
        6 => mangled(line),
        6 => reworked_requests().prop_map(String::into_bytes),
        2 => mangled(reworked_requests()),
        1 => jsonish().prop_map(String::into_bytes),
        1 => bytes(),
    ]
}

#[test]
fn a_line_is_a_request_or_an_error_that_the_client_caused() {
    run(lines(), bodies::request_line);
}

/// Only a `shutdown` ends the daemon, and each line has one reply.
#[test]
fn a_daemon_survives_any_lines() {
    const AT_ONCE: u32 = 500;
    let kv = Kv::new();
    kv.ok("kv init");
    let pid = kv.daemon_pid();
    let cases = number_from_environment("FUZZ_CASES", 2_000) / AT_ONCE;
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    let many = prop::collection::vec(lines(), AT_ONCE as usize);
    proptest::test_runner::TestRunner::new(config)
        .run(&many, |lines| {
            let is_end = |line: &&Vec<u8>| {
                [&b"shutdown"[..], b"bye"]
                    .iter()
                    .any(|word| line.windows(word.len()).any(|part| part == *word))
            };
            let mut input = lines.iter().filter(|line| !is_end(line)).fold(Vec::new(), |mut input, line| {
                input.extend_from_slice(line);
                input.push(b'\n');
                input
            });
            // A subscription would go on after the end of the input.
            input.extend_from_slice(b"{\"id\":\"last\",\"op\":\"bye\"}\n");
            let count = input.iter().filter(|&&byte| byte == b'\n').count();
            let mut replies = exchange(&kv, &input);
            replies.retain(|reply| !reply.starts_with("{\"subscription\""));
            prop_assert_eq!(replies.len(), count);
            let unexpected = replies.iter().find(|reply| reply.contains("\"code\":\"internal\""));
            prop_assert_eq!(unexpected, None);
            prop_assert!(
                replies[count - 1].starts_with("{\"id\":\"last\",\"ok\":true"),
                "{}",
                replies[count - 1]
            );
            Ok(())
        })
        .unwrap();
    assert_eq!(kv.daemon_pid(), pid);
}
