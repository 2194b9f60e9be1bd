//! The codec of the most frequent requests and their replies: a `get` or a `put` of one key, written without escapes
//! and without other fields. All other lines, and all faulty ones, are left to the strict codec, which can name the
//! fault.

use std::sync::Arc;

use serde::Serialize;

use super::{Answer, Id, encode_reply};
use crate::limits;
use crate::store::engine::SharedRecord;
use crate::store::{JsonText, Mutation, Put, Read, Record, Reply, Request, Result, Written};

/// A number with this many digits fits every integer type that an id may have.
const ID_DIGITS: usize = 18;

/// The most bytes of the beginning of a reply, besides the id.
const HEAD_BYTES: usize = 48;

/// The most bytes of the other members of a record, besides those that have no fixed length and need no escapes.
const MEMBERS_BYTES: usize = 192;

/// Reads a plain request line, without its newline; none when it is not certainly a correct plain request.
pub(crate) fn decode_plain(line: &[u8]) -> Option<(Option<Id>, Request)> {
    let text = std::str::from_utf8(line).ok()?;
    let mut rest = after(text, b'{')?;
    let (mut op, mut id, mut key) = (None, None, None);
    loop {
        let (name, behind) = string(rest)?;
        let value = after(behind, b':')?;
        let field = match name {
            "op" => &mut op,
            "id" => &mut id,
            "key" => &mut key,
            "value" if op == Some("put") => return put(id, key?, value),
            _ => return None,
        };
        let (text, behind) = if name == "id" { id_text(value)? } else { string(value)? };
        if field.replace(text).is_some() {
            return None;
        }
        match after(behind, b',') {
            Some(next) => rest = next,
            None if after(behind, b'}').is_some_and(|end| end.is_empty()) => break,
            None => return None,
        }
    }
    let request = Request::Read(Read::Get { key: key?.to_owned() });
    (op? == "get" && request.check().is_ok()).then(|| (id.map(Id::of_plain), request))
}

/// A put whose value is its last member, so that the line ends with it.
fn put(id: Option<&str>, key: &str, value: &str) -> Option<(Option<Id>, Request)> {
    let value = value.trim_end_matches([' ', '\t', '\r']).strip_suffix('}')?;
    let put = Put::new(key, JsonText::parse(value).ok()?);
    let request = Request::Write(Mutation::Put(put).into());
    request.check().is_ok().then(|| (id.map(Id::of_plain), request))
}

/// The rest after a byte and the white space around it.
fn after(text: &str, byte: u8) -> Option<&str> {
    let blank = [' ', '\t', '\r'];
    let rest = text.trim_start_matches(blank).strip_prefix(char::from(byte))?;
    Some(rest.trim_start_matches(blank))
}

/// An id as it is spelled, a string without escapes or a number of a few digits, and the rest after it.
fn id_text(text: &str) -> Option<(&str, &str)> {
    let (length, length_max) = match text.as_bytes().first()? {
        b'"' => (string(text)?.0.len() + 2, limits::KEY_BYTES),
        b'1'..=b'9' => (text.bytes().take_while(u8::is_ascii_digit).count(), ID_DIGITS),
        _ => return None,
    };
    (length <= length_max).then(|| text.split_at(length))
}

/// A string without escapes, and the rest after it.
fn string(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let end = inner.bytes().position(|byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
    let (string, rest) = inner.split_at(end);
    Some((string, rest.strip_prefix('"')?))
}

/// Appends the line of a reply, as [`encode_reply`] makes it.
pub(crate) fn append_reply(lines: &mut Vec<u8>, id: Option<&Id>, outcome: Result<Reply>) {
    match outcome {
        Ok(Reply::Get { seq, record: Some(record) }) => append_record(lines, id, seq, &record),
        Ok(Reply::Written(Written { version, revision, value: None })) => {
            begin(lines, id);
            member(lines, b",\"version\":", &version);
            member(lines, b",\"revision\":", &revision);
            lines.extend_from_slice(b"}\n");
        }
        other => lines.extend(encode_reply(id, other.map(Answer::Store))),
    }
}

/// Appends the line of the reply to a `get`. The part for the record is encoded once.
pub(crate) fn append_shared(lines: &mut Vec<u8>, id: Option<&Id>, seq: u64, shared: &Arc<SharedRecord>) {
    if Arc::strong_count(shared) == 1 {
        return append_record(lines, id, seq, &shared.record);
    }
    let members = shared.line.get_or_init(|| {
        let mut members = Vec::new();
        append_members(&mut members, &shared.record);
        members.into_boxed_slice()
    });
    lines.reserve(members.len() + id.map_or(0, |id| id.as_json().len()) + HEAD_BYTES);
    begin(lines, id);
    member(lines, b",\"seq\":", &seq);
    lines.extend_from_slice(members);
}

fn append_record(lines: &mut Vec<u8>, id: Option<&Id>, seq: u64, record: &Record) {
    begin(lines, id);
    member(lines, b",\"seq\":", &seq);
    append_members(lines, record);
}

/// Appends the members after the seq.
fn append_members(lines: &mut Vec<u8>, record: &Record) {
    let Record { key, version, revision, record_type, created, updated, expires, value } = record;
    let type_bytes = record_type.as_ref().map_or(0, String::len);
    lines.reserve(key.len() + type_bytes + value.get().len() + MEMBERS_BYTES);
    member(lines, b",\"key\":", key);
    member(lines, b",\"version\":", version);
    member(lines, b",\"revision\":", revision);
    member(lines, b",\"type\":", record_type);
    member(lines, b",\"created\":", created);
    member(lines, b",\"updated\":", updated);
    if let Some(expires) = expires {
        member(lines, b",\"expires\":", expires);
    }
    lines.extend_from_slice(b",\"value\":");
    lines.extend_from_slice(value.get().as_bytes());
    lines.extend_from_slice(b"}\n");
}

fn begin(lines: &mut Vec<u8>, id: Option<&Id>) {
    lines.push(b'{');
    if let Some(id) = id {
        lines.extend_from_slice(b"\"id\":");
        lines.extend_from_slice(id.as_json().as_bytes());
        lines.push(b',');
    }
    lines.extend_from_slice(b"\"ok\":true");
}

fn member(lines: &mut Vec<u8>, name: &[u8], value: &impl Serialize) {
    lines.extend_from_slice(name);
    // Writing numbers, times and strings into memory has no way to fail.
    let _ = serde_json::to_writer(lines, value);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::{Call, Incoming, decode_request};
    use crate::store::{Code, Error, Timestamp};

    /// Every line that this codec reads means the same to the other one.
    fn assert_same(line: &str) -> bool {
        let Some((id, request)) = decode_plain(line.as_bytes()) else { return false };
        match decode_request(line.as_bytes()) {
            Ok(Incoming { id: other_id, timeout_ms: None, call: Call::Store(other) }) => {
                assert_eq!((id, request), (other_id, other), "{line}");
            }
            other => panic!("{line}: {other:?}"),
        }
        true
    }

    #[test]
    fn plain_requests_are_read_and_all_others_are_left() {
        for line in [
            r#"{"op":"get","key":"a"}"#,
            r#"{"key":"a","op":"get"}"#,
            r#"{ "op": "get", "key": "ä b", "id": "7" } "#,
            r#"{"id":123456789012345678,"op":"get","key":"a"}"#,
            r#"{"id":"x","op":"put","key":"a","value":{"b":[1,2, 3]}}"#,
            r#"{"op":"put","key":"a","value": null }"#,
        ] {
            assert!(assert_same(line), "{line}");
        }
        let deep = format!(r#"{{"op":"put","key":"a","value":{}{}}}"#, "[".repeat(101), "]".repeat(101));
        for line in [
            r#"{"op":"get","key":"a","key":"b"}"#,
            r#"{"op":"get","key":"a\u0062"}"#,
            r#"{"op":"get","key":""}"#,
            r#"{"id":1234567890123456789,"op":"get","key":"a"}"#,
            r#"{"id":01,"op":"get","key":"a"}"#,
            r#"{"id":1.5,"op":"get","key":"a"}"#,
            r#"{"op":"get","key":"a"}}"#,
            r#"{"op":"get","key":"a"} x"#,
            r#"{"op":"get","key":"a",}"#,
            r#"{"op":"get","keys":["a"]}"#,
            r#"{"op":"put","key":"a"}"#,
            r#"{"op":"put","key":"a","value":1,"version":2}"#,
            r#"{"op":"put","key":"a","value":01}"#,
            r#"{"op":"put","value":1}"#,
            r#"{"key":"a","value":1,"op":"put"}"#,
            r#"{"op":"put","key":"a","value":1}}"#,
            r#"{"op":"put","key":"a","value":}"#,
            r#"{"op":"delete","key":"a"}"#,
            r#"{"op":"get","key":"a","timeout_ms":5}"#,
            "{}",
            "",
            &deep,
        ] {
            assert!(!assert_same(line), "{line}");
        }
    }

    #[test]
    fn a_reply_is_the_same_by_both_codecs() {
        let record = Record {
            key: "a\u{1}\"ä".to_owned(),
            version: 7,
            revision: u64::MAX,
            record_type: None,
            created: Timestamp::from_unix_ms(0),
            updated: Timestamp::from_unix_ms(1_700_000_000_123),
            expires: None,
            value: JsonText::parse(r#"{"b": [1e2]}"#).unwrap(),
        };
        let expires = Some(Timestamp::from_unix_ms(1_700_000_000_124));
        let typed = Record { record_type: Some("T\n".to_owned()), expires, ..record.clone() };
        let written = Written { version: 1, revision: 2, value: None };
        let outcomes = [
            Ok(Reply::Get { seq: 3, record: Some(record.clone()) }),
            Ok(Reply::Get { seq: 3, record: Some(typed) }),
            Ok(Reply::Get { seq: 3, record: None }),
            Ok(Reply::Written(Written { value: Some(record.value), ..written.clone() })),
            Ok(Reply::Written(written)),
            Err(Error::new(Code::Busy, "busy")),
        ];
        for outcome in outcomes {
            for id in [None, Some(Id::number(5)), Some(Id::of_plain(r#""x""#))] {
                let mut lines = b"before".to_vec();
                append_reply(&mut lines, id.as_ref(), outcome.clone());
                let expected = encode_reply(id.as_ref(), outcome.clone().map(Answer::Store));
                assert_eq!(String::from_utf8_lossy(&lines[6..]), String::from_utf8_lossy(&expected));
                if let Ok(Reply::Get { seq, record: Some(record) }) = &outcome {
                    let shared = SharedRecord::new(record.clone());
                    let kept = Arc::clone(&shared);
                    lines.clear();
                    append_shared(&mut lines, id.as_ref(), *seq, &kept);
                    assert_eq!(lines, expected);
                    assert!(shared.line.get().is_some());
                }
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_means_the_same_to_the_codec_of_all_requests(
            parts in prop::collection::vec(
                prop_oneof![
                    Just("{"), Just("}"), Just(","), Just(":"), Just(" "), Just("\t"), Just("\""), Just("\\"),
                    Just("\"op\""), Just("\"key\""), Just("\"value\""), Just("\"id\""), Just("\"get\""),
                    Just("\"put\""), Just("\"a\""), Just("\"op\":\"get\""), Just("\"op\":\"put\""),
                    Just("\"key\":\"k\""), Just("\"value\":1"), Just("1"), Just("null"), Just("[1,{\"a\":2}]"),
                    Just("é"), Just("\u{7f}"), Just("\u{1}"),
                ],
                0..14,
            ),
        ) {
            assert_same(&parts.concat());
            assert_same(&format!("{{{}}}", parts.concat()));
        }
    }
}
