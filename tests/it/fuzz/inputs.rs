//! Inputs that are nearly right.

use proptest::prelude::*;
use proptest::sample::Index;

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

/// Real requests: those of the golden lines.
pub(super) fn request_lines() -> impl Strategy<Value = String> + Clone {
    let golden = include_str!("../../golden/kv1.txt");
    let lines: Vec<String> =
        golden.lines().filter_map(|line| line.strip_prefix("> ")).map(str::to_owned).collect();
    prop::sample::select(lines)
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
