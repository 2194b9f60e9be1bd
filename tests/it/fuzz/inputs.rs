//! Inputs that are nearly right.

use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::value::RawValue;

use super::bodies::members;

/// Strings made of what JSON is made of, mostly not quite JSON.
pub(super) fn jsonish() -> impl Strategy<Value = String> + Clone {
    let token = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"a\":",
        "\\",
        "\\n",
        "\\u",
        "\\u0041",
        "\\ud83d\\ude00",
        "0",
        "1",
        "-",
        ".",
        "e",
        "E+",
        "1.5",
        "true",
        "false",
        "null",
        " ",
        "\n",
        "\t",
        "é",
        "\u{1}",
        "[]",
        "{}",
        "[1,2]",
        "a long stretch of plain characters, more than a block",
    ]);
    prop::collection::vec(token, 0..12).prop_map(|tokens| tokens.concat())
}

/// Valid JSON with white space.
pub(super) fn json() -> impl Strategy<Value = String> + Clone {
    let scalar = prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        "\"([ a-zA-Zé{}:,]|\\\\[\"\\\\/bfnrt]|\\\\u[1-9a-c][0-9a-fA-F]{3}){0,50}\"",
        prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned),
    ];
    let space = "[ \t\r\n]{0,2}";
    scalar.prop_recursive(6, 64, 5, move |inner| {
        let array = (prop::collection::vec((space, inner.clone()), 0..5), space).prop_map(|(parts, end)| {
            let parts: Vec<String> =
                parts.iter().map(|(space, part)| format!("{space}{part}{space}")).collect();
            format!("[{}{end}]", parts.join(","))
        });
        let object = prop::collection::vec((space, "[ab]{0,2}", inner), 0..5).prop_map(|parts| {
            let parts: Vec<String> =
                parts.iter().map(|(s, name, part)| format!("{s}\"{name}\"{s}:{s}{part}{s}")).collect();
            format!(" {{{}}} ", parts.join(","))
        });
        prop_oneof![array, object]
    })
}

/// Nesting about the limit of depth, mostly with each bracket closed by its own kind.
pub(super) fn nested() -> impl Strategy<Value = String> + Clone {
    let pair = prop::sample::select(vec![("[", "]"), ("{\"a\":", "}"), ("[0,", "]"), (" [ ", ",1]")]);
    let inner = prop::sample::select(vec!["0", "[]", "{}", "\"[{\"", "", "]"]);
    (prop::collection::vec(pair, 95..135), inner).prop_map(|(pairs, inner)| {
        let open: String = pairs.iter().map(|(open, _)| *open).collect();
        let close: String = pairs.iter().rev().map(|(_, close)| *close).collect();
        format!("{open}{inner}{close}")
    })
}

/// Strings with every kind of escape, and numbers beyond every type, in a small document.
pub(super) fn escapes_and_numbers() -> impl Strategy<Value = String> + Clone {
    let piece = prop::sample::select(vec![
        "a",
        "é",
        "😀",
        "\\n",
        "\\\\",
        "\\\"",
        "\\/",
        "\\u0041",
        "\\u0000",
        "\\ud83d",
        "\\uDE00",
        "\\uD83D\\ude00",
        "\\uDBFF",
        "\\udfff",
        "\\uD7FF",
        "\\ue000",
        "\\u12",
        "\\x",
        "\u{7f}",
        "\u{1f}",
    ]);
    let string = prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()));
    let number = "-?(0|00|[1-9][0-9]{0,40})(\\.[0-9]{0,40})?([eE][+-]?[0-9]{0,12})?";
    prop_oneof![
        string.clone(),
        number,
        (string, number).prop_map(|(string, number)| format!("{{{string}: [{number}, {string}]}}")),
    ]
}

/// Documents of few names, also spelled with escapes, so that a patch meets what it patches.
pub(super) fn documents() -> impl Strategy<Value = String> + Clone {
    let scalar = prop::sample::select(vec!["null", "1", "1.10", "\"x\"", "[]", "{}"]).prop_map(str::to_owned);
    scalar.prop_recursive(5, 64, 5, |inner| {
        let name = prop::sample::select(vec!["a", "b", "c", "\\u0061", "\\\\u0061", "", "é", "\\u00e9"]);
        let object = prop::collection::vec((name, inner.clone()), 0..6).prop_map(|members| {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let array = prop::collection::vec(inner, 0..3).prop_map(|parts| format!("[{}]", parts.join(",")));
        prop_oneof![4 => object, 1 => array]
    })
}

/// Real requests: those of the golden lines, and those that are not shown there.
pub(super) fn request_lines() -> impl Strategy<Value = String> + Clone {
    let golden = include_str!("../../golden/kv1.txt").lines().filter_map(|line| line.strip_prefix("> "));
    let more = [
        r#"{"id":7,"op":"hello","timeout_ms":1000}"#,
        r#"{"id":-1,"op":"shutdown"}"#,
        r#"{"id":"\ud83d\ude00","op":"count","type":"User"}"#,
        r#"{"op":"list","from":"a","to":"b","offset":2,"limit":-1,"reverse":true,"keys_only":false}"#,
        r#"{"op":"stream.get","seq":18446744073709551615,"limit":5,"prefix":"a/","type":"User"}"#,
        r#"{"op":"put","key":"a","value":[1.10,"\u0041"],"version":-1,"revision":0,"type":null}"#,
        r#"{"op":"patch","key":"a","format":"merge","patch":{},"once":"a","fence":{"lock":"l","token":3}}"#,
        r#"{"op":"lock.list","after":"d"}"#,
        r#"{"op":"delete","all":true,"prefix":""}"#,
    ];
    prop::sample::select(golden.chain(more).map(str::to_owned).collect::<Vec<_>>())
}

/// Requests that are JSON, with members that are missing, come twice, have other names or other values.
pub(super) fn reworked_requests() -> impl Strategy<Value = String> + Clone {
    // The last ones are what serde accepts by default for a struct, an enum and a number.
    let value = prop::sample::select(vec![
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1",
        "-1",
        "-9",
        "1.0",
        "1e2",
        "9223372036854775808",
        "1e999",
        "18446744073709551616",
        "\"\"",
        "\"a\"",
        "\"\\u0061\"",
        "\"\\ud800\"",
        "\"\\u0000\"",
        "[]",
        "{}",
        "[\"a\"]",
        "[null]",
        "{\"lock\":\"a\",\"token\":1,\"x\":1}",
        "[\"deploy\",1]",
        "{\"json-patch\":null}",
        "{\"merge\":null}",
        "{\"$serde_json::private::Number\":\"1\"}",
        "{\"$serde_json::private::RawValue\":\"1\"}",
    ]);
    let name = prop::sample::select(vec![
        "id",
        "op",
        "timeout_ms",
        "key",
        "keys",
        "value",
        "version",
        "revision",
        "type",
        "once",
        "fence",
        "prefix",
        "from",
        "to",
        "all",
        "offset",
        "limit",
        "after",
        "reverse",
        "seq",
        "format",
        "patch",
        "return",
        "mutations",
        "name",
        "\\u006bey",
        "x",
    ]);
    let change = (0..4, any::<Index>(), name, prop_oneof![3 => value.prop_map(str::to_owned), 1 => json()]);
    (request_lines(), prop::collection::vec(change, 1..4)).prop_map(|(line, changes)| {
        let mut members = members(&line).unwrap_or_default();
        for (kind, place, name, value) in changes {
            let place = place.index(members.len().max(1));
            match (kind, members.get_mut(place)) {
                (0, Some(_)) => drop(members.remove(place)),
                (1 | 2, Some((_, present))) => *present = RawValue::from_string(value).unwrap(),
                _ => members.push((name.to_owned(), RawValue::from_string(value).unwrap())),
            }
        }
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}

/// What went wrong on the way: a few bytes are other ones, or too many, or too few, or come once more.
pub(super) fn mangled(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        6 => prop::sample::select(b"{}[]\",:\\u0d81-.eE \n\0".to_vec()),
        1 => any::<u8>(),
    ];
    let damage = (0..5, any::<Index>(), any::<Index>(), byte);
    (text, prop::collection::vec(damage, 1..4)).prop_map(|(text, damages)| {
        let mut bytes = text.into_bytes();
        for (kind, start, end, byte) in damages {
            let start = start.index(bytes.len() + 1);
            let end = start + end.index((bytes.len() - start).min(16) + 1);
            let part = bytes[start..end].to_vec();
            match kind {
                0 => bytes.insert(start, byte),
                1 => drop(bytes.drain(start..end)),
                2 => bytes.truncate(start),
                3 => drop(bytes.splice(start..start, part)),
                _ => bytes[start..end].fill(byte),
            }
        }
        bytes
    })
}
