//! What must hold of any input: once for the fuzzer, and for the tests that run the same on inputs of their own.
//!
//! Each body panics when its property does not hold.

use std::collections::BTreeMap;

use kv::limits::VALUE_DEPTH;
use kv::protocol::{Id, Line, LineCodec, decode_request, encode_request};
use kv::store::merge_patch::merge_patch as merge;
use kv::store::{Code, JsonText};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

/// Members of this name have a meaning of their own to `serde_json`, so it is no judge of them.
const PRIVATE: &str = "$serde_json::private";

/// A text is a value exactly when `serde_json` reads it and none of kv's own bounds is passed; what is dropped is
/// white space between tokens, and nothing else.
pub fn json_text(data: &[u8]) {
    let Some(text) = judgeable(data) else { return };
    let tree = serde_json::from_str::<Value>(text).ok();
    let facts = Facts::of(text);
    let Ok(value) = JsonText::parse(text) else {
        assert!(tree.is_none() || facts.depth > VALUE_DEPTH || facts.has_nul, "refused");
        return;
    };
    let Some(tree) = tree else { panic!("taken, but it is no JSON") };
    assert!(facts.depth <= VALUE_DEPTH && !facts.has_nul, "taken beyond a bound");
    assert_eq!(value.get(), facts.without_space);
    assert_eq!(tree_of(&value), tree);
    assert_eq!(JsonText::parse(value.get()).as_ref(), Ok(&value));
    assert_eq!(JsonText::from_stored(value.get().to_owned()).as_ref(), Ok(&value));
    assert_eq!(Facts::of(&value.pretty()).without_space, value.get());
}

/// A merge gives what RFC 7396 says, in a text that is a value; what the patch does not name keeps its text.
///
/// The input is the target, a zero byte, and the patch; a target that is no value is a missing one.
pub fn merge_patch(data: &[u8]) {
    let Some(middle) = data.iter().position(|&byte| byte == 0) else { return };
    let value = |data| judgeable(data).and_then(|text| JsonText::parse(text).ok());
    let (target, Some(patch)) = (value(&data[..middle]), value(&data[middle + 1..])) else { return };
    let merged = merge(target.as_ref(), &patch);
    assert_eq!(tree_of(&merged), rfc_7396(target.as_ref().map(tree_of), &tree_of(&patch)));
    assert_eq!(JsonText::parse(merged.get()).as_ref(), Ok(&merged));
    assert_eq!(merge(Some(&merged), &patch), merged, "a second merge changes nothing");
    let (Some(target), Some(patch)) = (target.as_ref().and_then(members), members(&patch)) else { return };
    let merged = members(&merged).unwrap_or_default();
    for (name, value) in target.iter().filter(|(name, _)| !patch.contains_key(*name)) {
        assert_eq!(merged.get(name).map(|value| value.get()), Some(value.get()), "{name}");
    }
}

/// Lines are the same however the bytes arrive, and a line over the limit costs no memory beyond it.
///
/// The input is the limit, four sizes of parts, and what comes in.
pub fn line_codec(data: &[u8]) {
    let Some((&[limit, ref sizes @ ..], input)) = data.split_first_chunk::<5>() else { return };
    let limit = usize::from(limit % 16);
    let mut sizes = sizes.iter().map(|&size| usize::from(size % 16) + 1).cycle();

    let mut codec = LineCodec::with_limit(limit);
    let (mut buffer, mut rest, mut lines) = (BytesMut::new(), input, Vec::new());
    while !rest.is_empty() {
        let (part, later) = rest.split_at(sizes.next().unwrap_or(1).min(rest.len()));
        rest = later;
        buffer.extend_from_slice(part);
        while let Ok(Some(line)) = codec.decode(&mut buffer) {
            lines.push(line);
        }
        assert!(buffer.len() <= limit, "{} bytes are kept", buffer.len());
    }
    while let Ok(Some(line)) = codec.decode_eof(&mut buffer) {
        lines.push(line);
    }

    let mut parts: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    let cut_off = parts.pop().is_some_and(|last| !last.is_empty());
    let whole = |part: &[u8]| match part.len() <= limit {
        true => Line::Whole(Bytes::copy_from_slice(part)),
        false => Line::TooLong,
    };
    let expected: Vec<Line> = parts.into_iter().map(whole).chain(cut_off.then_some(Line::CutOff)).collect();
    assert_eq!(lines, expected);
}

/// A line is a request, which is the same once it was encoded and read again, or an error that the client caused.
pub fn request_line(data: &[u8]) {
    match decode_request(data) {
        Ok(incoming) => {
            let id = incoming.id.unwrap_or_else(|| Id::number(1));
            let line = encode_request(&id, &incoming.call);
            let Some((b'\n', line)) = line.split_last() else { panic!("no newline at the end") };
            assert!(!line.contains(&b'\n'), "two lines");
            let Ok(again) = decode_request(line) else {
                panic!("refused: {}", String::from_utf8_lossy(line))
            };
            assert_eq!((again.id, again.call), (Some(id), incoming.call));
        }
        Err((id, error)) => {
            let caused =
                [Code::ParseError, Code::BadRequest, Code::UnknownOp, Code::UnknownField, Code::TooLarge];
            assert!(caused.contains(&error.code) && !error.maybe && !error.message.is_empty(), "{error:?}");
            let text = String::from_utf8_lossy(data);
            assert!(id.is_none_or(|id| text.contains(id.as_json())));
        }
    }
}

/// The pseudo code of RFC 7396, section 2.
pub fn rfc_7396(target: Option<Value>, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut members = match target {
        Some(Value::Object(members)) => members,
        _ => serde_json::Map::new(),
    };
    for (name, value) in patch {
        if value.is_null() {
            members.shift_remove(name);
        } else {
            let merged = rfc_7396(members.get(name).cloned(), value);
            members.insert(name.clone(), merged);
        }
    }
    Value::Object(members)
}

fn judgeable(data: &[u8]) -> Option<&str> {
    // An escape can spell the private name too; to be sure, none of its characters may be escaped.
    let escaped_dollar = |text: &str| text.to_ascii_lowercase().contains("\\u0024");
    std::str::from_utf8(data).ok().filter(|text| !text.contains(PRIVATE) && !escaped_dollar(text))
}

fn tree_of(value: &JsonText) -> Value {
    match value.to() {
        Ok(tree) => tree,
        Err(error) => panic!("{error}"),
    }
}

fn members(value: &JsonText) -> Option<BTreeMap<String, Box<RawValue>>> {
    value.to().ok()
}

/// What can be seen of a JSON text without reading it as JSON.
struct Facts {
    without_space: String,
    depth: usize,
    has_nul: bool,
}

impl Facts {
    fn of(text: &str) -> Facts {
        let mut facts = Facts { without_space: String::new(), depth: 0, has_nul: false };
        let (mut in_string, mut depth) = (false, 0_usize);
        let mut rest = text.chars();
        while let Some(char) = rest.next() {
            if !in_string && matches!(char, ' ' | '\t' | '\r' | '\n') {
                continue;
            }
            facts.without_space.push(char);
            match (in_string, char) {
                (true, '\\') => {
                    facts.has_nul |= rest.as_str().starts_with("u0000");
                    facts.without_space.extend(rest.next());
                }
                (_, '"') => in_string = !in_string,
                (false, '[' | '{') => depth += 1,
                (false, ']' | '}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            facts.depth = facts.depth.max(depth);
        }
        facts
    }
}
