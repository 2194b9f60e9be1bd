//! Properties that must hold for any input, for the fuzzer and for the tests, which run them on inputs of their own.
//!
//! Each body panics when its property does not hold.

use std::fmt;

use kv::limits::VALUE_DEPTH;
use kv::protocol::{Id, Line, LineCodec, decode_reply, decode_request, encode_reply, encode_request};
use kv::store::merge_patch::merge_patch as merge;
use kv::store::{Code, JsonText, Request, Timestamp};
use kv::store::{JsonTextError, JsonTextErrorKind};
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio_util::bytes::{Bytes, BytesMut};
use tokio_util::codec::Decoder as _;

/// Members of this name have a special meaning for `serde_json`, so it cannot judge them.
const PRIVATE: &str = "$serde_json::private";

/// A text is a value exactly when `serde_json` reads it and it exceeds none of kv's own bounds. Only the white space
/// between tokens is dropped. A refusal names the first byte that is wrong.
pub fn json_text(data: &[u8]) {
    let Some(text) = judgeable(data) else { return };
    let tree = serde_json::from_str::<Value>(text).ok();
    let facts = Facts::of(text);
    let value = match JsonText::parse(text) {
        Ok(value) => value,
        Err(error) => {
            assert!(tree.is_none() || facts.depth > VALUE_DEPTH || facts.has_nul, "refused");
            assert!(tree.is_none() || error.kind != JsonTextErrorKind::Syntax, "{error}");
            return check_refusal(text, &error);
        }
    };
    let Some(tree) = tree else { panic!("taken, but it is not JSON") };
    assert!(facts.depth <= VALUE_DEPTH && !facts.has_nul, "taken beyond a bound");
    assert_eq!(value.get(), facts.without_space);
    assert_eq!(tree_of(&value), tree);
    assert_eq!(JsonText::parse(value.get()).as_ref(), Ok(&value));
    assert_eq!(JsonText::from_stored(value.get().to_owned()).as_ref(), Ok(&value));
    assert_eq!(Facts::of(&value.pretty()).without_space, value.get());
}

/// What stands before the place of an error could have been continued, and what stands there breaks the rule.
fn check_refusal(text: &str, error: &JsonTextError) {
    let (before, rest) = text.split_at(error.offset);
    if let Err(unfinished) = JsonText::parse(before) {
        assert_eq!(
            (unfinished.kind, unfinished.offset),
            (JsonTextErrorKind::Syntax, before.len()),
            "{error}"
        );
    }
    let breaks = match error.kind {
        JsonTextErrorKind::Syntax => true,
        JsonTextErrorKind::TooDeep => Facts::of(&text[..=error.offset]).depth == VALUE_DEPTH + 1,
        JsonTextErrorKind::NulEscape => rest.starts_with("\\u0000"),
        JsonTextErrorKind::LoneSurrogate => {
            let unit = rest.get(2..6).and_then(|digits| u16::from_str_radix(digits, 16).ok());
            rest.starts_with("\\u") && unit.is_some_and(|unit| (0xD800..0xE000).contains(&unit))
        }
        other => panic!("{other:?} has no rule here"),
    };
    assert!(breaks, "{error}");
}

/// A merge gives what RFC 7396 says, in a text that is a value; what the patch does not name keeps its text
/// and its place.
///
/// The input is the target, a zero byte, and the patch; a target that is not a value is a missing one.
pub fn merge_patch(data: &[u8]) {
    let Some(middle) = data.iter().position(|&byte| byte == 0) else { return };
    let value = |data| judgeable(data).and_then(|text| JsonText::parse(text).ok());
    let (target, Some(patch)) = (value(&data[..middle]), value(&data[middle + 1..])) else { return };
    let merged = merge(target.as_ref(), &patch);
    assert_eq!(tree_of(&merged), rfc_7396(target.as_ref().map(tree_of), &tree_of(&patch)));
    assert_eq!(JsonText::parse(merged.get()).as_ref(), Ok(&merged));
    assert_eq!(merge(Some(&merged), &patch), merged, "a second merge changes nothing");
    if let Some(target) = target {
        check_kept(target.get(), patch.get(), merged.get());
    }
}

fn check_kept(target: &str, patch: &str, merged: &str) {
    let (Some(target), Some(patch)) = (members(target), members(patch)) else { return };
    let merged = members(merged).unwrap_or_default();
    let removed = |name: &str| find(&patch, name) == Some("null");
    let old: Vec<_> = target.iter().filter(|(name, _)| !removed(name)).collect();
    let new = patch.iter().filter(|(name, _)| !removed(name) && find(&target, name).is_none());
    let expected: Vec<&str> = old.iter().copied().chain(new).map(|(name, _)| name.as_str()).collect();
    let names: Vec<&str> = merged.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, expected);
    for (name, value) in old {
        let now = find(&merged, name).unwrap_or_default();
        match find(&patch, name) {
            None => assert_eq!(now, value.get(), "{name}"),
            Some(change) => check_kept(value.get(), change, now),
        }
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

/// A line is a request, which is the same once it was encoded and read again, or an error that the client caused,
/// which is the same once it was told.
pub fn request_line(data: &[u8]) {
    let sent = std::str::from_utf8(data).ok().and_then(members);
    match decode_request(data) {
        Ok(incoming) => {
            let Some(sent) = sent else { panic!("taken, but it is not an object") };
            assert_eq!(incoming.id.as_ref().map(Id::as_json), find(&sent, "id"));
            let timeout_ms = incoming.timeout_ms.map(|timeout_ms| timeout_ms.to_string());
            assert_eq!(timeout_ms.as_deref(), find(&sent, "timeout_ms"));
            let id = incoming.id.unwrap_or_else(|| Id::number(1));
            let line = encode_request(&id, &incoming.call);
            let line = one_line(&line);
            let Ok(again) = decode_request(line.as_bytes()) else { panic!("refused: {line}") };
            assert_eq!((again.id, again.call), (Some(id), incoming.call));
            check_meaning(&sent, &members(line).unwrap_or_default());
        }
        Err((id, error)) => {
            let caused =
                [Code::ParseError, Code::BadRequest, Code::UnknownOp, Code::UnknownField, Code::TooLarge];
            assert!(caused.contains(&error.code) && !error.maybe && !error.message.is_empty(), "{error:?}");
            assert_eq!(error.code == Code::ParseError, sent.is_none(), "{error:?}");
            let about_id = error.details.field.as_deref() == Some("id");
            let id_sent = sent.as_ref().and_then(|sent| find(sent, "id"));
            assert!(id.is_some() || id_sent.is_none() || about_id, "the id is not told: {error:?}");
            assert!(id.as_ref().is_none_or(|id| String::from_utf8_lossy(data).contains(id.as_json())));

            let line = encode_reply(id.as_ref(), Err(error.clone()));
            let line = one_line(&line);
            let told = members(line).unwrap_or_default();
            assert_eq!(find(&told, "id"), id.as_ref().map(Id::as_json));
            assert_eq!(decode_reply(&Request::Init, line.as_bytes()).err(), Some(error));
        }
    }
}

/// What was sent stands in the encoding of what was understood, and nothing else does: a field that is passed over
/// could be a condition.
fn check_meaning(sent: &Members, encoded: &Members) {
    for (name, text) in sent.iter().filter(|(name, _)| !["id", "timeout_ms"].contains(&name.as_str())) {
        let value = || serde_json::from_str::<Value>(text.get()).ok();
        let understood = match (name.as_str(), find(encoded, name)) {
            ("value" | "patch", Some(again)) => {
                JsonText::parse(text.get()).is_ok_and(|text| text.get() == again)
            }
            ("mutations", Some(again)) => {
                let (sent, again) = (parts(text.get()), parts(again));
                assert_eq!(sent.len(), again.len());
                for (sent, again) in sent.iter().zip(&again) {
                    check_meaning(sent, again);
                }
                true
            }
            ("created" | "updated" | "expires", Some(again)) => {
                let instant = |text| serde_json::from_str::<Timestamp>(text).ok();
                instant(text.get()).is_some_and(|sent| instant(again) == Some(sent))
            }
            ("by", Some("1")) if text.get() == "null" => true,
            ("seq", Some("0")) => matches!(text.get(), "0" | "null"),
            (_, Some(again)) => value() == serde_json::from_str(again).ok(),
            // A null is a field that was not given; else the encoder spells a delete of one key like one of several.
            ("key", None) => {
                text.get() == "null" || find(encoded, "keys") == Some(json!([value()]).to_string().as_str())
            }
            // What is asked for without the field, too.
            ("offset", None) => matches!(text.get(), "0" | "null"),
            ("limit", None) => text.get().starts_with('-') || text.get() == "null",
            ("version" | "revision", None) => matches!(text.get(), "-1" | "null"),
            ("on_conflict", None) => [Some(json!("fail")), Some(Value::Null)].contains(&value()),
            ("format", None) => [Some(json!("merge")), Some(Value::Null)].contains(&value()),
            ("prefix", None) => matches!(text.get(), "\"\"" | "null"),
            (_, None) => matches!(text.get(), "false" | "null"),
        };
        assert!(understood, "{name}: {text} became {:?}", find(encoded, name));
    }
    for (name, text) in encoded.iter().filter(|(name, _)| !["id", "keys"].contains(&name.as_str())) {
        assert!(
            find(sent, name).is_some() || [("seq", "0"), ("by", "1")].contains(&(name.as_str(), text.get())),
            "{name}: {text} was not sent"
        );
    }
}

fn one_line(line: &[u8]) -> &str {
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix('\n'));
    let Some(line) = line.filter(|line| !line.contains('\n')) else { panic!("not one line") };
    line
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

/// The members of an object with their text, in order; of those with one name the last.
pub type Members = Vec<(String, Box<RawValue>)>;

/// The members of a text, if it is an object.
pub fn members(text: &str) -> Option<Members> {
    struct Object;
    impl<'de> Visitor<'de> for Object {
        type Value = Members;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
            let mut members = Members::new();
            while let Some((name, value)) = map.next_entry::<String, _>()? {
                members.retain(|(earlier, _)| *earlier != name);
                members.push((name, value));
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Object).ok()?;
    reader.end().ok().map(|()| members)
}

fn find<'a>(members: &'a Members, name: &str) -> Option<&'a str> {
    members.iter().find(|(found, _)| found == name).map(|(_, value)| value.get())
}

/// The objects of an array.
fn parts(text: &str) -> Vec<Members> {
    let parts: Vec<Box<RawValue>> = serde_json::from_str(text).unwrap_or_default();
    parts.iter().map(|part| members(part.get()).unwrap_or_default()).collect()
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
