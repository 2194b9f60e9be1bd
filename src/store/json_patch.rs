//! JSON Patch (RFC 6902).
//!
//! The json-patch crate reads the operations and applies `add`, `replace` and `copy`. Four things are done here,
//! because it or `serde_json` does them otherwise (json-patch 5.0.0, `serde_json` 1.0.154 with `preserve_order` and
//! `arbitrary_precision`):
//!
//! - `remove` (and so `move`) in an object: the crate calls `Map::remove`, which is `swap_remove` under
//!   `preserve_order` and puts the last member into the gap
//!   (<https://docs.rs/serde_json/1/serde_json/struct.Map.html#method.remove>);
//! - `test`: RFC 6902 §4.6 compares numbers by value, `arbitrary_precision` by spelling;
//! - bounds: a patch of a few lines can double a document a thousand times, nest it without end, or copy a big
//!   member for hours;
//! - names that `serde_json` uses inside to carry numbers and raw text are refused: an object with such a member
//!   would be read as something else.
//!
//! A document that was patched may spell a number another way (`1E2` → `1e+2`), spells strings in `serde_json`'s
//! way, and of duplicate members has the last one.

use std::slice;

use json_patch::jsonptr::Pointer;
use json_patch::jsonptr::index::Index;
use json_patch::{AddOperation, PatchOperation};
use serde_json::Value;
use serde_json::value::RawValue;

use super::work::{Work, WorkExceeded};
use crate::limits::VALUE_DEPTH;
use crate::plain_words;
use crate::store::json_text::JsonText;

/// Members of this kind are how `serde_json` carries `Number` and `RawValue` through serde; it has no way to tell
/// them from a document's own.
const RESERVED_NAME: &str = "$serde_json::private::";

/// Why a patch was not applied; the target is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonPatchError {
    /// It is not a JSON Patch document (RFC 6902 §3, §4).
    #[error("not a JSON Patch: {0}")]
    Invalid(String),
    /// An operation failed (RFC 6902 §5).
    #[error("operation {index} of the JSON Patch failed: {message}")]
    Failed {
        /// The operation, from 0.
        index: usize,
        /// Why.
        message: String,
    },
    /// An operation would pass a bound of size or of work.
    #[error("operation {index} of the JSON Patch is too large: {message}")]
    TooLarge {
        /// The operation, from 0.
        index: usize,
        /// Which bound.
        message: String,
    },
}

/// Applies the operations of `patch` to `target` in order, all or none, while the document stays within
/// `max_bytes` of text and [`VALUE_DEPTH`], and the operations within the work that reading both allows.
///
/// `work` counts the work, also of a patch that fails.
///
/// # Errors
///
/// See [`JsonPatchError`]. The whole patch is read before its first operation is applied.
pub(crate) fn json_patch(
    target: &JsonText,
    patch: &JsonText,
    max_bytes: usize,
    work: &mut Work,
) -> Result<JsonText, JsonPatchError> {
    work.read(patch.get().len(), 0);
    let operations = read_operations(patch)?;
    work.read(0, operations.len());
    let of_target = |message: String| JsonPatchError::Failed { index: 0, message };
    if may_hold_reserved_name(target.get()) {
        return Err(of_target(reserved("the document")));
    }
    let value: Value =
        target.to().map_err(|error| of_target(format!("the document cannot be patched: {error}")))?;
    let extent = Extent::of(&value);
    work.read(target.get().len(), extent.elements);
    work.bound_by_reading();
    let mut document = Document { value, bytes: extent.bytes, max_bytes, work };
    for (index, operation) in operations.iter().enumerate() {
        document.apply(operation).map_err(|fault| match fault {
            Fault::Failed(message) => JsonPatchError::Failed { index, message },
            Fault::TooLarge(message) => JsonPatchError::TooLarge { index, message },
        })?;
    }
    let index = operations.len().saturating_sub(1);
    let text = JsonText::of(&document.value)
        .map_err(|error| JsonPatchError::Failed { index, message: error.to_string() })?;
    if text.get().len() > max_bytes {
        return Err(JsonPatchError::TooLarge { index, message: over(text.get().len(), max_bytes) });
    }
    Ok(text)
}

fn read_operations(patch: &JsonText) -> Result<Vec<PatchOperation>, JsonPatchError> {
    if may_hold_reserved_name(patch.get()) {
        return Err(JsonPatchError::Invalid(reserved("the patch")));
    }
    let texts: Vec<&RawValue> = serde_json::from_str(patch.get())
        .map_err(|_| JsonPatchError::Invalid("expected an array of operations".to_owned()))?;
    let read = |(index, text): (usize, &&RawValue)| {
        // serde would read an array of an operation's fields too.
        if !text.get().starts_with('{') {
            return Err(JsonPatchError::Invalid(format!("operation {index} is not an object")));
        }
        serde_json::from_str(text.get()).map_err(|error| {
            JsonPatchError::Invalid(format!("operation {index}: {}", plain_words::of_json(&error)))
        })
    };
    texts.iter().enumerate().map(read).collect()
}

/// Errs on the safe side: the name anywhere in a string counts too, but no spelling of it passes.
fn may_hold_reserved_name(text: &str) -> bool {
    if text.contains(RESERVED_NAME) {
        return true;
    }
    // `\u0024` and the like spell ASCII; no other escape spells a character of the name.
    if !text.contains("\\u00") {
        return false;
    }
    let mut parts = text.split("\\u00");
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.extend(code.map(char::from));
        decoded.push_str(part.get(2..).unwrap_or(part));
    }
    decoded.contains(RESERVED_NAME)
}

fn reserved(what: &str) -> String {
    format!("{what} holds the text `{RESERVED_NAME}`, which this implementation keeps for itself")
}

fn over(bytes: usize, max_bytes: usize) -> String {
    format!("the document would have {bytes} bytes, the limit is {max_bytes}")
}

enum Fault {
    Failed(String),
    TooLarge(String),
}

/// The document between two operations.
struct Document<'a> {
    value: Value,
    /// An estimate of its text's length; only the escapes in member names can make it wrong.
    bytes: usize,
    max_bytes: usize,
    work: &'a mut Work,
}

impl From<WorkExceeded> for Fault {
    fn from(WorkExceeded: WorkExceeded) -> Fault {
        let message = "the operations copy, move and compare too much for the size of the document";
        Fault::TooLarge(message.to_owned())
    }
}

impl Document<'_> {
    fn apply(&mut self, operation: &PatchOperation) -> Result<(), Fault> {
        match operation {
            PatchOperation::Test(test) => {
                if !same(find(&self.value, &test.path)?, &test.value, self.work)? {
                    return Err(Fault::Failed(format!("test: `{}` has another value", test.path)));
                }
                Ok(())
            }
            PatchOperation::Remove(remove) => self.take(&remove.path).map(drop),
            PatchOperation::Add(add) => {
                let extent = measure(&add.value, self.work)?;
                self.admit(&add.path, extent)?;
                self.delegate(operation)
            }
            PatchOperation::Replace(replace) => {
                find(&self.value, &replace.path)?;
                let extent = measure(&replace.value, self.work)?;
                self.admit(&replace.path, extent)?;
                self.delegate(operation)
            }
            PatchOperation::Copy(copy) => {
                let extent = measure(find(&self.value, &copy.from)?, self.work)?;
                self.admit(&copy.path, extent)?;
                self.delegate(operation)
            }
            PatchOperation::Move(mov) => {
                // RFC 6902 §4.4: into itself is an error; onto itself changes nothing, the order neither.
                if mov.path == mov.from {
                    return find(&self.value, &mov.from).map(drop);
                }
                if mov.path.as_str().strip_prefix(mov.from.as_str()).is_some_and(|rest| rest.starts_with('/'))
                {
                    return Err(Fault::Failed(format!("move: `{}` lies inside `{}`", mov.path, mov.from)));
                }
                let value = self.take(&mov.from)?;
                let extent = measure(&value, self.work)?;
                self.admit(&mov.path, extent)?;
                self.delegate(&PatchOperation::Add(AddOperation { path: mov.path.clone(), value }))
            }
        }
    }

    fn delegate(&mut self, operation: &PatchOperation) -> Result<(), Fault> {
        json_patch::patch_unsafe(&mut self.value, slice::from_ref(operation))
            .map_err(|error| Fault::Failed(format!("`{}`: {}", error.path, error.kind)))
    }

    /// Counts a value that is about to come to `path`, and refuses it if it breaks a bound.
    fn admit(&mut self, path: &Pointer, incoming: Extent) -> Result<(), Fault> {
        if path.count() + incoming.depth > VALUE_DEPTH {
            let message = format!("`{path}`: the document would nest deeper than {VALUE_DEPTH}");
            return Err(Fault::Failed(message));
        }
        let mut leaving = 0;
        let mut around = 0;
        match path.split_back() {
            None => leaving = self.bytes,
            Some((parent, name)) => match self.value.pointer(parent.as_str()) {
                Some(Value::Object(members)) => match members.get(name.decoded().as_ref()) {
                    Some(present) => leaving = measure(present, self.work)?.bytes,
                    None => around = around_member(&name.decoded()),
                },
                Some(Value::Array(elements)) => {
                    around = 1;
                    self.work.pass(0, elements.len())?;
                }
                _ => return Err(nothing_at(parent)),
            },
        }
        self.work.copy(incoming.bytes, incoming.elements)?;
        let bytes = (self.bytes + around + incoming.bytes).saturating_sub(leaving);
        if bytes > self.max_bytes {
            return Err(Fault::TooLarge(over(bytes, self.max_bytes)));
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Removes what is at `path` and keeps the order of the rest.
    fn take(&mut self, path: &Pointer) -> Result<Value, Fault> {
        let Some((parent, name)) = path.split_back() else {
            return Err(Fault::Failed("the whole document cannot be removed".to_owned()));
        };
        let parent = self.value.pointer_mut(parent.as_str());
        let (taken, around, shifted) = match parent {
            Some(Value::Object(members)) => {
                let name = name.decoded();
                (members.shift_remove(name.as_ref()), around_member(&name), members.len())
            }
            Some(Value::Array(elements)) => {
                let place = match name.to_index() {
                    Ok(Index::Num(place)) if place < elements.len() => Some(place),
                    _ => None,
                };
                (place.map(|place| elements.remove(place)), 1, elements.len())
            }
            _ => (None, 0, 0),
        };
        let taken = taken.ok_or_else(|| nothing_at(path))?;
        self.bytes = self.bytes.saturating_sub(measure(&taken, self.work)?.bytes + around);
        self.work.pass(0, shifted)?;
        Ok(taken)
    }
}

fn find<'a>(value: &'a Value, path: &Pointer) -> Result<&'a Value, Fault> {
    value.pointer(path.as_str()).ok_or_else(|| nothing_at(path))
}

/// How much space a value takes; computing it visits the whole value.
fn measure(value: &Value, work: &mut Work) -> Result<Extent, WorkExceeded> {
    let extent = Extent::of(value);
    work.pass(extent.bytes, extent.elements)?;
    Ok(extent)
}

fn nothing_at(path: &Pointer) -> Fault {
    Fault::Failed(format!("there is nothing at `{path}`"))
}

/// The quotes, the colon and the comma of a member, and its name.
fn around_member(name: &str) -> usize {
    name.len() + 4
}

/// How much space a value takes in a document.
#[derive(Clone, Copy)]
struct Extent {
    bytes: usize,
    depth: usize,
    /// The value itself, and every element and member inside it.
    elements: usize,
}

impl Extent {
    fn of(value: &Value) -> Self {
        let scalar = |bytes| Self { bytes, depth: 0, elements: 1 };
        match value {
            Value::Null | Value::Bool(true) => scalar(4),
            Value::Bool(false) => scalar(5),
            Value::Number(number) => scalar(number.as_str().len()),
            Value::String(text) => scalar(2 + text.bytes().map(escaped_len).sum::<usize>()),
            Value::Array(elements) => Self::around(elements.iter().map(|element| (1, element))),
            Value::Object(members) => {
                Self::around(members.iter().map(|(name, member)| (around_member(name), member)))
            }
        }
    }

    fn around<'a>(parts: impl Iterator<Item = (usize, &'a Value)>) -> Self {
        // The one comma too many makes up for one bracket, in an empty container it is one byte too few.
        parts.fold(Self { bytes: 1, depth: 1, elements: 1 }, |whole, (around, part)| {
            let part = Self::of(part);
            Self {
                bytes: whole.bytes + around + part.bytes,
                depth: whole.depth.max(part.depth + 1),
                elements: whole.elements + part.elements,
            }
        })
    }
}

/// What `serde_json` writes for a byte of a string.
fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0C => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

impl JsonText {
    /// Whether both are the same JSON, whatever their spelling: numbers are compared by value, objects in any order of
    /// their members (RFC 6902 §4.6). A text with a name that kv uses inside equals only the same text.
    #[must_use]
    pub fn is_equal(&self, other: &JsonText) -> bool {
        if self == other || [self, other].iter().any(|text| may_hold_reserved_name(text.get())) {
            return self == other;
        }
        match (self.to(), other.to()) {
            (Ok(left), Ok(right)) => same(&left, &right, &mut Work::unbounded()).unwrap_or(false),
            _ => false,
        }
    }
}

/// Equality of RFC 6902 §4.6: numbers by value, objects in any order.
fn same(left: &Value, right: &Value, work: &mut Work) -> Result<bool, WorkExceeded> {
    work.pass(0, 1)?;
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            let (left, right) = (left.as_str(), right.as_str());
            work.copy(left.len() + right.len(), usize::from(left != right))?;
            Ok(left == right || decimal(left).is_some_and(|number| Some(number) == decimal(right)))
        }
        (Value::String(left), Value::String(right)) => {
            work.pass(left.len().min(right.len()), 0)?;
            Ok(left == right)
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (left, right) in left.iter().zip(right) {
                if !same(left, right, work)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
            for (name, left) in left {
                work.pass(name.len(), 0)?;
                match right.get(name) {
                    Some(right) if same(left, right, work)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
        (Value::Null, Value::Null) => Ok(true),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        _ => Ok(false),
    }
}

/// A number's sign, digits without outer zeros, and exponent; none if the exponent is beyond all measure.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let cut = digits.trim_end_matches('0');
    let significant = cut.trim_start_matches('0');
    if significant.is_empty() {
        return Some((false, String::new(), 0));
    }
    let point = i64::try_from(digits.len() - cut.len()).ok()? - i64::try_from(fraction.len()).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(point)?;
    Some((negative, significant.to_owned(), exponent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use JsonPatchError::{Failed, Invalid, TooLarge};

    use crate::limits;

    const MAX_BYTES: usize = 1 << 20;

    fn patched(target: &str, patch: &str) -> Result<String, JsonPatchError> {
        let (target, patch) = (JsonText::parse(target).unwrap(), JsonText::parse(patch).unwrap());
        json_patch(&target, &patch, MAX_BYTES, &mut Work::unbounded()).map(|text| text.to_string())
    }

    fn failed_at(target: &str, patch: &str) -> usize {
        match patched(target, patch) {
            Err(Failed { index, .. }) => index,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_patch_is_invalid() {
        for patch in [
            "{}",
            "1",
            "null",
            "[1]",
            "[null]",
            "[{}]",
            r#"[["remove","/a"]]"#,
            r#"[{"op":"grow","path":"/a"}]"#,
            r#"[{"op":"add","path":"/a"}]"#,
            r#"[{"op":"add","value":1}]"#,
            r#"[{"op":"copy","path":"/a"}]"#,
            r#"[{"op":"remove","path":"a"}]"#,
            r#"[{"op":"remove","path":"/~2"}]"#,
            r#"[{"op":"remove","path":1}]"#,
            // Its first operation could be applied.
            r#"[{"op":"remove","path":"/a"},{"op":"remove"}]"#,
        ] {
            assert!(matches!(patched(r#"{"a":1}"#, patch), Err(Invalid(_))), "{patch}");
        }
        let Err(Invalid(message)) = patched("{}", r#"[{"op":"add","path":"/a"}]"#) else { panic!() };
        assert!(message.starts_with("operation 0: missing field `value`"), "{message}");
    }

    #[test]
    fn the_index_tells_which_operation_failed() {
        let ok = r#"{"op":"add","path":"/b","value":1}"#;
        for failing in [
            r#"{"op":"remove","path":"/x"}"#,
            r#"{"op":"remove","path":""}"#,
            r#"{"op":"replace","path":"/x","value":1}"#,
            r#"{"op":"copy","from":"/x","path":"/y"}"#,
            r#"{"op":"move","from":"/x","path":"/y"}"#,
            r#"{"op":"move","from":"/o","path":"/o/p"}"#,
            r#"{"op":"move","from":"","path":"/o"}"#,
            r#"{"op":"add","path":"/a/3","value":1}"#,
            r#"{"op":"add","path":"/a/01","value":1}"#,
            r#"{"op":"add","path":"/a/x","value":1}"#,
            r#"{"op":"remove","path":"/a/-"}"#,
            r#"{"op":"remove","path":"/a/2"}"#,
            r#"{"op":"replace","path":"/a/-","value":1}"#,
            r#"{"op":"test","path":"/x","value":null}"#,
            r#"{"op":"add","path":"/n/x","value":1}"#,
        ] {
            let patch = format!("[{ok},{failing}]");
            assert_eq!(failed_at(r#"{"a":[1,2],"o":{},"n":1}"#, &patch), 1, "{failing}");
        }
    }

    #[test]
    fn order_and_numbers_stay() {
        for (patch, result) in [
            (r#"[{"op":"remove","path":"/a"}]"#, r#"{"b":1.10,"c":9007199254740993,"d":[1,2,3]}"#),
            (
                r#"[{"op":"move","from":"/b","path":"/b"}]"#,
                r#"{"a":0,"b":1.10,"c":9007199254740993,"d":[1,2,3]}"#,
            ),
            (r#"[{"op":"move","from":"/a","path":"/c"}]"#, r#"{"b":1.10,"c":0,"d":[1,2,3]}"#),
            (
                r#"[{"op":"move","from":"/d/0","path":"/d/-"}]"#,
                r#"{"a":0,"b":1.10,"c":9007199254740993,"d":[2,3,1]}"#,
            ),
            (
                r#"[{"op":"add","path":"","value":{"x":123456789012345678901.50}}]"#,
                r#"{"x":123456789012345678901.50}"#,
            ),
            (
                r#"[{"op":"copy","from":"","path":"/d"}]"#,
                r#"{"a":0,"b":1.10,"c":9007199254740993,"d":{"a":0,"b":1.10,"c":9007199254740993,"d":[1,2,3]}}"#,
            ),
            ("[]", r#"{"a":0,"b":1.10,"c":9007199254740993,"d":[1,2,3]}"#),
        ] {
            let target = r#"{"a":0,"b":1.10,"c":9007199254740993,"d":[1,2,3]}"#;
            assert_eq!(patched(target, patch).as_deref(), Ok(result), "{patch}");
        }
        assert_eq!(
            patched(r#"{"ab":1,"a":2}"#, r#"[{"op":"move","from":"/a","path":"/ab"}]"#).as_deref(),
            Ok(r#"{"ab":2}"#)
        );
        assert_eq!(patched("[1E2]", "[]").as_deref(), Ok("[1e+2]"));
    }

    #[test]
    fn test_compares_numbers_by_value_and_objects_in_any_order() {
        for (left, right) in [
            ("100", "1E2"),
            ("1.10", "1.1"),
            ("-0", "0.0"),
            ("0e5", "0"),
            ("12300e-2", "123"),
            ("-1.5", "-15e-1"),
            (r#"{"a":1,"b":[2.0]}"#, r#"{"b":[2],"a":1}"#),
            ("1e99999999999999999999", "1e99999999999999999999"),
        ] {
            let patch = format!(r#"[{{"op":"test","path":"","value":{right}}}]"#);
            assert!(patched(left, &patch).is_ok(), "{left} {right}");
        }
        for (left, right) in [
            ("9007199254740993", "9007199254740992"),
            ("1", "-1"),
            ("1", "10"),
            ("1", "\"1\""),
            ("[1]", "[1,1]"),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#),
            ("null", "false"),
            ("1e99999999999999999999", "1e99999999999999999998"),
        ] {
            assert_eq!(
                failed_at(left, &format!(r#"[{{"op":"test","path":"","value":{right}}}]"#)),
                0,
                "{left} {right}"
            );
        }
    }

    #[test]
    fn a_document_cannot_be_doubled_a_thousand_times() {
        let doubling = vec![r#"{"op":"copy","from":"","path":"/-"}"#; 1_000].join(",");
        match patched(r#"["abcdefgh"]"#, &format!("[{doubling}]")) {
            Err(TooLarge { index, .. }) => assert!(index < 20, "{index}"),
            other => panic!("{:?}", other.map(|text| text.len())),
        }
    }

    /// The work of a patch, and its outcome.
    fn work_of(target: &str, operation: &str, times: usize) -> (u64, Result<(), JsonPatchError>) {
        let target = JsonText::parse(target).unwrap();
        let patch = JsonText::parse(&format!("[{}]", vec![operation; times].join(","))).unwrap();
        let mut work = Work::unbounded();
        let outcome = json_patch(&target, &patch, 8 << 20, &mut work).map(drop);
        (work.spent(), outcome)
    }

    /// Each of these lines is short, and touches all of something large.
    #[test]
    fn an_operation_counts_for_what_it_touches() {
        const LARGE: usize = 1 << 15;
        let text = format!(r#"{{"big":"{}"}}"#, "x".repeat(LARGE));
        let numbers = format!("[{}0]", "0,".repeat(LARGE));
        let in_object = format!(r#"{{"big":{numbers}}}"#);
        let wide = format!("{{{}}}", (0..LARGE).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(","));
        let long = format!(r#"{{"big":{}}}"#, "1".repeat(LARGE));
        let (copied, passed) = (limits::WORK_OF_ELEMENT, limits::WORK_OF_PASSED_ELEMENT);
        for (target, operation, work_of_each) in [
            (&text, r#"{"op":"copy","from":"/big","path":"/copy"}"#, 1),
            (
                &text,
                r#"{"op":"move","from":"/big","path":"/big2"},{"op":"move","from":"/big2","path":"/big"}"#,
                1,
            ),
            (&in_object, r#"{"op":"copy","from":"/big","path":"/copy"}"#, copied),
            (&numbers, r#"{"op":"move","from":"/0","path":"/-"}"#, passed),
            (&numbers, r#"{"op":"add","path":"/0","value":1}"#, passed),
            (&numbers, r#"{"op":"remove","path":"/0"}"#, passed),
            (&wide, r#"{"op":"move","from":"/0","path":"/x"},{"op":"move","from":"/x","path":"/0"}"#, passed),
            (&long, r#"{"op":"test","path":"/big","value":1}"#, 1),
        ] {
            let (read, _) = work_of(target, operation, 0);
            let times = if operation.contains("test") { 1 } else { 8 };
            let (spent, _) = work_of(target, operation, times);
            let least = times as u64 * LARGE as u64 * work_of_each * 9 / 10;
            assert!(spent - read >= least, "{operation}: {} of {least}", spent - read);
        }
    }

    #[test]
    fn a_patch_may_cost_a_multiple_of_what_it_is_applied_to() {
        let array = |elements| format!(r#"{{"big":[{}0],"copy":0}}"#, "0,".repeat(elements));
        let copy = r#"{"op":"copy","from":"/big","path":"/copy"}"#;
        let tests = r#"{"op":"test","path":"/copy","value":0}"#;
        for (elements, fit, too_many) in [(1_000, 500, 10_000), (50_000, 10, 1_280)] {
            assert_eq!(work_of(&array(elements), copy, fit).1, Ok(()), "{elements} {fit}");
            let refused = work_of(&array(elements), copy, too_many).1;
            assert!(matches!(refused, Err(TooLarge { .. })), "{elements} {too_many}: {refused:?}");
        }
        assert_eq!(
            work_of(&array(50_000), tests, 10_000).1,
            Ok(()),
            "small operations beside something large"
        );
        // A thousand inserts in front of 10,000 elements must not be refused.
        let insert = r#"{"op":"add","path":"/0","value":1}"#;
        assert_eq!(work_of(&format!("[{}0]", "0,".repeat(9_000)), insert, 1_000).1, Ok(()));
    }

    #[test]
    fn the_limit_of_size_is_exact() {
        let target = JsonText::parse(r#"{"a":[],"b":{"c":[1,{"d":"x\ny"}]},"e":{}}"#).unwrap();
        let patch = JsonText::parse(
            r#"[{"op":"remove","path":"/b/c/1"},{"op":"add","path":"/f","value":"12\"45"},{"op":"add","path":"/a/0","value":true},
                {"op":"replace","path":"/e","value":[[],[null]]},{"op":"copy","from":"/e","path":"/g"},{"op":"add","path":"/h","value":"!"}]"#,
        )
        .unwrap();
        let within = |max_bytes| json_patch(&target, &patch, max_bytes, &mut Work::unbounded());
        let result = within(MAX_BYTES).unwrap();
        assert_eq!(within(result.get().len()).unwrap(), result);
        let below = within(result.get().len() - 1);
        assert!(matches!(below, Err(TooLarge { .. })), "{below:?}");
    }

    #[test]
    fn depth_is_bounded_after_each_operation() {
        let deeper = r#"{"op":"copy","from":"","path":"/a"}"#;
        let patch = format!("[{}]", vec![deeper; 100].join(","));
        assert_eq!(failed_at(r#"{"b":1}"#, &patch), 99);
        let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let bottom = "/0".repeat(99);
        assert_eq!(failed_at(&nested, &format!(r#"[{{"op":"add","path":"{bottom}/0","value":[]}}]"#)), 0);
        assert!(patched(&nested, &format!(r#"[{{"op":"add","path":"{bottom}/0","value":1}}]"#)).is_ok());
        let moved = r#"[{"op":"move","from":"/b","path":"/a/0"}]"#;
        let half = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(failed_at(&format!(r#"{{"a":[],"b":{}}}"#, half(99)), moved), 0);
        assert!(patched(&format!(r#"{{"a":[],"b":{}}}"#, half(98)), moved).is_ok());
    }

    #[test]
    fn names_that_serde_json_uses_inside_are_refused() {
        let add = r#"[{"op":"add","path":"/b","value":1}]"#;
        for name in [
            "$serde_json::private::Number",
            "$serde_json::private::RawValue",
            r"\u0024serde_json\u003a\u003A\u0070rivate::Number",
        ] {
            let object = format!(r#"{{"{name}":"1"}}"#);
            assert_eq!(failed_at(&object, add), 0, "{name}");
            let patch = format!(r#"[{{"op":"add","path":"/b","value":{object}}}]"#);
            assert!(matches!(patched("{}", &patch), Err(Invalid(_))), "{name}");
        }
        assert!(patched(r#"{"$serde_json":"\u0024é\u00e9\\u00"}"#, add).is_ok());
    }
}
