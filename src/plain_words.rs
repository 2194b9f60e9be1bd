//! What is wrong with a JSON text, in words for people instead of those of a library and of Rust.

/// The reason why a line of JSON is not what was expected, with the byte at which that was seen.
#[must_use]
pub fn of_json(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let (what, place) = message.rsplit_once(" at line ").unwrap_or((&message, ""));
    match place.split_once(" column ") {
        Some(("1", byte)) if byte != "0" => format!("{}, at byte {byte}", of_message(what)),
        _ => of_message(what),
    }
}

/// The words of a message without a place.
#[must_use]
pub fn of_message(message: &str) -> String {
    let exact = match message {
        "EOF while parsing a value" => "it ends where a value is expected",
        "EOF while parsing an object" => "it ends inside an object",
        "EOF while parsing a list" => "it ends inside an array",
        "EOF while parsing a string" => "it ends inside a string",
        "expected ident" => "a word is neither true nor false nor null",
        "expected value" => "a value is expected",
        "key must be a string" => "a member name in quotes is expected",
        "trailing characters" => "something stands behind its end",
        _ => "",
    };
    if !exact.is_empty() {
        return exact.to_owned();
    }
    // What was found may have any words in it.
    let Some((found, expected)) = message.rsplit_once(", expected ") else { return message.to_owned() };
    let expected = match expected {
        "u64" | "u32" => "a whole number that is not negative",
        "i64" | "i32" => "a whole number",
        "f64" => "a number",
        "a sequence" => "an array",
        "a map" => "an object",
        rust if rust.starts_with("struct ") => "an object",
        other => other,
    };
    let kinds = [("invalid type: sequence", "array"), ("invalid type: map", "object")];
    let found = match kinds.into_iter().find(|&(kind, _)| kind == found) {
        Some((_, kind)) => format!("invalid type: {kind}"),
        None => found.replacen("invalid type: floating point `", "invalid type: number `", 1),
    };
    format!("{}, expected {expected}", found.replacen("unknown variant `", "unknown name `", 1))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        #[serde(rename = "count")]
        _count: u64,
        #[serde(rename = "names")]
        _names: Vec<String>,
    }

    #[test]
    fn no_word_of_rust_is_left() {
        for (text, words) in [
            (
                r#"{"count":"u64"}"#,
                r#"invalid type: string "u64", expected a whole number that is not negative, at byte 14"#,
            ),
            (
                r#"{"count":-1}"#,
                "invalid value: integer `-1`, expected a whole number that is not negative, at byte 11",
            ),
            (
                r#"{"count":1.5}"#,
                "invalid type: number `1.5`, expected a whole number that is not negative, at byte 12",
            ),
            (
                r#"{"count":[]}"#,
                "invalid type: array, expected a whole number that is not negative, at byte 9",
            ),
            (r#"{"names":{}}"#, "invalid type: object, expected an array, at byte 9"),
            ("3", "invalid type: integer `3`, expected an object, at byte 1"),
            (r#"{"count":1"#, "it ends inside an object, at byte 10"),
            (r#"{"names":["#, "it ends inside an array, at byte 10"),
            (r#"{"count":nul}"#, "a word is neither true nor false nor null, at byte 13"),
            (r#"{"count":1}"#, "missing field `names`, at byte 11"),
            (r#"{"other":1}"#, "unknown field `other`, expected `count` or `names`, at byte 8"),
            (r#"{"count":1,"names":[]} 2"#, "something stands behind its end, at byte 24"),
        ] {
            let error = serde_json::from_str::<Example>(text).unwrap_err();
            assert_eq!(of_json(&error), words, "{text}");
        }
    }
}
