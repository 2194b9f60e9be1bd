//! JSON kept as text, so that a value comes back as it was written.
//!
//! A tree of values would lose duplicate members and the spelling of numbers. serde's [`RawValue`] keeps the text,
//! but accepts any depth, `\u0000` and lone surrogates (tested with `serde_json` 1.0.154). PostgreSQL has no text
//! for the last two (<https://www.postgresql.org/docs/current/datatype-json.html>), and many readers of JSON are
//! recursive. So one scanner holds the rules of every value: RFC 8259 strictly, without those three. It is a loop,
//! because a recursive one would need the depth limit for its own safety.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::limits::VALUE_DEPTH;

/// One JSON value as text.
///
/// From [`parse`](JsonText::parse) and [`of`](JsonText::of) it has no white space between tokens, nests at most
/// [`VALUE_DEPTH`] deep and holds no `\u0000` and no lone surrogate; from [`from_stored`](JsonText::from_stored) it
/// is only valid JSON on one line. Equality is that of the text: `1.0` and `1.00` differ. Clones share the text.
#[derive(Clone)]
pub struct JsonText(Arc<RawValue>);

impl JsonText {
    /// Reads strict JSON (RFC 8259) and drops the white space between tokens; every other byte stays.
    ///
    /// # Errors
    ///
    /// When the text is not JSON or breaks one of the rules above, with the position of the first byte that does: see
    /// [`JsonTextErrorKind`].
    pub fn parse(text: &str) -> Result<Self, JsonTextError> {
        let mut scanner = Scanner { text, bytes: text.as_bytes(), ..Scanner::default() };
        scanner.run()?;
        let compact = if scanner.kept == 0 {
            text.to_owned()
        } else {
            scanner.keep_until(text.len());
            scanner.out
        };
        // A second scan, by serde: the only safe constructor of a RawValue. It costs less than the first.
        Ok(Self(RawValue::from_string(compact)?.into()))
    }

    /// Serialises a value of the program.
    ///
    /// # Errors
    ///
    /// Those of serde, for example for a map whose keys are not strings, and those of [`parse`](JsonText::parse).
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonTextError> {
        Self::parse(&serde_json::to_string(value)?)
    }

    /// Takes a text back from a database, where another program may have changed it.
    ///
    /// Checks only what later code relies on: that it is JSON, and that it has no newline, which would end a line of
    /// the protocol too early. It may be of any depth, so it must be read without recursion.
    ///
    /// # Errors
    ///
    /// When the text is not JSON or has more than one line.
    #[doc(hidden)]
    pub fn from_stored(text: String) -> Result<Self, JsonTextError> {
        // Searching for whether there is one is much faster than for where it is.
        if text.as_bytes().contains(&b'\n') {
            let offset = text.bytes().position(|byte| byte == b'\n').unwrap_or(0);
            return refuse(JsonTextErrorKind::Syntax, offset, "a stored JSON text holds a newline");
        }
        Ok(Self(RawValue::from_string(text)?.into()))
    }

    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    /// The text as serde's type, to embed it in a larger document.
    #[must_use]
    pub fn as_raw(&self) -> &RawValue {
        &self.0
    }

    /// Reads the text into a type of the program.
    ///
    /// # Errors
    ///
    /// When the JSON does not fit the type.
    pub fn to<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        serde_json::from_str(self.get())
    }

    /// The text for people: indented by two spaces, with every token unchanged.
    #[must_use]
    pub fn pretty(&self) -> String {
        let mut out = String::with_capacity(self.get().len() * 2);
        let (mut depth, mut opened) = (0_usize, false);
        let (mut in_string, mut escaped) = (false, false);
        for char in self.get().chars() {
            if in_string {
                out.push(char);
                in_string = escaped || char != '"';
                escaped = char == '\\' && !escaped;
                continue;
            }
            if char.is_ascii_whitespace() {
                continue;
            }
            let closes = matches!(char, '}' | ']');
            depth = depth.saturating_sub(usize::from(closes));
            // Neither between the brackets of an empty container nor before a value in the middle of a line.
            if opened != closes {
                new_line(&mut out, depth);
            }
            opened = matches!(char, '{' | '[');
            depth += usize::from(opened);
            out.push(char);
            match char {
                ',' => new_line(&mut out, depth),
                ':' => out.push(' '),
                '"' => in_string = true,
                _ => {}
            }
        }
        out
    }
}

/// Begins a line that is indented by the depth, up to [`VALUE_DEPTH`]. Stored text may be deeper, and would make the
/// output grow with the square of its depth.
fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(VALUE_DEPTH) {
        out.push_str("  ");
    }
}

/// One pass over a text: checks it, and collects it without the white space between its tokens.
#[derive(Default)]
struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Everything before this position is in `out` or was dropped. 0 until the first white space.
    kept: usize,
    out: String,
    depth: usize,
    /// One bit for each open container, the innermost lowest: 1 for an object.
    objects: u128,
}

// A container more than the limit is refused before it is pushed.
const _: () = assert!(VALUE_DEPTH <= u128::BITS as usize);

impl Scanner<'_> {
    fn run(&mut self) -> Result<(), JsonTextError> {
        loop {
            self.skip_space();
            match self.peek() {
                Some(opening @ (b'{' | b'[')) => {
                    self.open(opening == b'{')?;
                    // In ASCII each closing bracket is two behind its opening one.
                    if self.peek() != Some(opening + 2) {
                        if opening == b'{' {
                            self.member_name("a member name in quotes or `}`")?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string()?,
                Some(b'-' | b'0'..=b'9') => self.number()?,
                _ => self.literal()?,
            }
            if self.after_value()? {
                return Ok(());
            }
        }
    }

    /// Closes what ends here; true at the end of the text, false where the next value must follow.
    fn after_value(&mut self) -> Result<bool, JsonTextError> {
        loop {
            self.skip_space();
            let in_object = self.objects & 1 == 1;
            match self.peek() {
                None if self.depth == 0 => return Ok(true),
                _ if self.depth == 0 => return self.expected("the end of the text"),
                Some(b',') => {
                    self.at += 1;
                    if in_object {
                        self.member_name("a member name in quotes")?;
                    }
                    return Ok(false);
                }
                Some(byte) if byte == if in_object { b'}' } else { b']' } => {
                    self.depth -= 1;
                    self.objects >>= 1;
                    self.at += 1;
                }
                _ => return self.expected(if in_object { "`,` or `}`" } else { "`,` or `]`" }),
            }
        }
    }

    fn open(&mut self, object: bool) -> Result<(), JsonTextError> {
        if self.depth == VALUE_DEPTH {
            let what = format!("arrays and objects nest deeper than {VALUE_DEPTH}");
            return refuse(JsonTextErrorKind::TooDeep, self.at, &what);
        }
        self.depth += 1;
        self.objects = self.objects << 1 | u128::from(object);
        self.at += 1;
        self.skip_space();
        Ok(())
    }

    fn member_name(&mut self, expected: &str) -> Result<(), JsonTextError> {
        self.skip_space();
        if self.peek() != Some(b'"') {
            return self.expected(expected);
        }
        self.string()?;
        self.skip_space();
        if self.take(b':') { Ok(()) } else { self.expected("`:`") }
    }

    fn string(&mut self) -> Result<(), JsonTextError> {
        self.at += 1;
        loop {
            self.skip_plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                None => return self.expected("`\"` at the end of the string"),
                Some(_) => return self.expected("an escape instead of this control character"),
            }
        }
    }

    /// Skips to the next quote, backslash or control character.
    fn skip_plain(&mut self) {
        let rest = &self.bytes[self.at..];
        let plain = |word: &&[u8; 8]| !has_special(u64::from_ne_bytes(**word));
        let skipped = rest.as_chunks().0.iter().take_while(plain).count() * 8;
        let special = |&byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
        let rest = &rest[skipped..];
        self.at += skipped + rest.iter().position(special).unwrap_or(rest.len());
    }

    /// RFC 8259 §7; the escape stays as it is spelled.
    fn escape(&mut self) -> Result<(), JsonTextError> {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'u') => {}
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                return Ok(());
            }
            _ => return self.expected("one of `\"\\/bfnrtu` after the backslash"),
        }
        match self.code_unit()? {
            0 => refuse(JsonTextErrorKind::NulEscape, start, "`\\u0000` is not allowed"),
            0xD800..=0xDBFF if self.take(b'\\') && matches!(self.code_unit()?, 0xDC00..=0xDFFF) => Ok(()),
            0xD800..=0xDFFF => {
                refuse(JsonTextErrorKind::LoneSurrogate, start, "a surrogate escape is not one of a pair")
            }
            _ => Ok(()),
        }
    }

    /// Reads `u` and four hexadecimal digits. Any other escape is not a code unit and gives 0.
    fn code_unit(&mut self) -> Result<u32, JsonTextError> {
        if !self.take(b'u') {
            return Ok(0);
        }
        let mut unit = 0;
        for _ in 0..4 {
            match self.peek().and_then(|byte| char::from(byte).to_digit(16)) {
                Some(digit) => unit = unit * 16 + digit,
                None => return self.expected("four hexadecimal digits after `\\u`"),
            }
            self.at += 1;
        }
        Ok(unit)
    }

    /// RFC 8259 §6.
    fn number(&mut self) -> Result<(), JsonTextError> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        } else if matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.expected("no digit after a leading 0");
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _sign = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonTextError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    fn literal(&mut self) -> Result<(), JsonTextError> {
        let rest = &self.bytes[self.at..];
        match ["true", "false", "null"].iter().find(|word| rest.starts_with(word.as_bytes())) {
            Some(word) => self.at += word.len(),
            None => return self.expected("a JSON value"),
        }
        Ok(())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn skip_space(&mut self) {
        let start = self.at;
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        if self.at > start {
            self.keep_until(start);
            self.kept = self.at;
        }
    }

    fn keep_until(&mut self, end: usize) {
        if self.out.is_empty() {
            self.out.reserve(self.text.len() - self.kept);
        }
        self.out.push_str(&self.text[self.kept..end]);
    }

    fn expected<T>(&self, expected: &str) -> Result<T, JsonTextError> {
        let found = match self.text[self.at..].chars().next() {
            None => "the text ends".to_owned(),
            Some(found) => format!("found `{}`", found.escape_debug()),
        };
        refuse(JsonTextErrorKind::Syntax, self.at, &format!("{found}, expected {expected}"))
    }
}

fn refuse<T>(kind: JsonTextErrorKind, offset: usize, what: &str) -> Result<T, JsonTextError> {
    Err(JsonTextError { kind, message: format!("{what} (at byte {offset})"), offset })
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.get())
    }
}

impl PartialEq for JsonText {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl Eq for JsonText {}

impl FromStr for JsonText {
    type Err = JsonTextError;

    fn from_str(text: &str) -> Result<Self, JsonTextError> {
        Self::parse(text)
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

/// Whether one of the eight bytes of a word is a quote, a backslash or a control character, all bytes tested at once
/// (<https://graphics.stanford.edu/~seander/bithacks.html#ZeroInWord>).
fn has_special(word: u64) -> bool {
    let all = |byte: u8| u64::from_ne_bytes([byte; 8]);
    // The high bit of each byte that is less than `bound`, which is at most 0x80. Those above it are never wrong but behind a
    // byte that is right, so the answer for the whole word is exact.
    let less = |word: u64, bound: u8| word.wrapping_sub(all(bound)) & !word & all(0x80);
    (less(word ^ all(b'"'), 1) | less(word ^ all(b'\\'), 1) | less(word, 0x20)) != 0
}

/// Why a text is not accepted as a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
#[non_exhaustive]
pub struct JsonTextError {
    /// The rule that is broken, for programs.
    pub kind: JsonTextErrorKind,
    /// The fault and its position, for people.
    pub message: String,
    /// The offset of the fault in the text, in bytes; 0 when it is not known.
    pub offset: usize,
}

/// As [`from_stored`](JsonText::from_stored).
impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        JsonText::from_stored(raw.get().to_owned()).map_err(D::Error::custom)
    }
}

impl From<serde_json::Error> for JsonTextError {
    /// serde gives the position in lines and columns, in its message.
    fn from(error: serde_json::Error) -> Self {
        Self { kind: JsonTextErrorKind::Syntax, message: error.to_string(), offset: 0 }
    }
}

/// The rules of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JsonTextErrorKind {
    /// It is not JSON (RFC 8259).
    Syntax,
    /// It nests deeper than [`VALUE_DEPTH`].
    TooDeep,
    /// It holds the escape `\u0000`.
    NulEscape,
    /// It holds half of a surrogate pair.
    LoneSurrogate,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kind(text: &str) -> JsonTextErrorKind {
        match JsonText::parse(text) {
            Ok(_) => panic!("{text:?} was taken"),
            Err(error) => error.kind,
        }
    }

    #[test]
    fn only_white_space_between_tokens_goes() {
        for (text, compact) in [
            (" null ", "null"),
            ("\t{\r\n \"b\" : [ 1 , 2 ] ,\"a\":{ } }\n", r#"{"b":[1,2],"a":{}}"#),
            ("[ ]", "[]"),
            ("[ \" a  b \" , \"\\n\\u00e9\\/é\" ]", r#"[" a  b ","\n\u00e9\/é"]"#),
            (r#"{"a":1,"a":2}"#, r#"{"a":1,"a":2}"#),
            ("\"\u{7f}\u{2028}\u{1F600}\"", "\"\u{7f}\u{2028}\u{1F600}\""),
        ] {
            assert_eq!(JsonText::parse(text).unwrap().get(), compact);
        }
    }

    #[test]
    fn numbers_keep_their_spelling() {
        for text in [
            "0",
            "-0",
            "1E2",
            "1.10",
            "-1.5e+10",
            "0.0e-0",
            "9007199254740993",
            "1e999999",
            "123456789012345678901",
        ] {
            assert_eq!(JsonText::parse(text).unwrap().get(), text);
        }
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            "",
            " ",
            "01",
            "-01",
            "1.",
            ".5",
            "+1",
            "-",
            "1e",
            "1e+",
            "0x10",
            "NaN",
            "Infinity",
            "nul",
            "nulll",
            "True",
            "[1,]",
            "[,1]",
            "[1 2]",
            "[",
            "]",
            "[}",
            "{]",
            "{",
            "}",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1 \"b\":2}",
            "{1:2}",
            "1 2",
            "{} {}",
            "[]]",
            "\"",
            "\"a",
            "\"\\",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\uD83D\\u12\"",
            "\"\t\"",
            "\"\n\"",
            "\"\u{1}\"",
            "'a'",
            "\u{FEFF}1",
            "1\u{a0}",
            "// 1",
            "[1]\0",
        ] {
            assert_eq!(kind(text), JsonTextErrorKind::Syntax, "{text:?}");
        }
    }

    #[test]
    fn nul_and_lone_surrogates_are_refused() {
        for text in [r#""\u0000""#, r#"{"a\u0000b":1}"#, r#"["\\\u0000"]"#] {
            assert_eq!(kind(text), JsonTextErrorKind::NulEscape, "{text}");
        }
        for text in [
            r#""\ud800""#,
            r#""\uDBFFx""#,
            r#""\ud800\n""#,
            r#""\ud800\ud800""#,
            r#""\udc00""#,
            r#"{"\uDfFf":1}"#,
            r#""\ud800\u0041""#,
        ] {
            assert_eq!(kind(text), JsonTextErrorKind::LoneSurrogate, "{text}");
        }
        for text in [r#""\\u0000""#, r#""\\ud800""#, r#""\ud83d\uDE00""#, r#""\uD7FF\uE000\uFFFF""#] {
            assert_eq!(JsonText::parse(text).unwrap().get(), text);
        }
    }

    #[test]
    fn depth_has_a_limit() {
        let nested =
            |open: &str, close: &str, depth| format!("{}{}", open.repeat(depth), close.repeat(depth));
        assert!(JsonText::parse(&nested("[", "]", 100)).is_ok());
        assert_eq!(kind(&nested("[", "]", 101)), JsonTextErrorKind::TooDeep);
        assert_eq!(kind(&"[".repeat(1_000_000)), JsonTextErrorKind::TooDeep);
        assert!(JsonText::parse(&format!("{}1{}", "{\"a\":".repeat(100), "}".repeat(100))).is_ok());
        assert_eq!(kind(&"{\"a\":".repeat(101)), JsonTextErrorKind::TooDeep);
        assert!(JsonText::parse(&format!("[{}1]", "[[]],{\"a\":{}},".repeat(1_000))).is_ok());
    }

    #[test]
    fn mixed_brackets_are_matched_at_every_depth() {
        let opens = "[{\"a\":".repeat(50);
        assert!(JsonText::parse(&format!("{opens}0{}", "}]".repeat(50))).is_ok());
        assert_eq!(kind(&format!("{opens}0{}", "]}".repeat(50))), JsonTextErrorKind::Syntax);
    }

    #[test]
    fn an_error_says_what_and_where() {
        let error = JsonText::parse("[1, é]").unwrap_err();
        assert_eq!(
            (error.to_string().as_str(), error.offset),
            ("found `é`, expected a JSON value (at byte 4)", 4)
        );
        let error = JsonText::parse("{\"a\" 1}").unwrap_err();
        assert_eq!(error.message, "found `1`, expected `:` (at byte 5)");
        assert_eq!(
            JsonText::parse("").unwrap_err().message,
            "the text ends, expected a JSON value (at byte 0)"
        );
    }

    #[test]
    fn stored_text_is_json_on_one_line() {
        assert_eq!(JsonText::from_stored("[1, 2]".to_owned()).unwrap().get(), "[1, 2]");
        assert!(JsonText::from_stored("[".repeat(1_000) + &"]".repeat(1_000)).is_ok());
        for text in ["[1,\n2]", "[1", "", "1 2"] {
            assert!(JsonText::from_stored(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn pretty_changes_white_space_only() {
        let json = JsonText::parse(r#"{"a\"{":[1.0,{}, []],"b":{"c":"x, y: \\"},"d":[]}"#).unwrap();
        let pretty = r#"{
  "a\"{": [
    1.0,
    {},
    []
  ],
  "b": {
    "c": "x, y: \\"
  },
  "d": []
}"#;
        assert_eq!(json.pretty(), pretty);
        assert_eq!(JsonText::from_stored("[ ]".to_owned()).unwrap().pretty(), "[]");
    }

    #[test]
    fn serde_embeds_the_text_as_it_is() {
        let json: JsonText = "{\"n\": 1E2}".parse().unwrap();
        assert_eq!(serde_json::to_string(&[&json]).unwrap(), r#"[{"n":1E2}]"#);
        assert_eq!(JsonText::of(&vec![json.clone()]).unwrap().get(), r#"[{"n":1E2}]"#);
        assert_eq!(JsonText::of("a\0").unwrap_err().kind, JsonTextErrorKind::NulEscape);
        assert_eq!(json.to::<serde_json::Value>().unwrap()["n"].as_f64(), Some(100.0));
        assert_eq!(
            (format!("{json:?}"), json.to_string()),
            (json.get().to_owned(), json.as_raw().get().to_owned())
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_word_is_tested_as_its_bytes_are(bytes in prop_oneof![any::<[u8; 8]>(), any::<[u8; 8]>().prop_map(|bytes| bytes.map(|byte| byte % 0x24))]) {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            prop_assert_eq!(has_special(u64::from_ne_bytes(bytes)), bytes.iter().any(special));
        }

        #[test]
        fn strings_of_any_length_are_scanned_to_their_end(plain in "[a-zé]{0,100}", rest in "[a-z]{0,40}") {
            let text = format!("[\"{plain}\\\"{rest}\"]");
            let json = JsonText::parse(&text).unwrap();
            prop_assert_eq!(json.get(), &text);
            let broken = format!("[\"{plain}\u{1f}{rest}\"]");
            prop_assert_eq!(JsonText::parse(&broken).unwrap_err().offset, plain.len() + 2);
        }
    }
}
