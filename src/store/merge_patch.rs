//! JSON Merge Patch (RFC 7396) on text.
//!
//! A merge through a tree of values would respell numbers, drop duplicates and reorder members that nobody asked
//! to change. Here an object is cut into the raw slices of its members, and those that the patch does not name are
//! copied as they are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::work::Work;
use crate::store::json_text::JsonText;

/// Merges `patch` into `target` as RFC 7396 §2 says; no target is `MergePatch({}, patch)`, so nulls vanish.
///
/// Members keep their place, new ones follow in the order of the patch. Names are equal when they are equal after
/// decoding: `"a"` is `"\u0061"`, and the target's spelling stays. Of members of one object with the same name, in
/// the patch and in each object that it merges into, the last one counts and stays where it stands; the earlier
/// ones go. The result nests no deeper than the deeper of the two, because it is made of their members at their own
/// depths.
///
/// The recursion follows the patch, which must come from [`JsonText::parse`] and so has a bounded depth; the target
/// may be of any depth.
///
/// # Panics
///
/// Never: the result is made of parts of valid JSON.
#[must_use]
pub fn merge_patch(target: Option<&JsonText>, patch: &JsonText) -> JsonText {
    merge_patch_counted(target, patch, &mut Work::unbounded())
}

/// Merges, and counts the work. Only the size of the two texts and their depth bound it: each object that the patch
/// changes is read once more.
pub(crate) fn merge_patch_counted(target: Option<&JsonText>, patch: &JsonText, work: &mut Work) -> JsonText {
    let mut out = String::with_capacity(patch.get().len() + target.map_or(0, |target| target.get().len()));
    merge(target.map(JsonText::get), patch.get(), &mut out, work);
    #[expect(
        clippy::expect_used,
        reason = "brackets, commas and members of valid objects make a valid object"
    )]
    JsonText::from_stored(out).expect("a merge of two JSON texts is JSON on one line")
}

fn merge(target: Option<&str>, patch: &str, out: &mut String, work: &mut Work) {
    let Some(changes) = members(patch, work) else {
        out.push_str(patch);
        return;
    };
    let kept = target.and_then(|target| members(target, work)).unwrap_or_default();
    let places: HashMap<&str, usize> =
        changes.iter().enumerate().map(|(place, change)| (&*change.name, place)).collect();
    let mut used = vec![false; changes.len()];

    out.push('{');
    let start = out.len();
    for member in &kept {
        match places.get(&*member.name) {
            None => {
                push_name(member, start, out);
                out.push_str(member.value);
            }
            Some(&place) => {
                used[place] = true;
                let change = changes[place].value;
                if change != "null" {
                    push_name(member, start, out);
                    merge(Some(member.value), change, out, work);
                }
            }
        }
    }
    for (change, used) in changes.iter().zip(used) {
        if !used && change.value != "null" {
            push_name(change, start, out);
            merge(None, change.value, out, work);
        }
    }
    out.push('}');
}

fn push_name(member: &Member<'_>, start: usize, out: &mut String) {
    if out.len() > start {
        out.push(',');
    }
    out.push_str(member.spelling);
    out.push(':');
}

/// One member of an object, as slices of its text.
struct Member<'a> {
    /// The decoded name, to compare.
    name: Cow<'a, str>,
    /// The name as it stands, in its quotes.
    spelling: &'a str,
    value: &'a str,
}

/// The members of an object without the earlier ones of duplicates, or none if the text is not an object.
fn members<'a>(text: &'a str, work: &mut Work) -> Option<Vec<Member<'a>>> {
    // deserialize_map reads only objects, and the texts here are valid, so that an error says "not an object".
    let mut found = serde_json::Deserializer::from_str(text).deserialize_map(Members).ok()?;
    work.read(text.len(), found.len());
    let mut later = HashSet::with_capacity(found.len());
    let mut stays: Vec<bool> = found.iter().rev().map(|member| later.insert(&*member.name)).collect();
    // Built from the last member on, so that its end is the first one's.
    found.retain(|_| stays.pop() == Some(true));
    Some(found)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            members.push(Member { name: decode(name.get()), spelling: name.get(), value: value.get() });
        }
        Ok(members)
    }
}

/// The name that a string spells. A lone surrogate, which only stored text can hold, spells none: such a name
/// stands for itself, quotes and all.
fn decode(spelling: &str) -> Cow<'_, str> {
    if !spelling.contains('\\') {
        return Cow::Borrowed(spelling.trim_matches('"'));
    }
    serde_json::from_str(spelling).map_or(Cow::Borrowed(spelling), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(target: &str, patch: &str) -> String {
        let target = JsonText::parse(target).unwrap();
        merge_patch(Some(&target), &JsonText::parse(patch).unwrap()).to_string()
    }

    #[test]
    fn the_rest_keeps_its_text_and_its_place() {
        assert_eq!(
            merged(
                r#"{"z":1E2,"b":{"x":1.10,"y":[1,1]},"a":"\u0041"}"#,
                r#"{"new":-0,"b":{"y":null,"w":2}}"#
            ),
            r#"{"z":1E2,"b":{"x":1.10,"w":2},"a":"\u0041","new":-0}"#
        );
    }

    #[test]
    fn names_are_equal_when_they_decode_to_the_same() {
        assert_eq!(merged(r#"{"\u0061":1,"b":2}"#, r#"{"a":3,"\u0062":null}"#), r#"{"\u0061":3}"#);
        assert_eq!(merged(r#"{"":1,"\"":2}"#, r#"{"":3,"\u0022":4}"#), r#"{"":3,"\"":4}"#);
    }

    #[test]
    fn of_duplicates_the_last_one_counts() {
        assert_eq!(merged(r#"{"a":1,"b":2,"a":3}"#, r#"{"c":4}"#), r#"{"b":2,"a":3,"c":4}"#);
        assert_eq!(
            merged(r#"{"a":{"x":1},"b":2,"a":{"y":1}}"#, r#"{"a":{"z":1}}"#),
            r#"{"b":2,"a":{"y":1,"z":1}}"#
        );
        assert_eq!(merged(r#"{"a":1}"#, r#"{"a":2,"b":1,"a":null,"b":3}"#), r#"{"b":3}"#);
        assert_eq!(merged(r#"{"a":{"x":1,"x":2},"b":0}"#, r#"{"b":1}"#), r#"{"a":{"x":1,"x":2},"b":1}"#);
    }

    #[test]
    fn no_target_is_an_empty_object() {
        for (patch, result) in [
            (r#"{"a":1,"b":null,"c":{"d":null,"e":[null]}}"#, r#"{"a":1,"c":{"e":[null]}}"#),
            ("[{\"a\":null}]", "[{\"a\":null}]"),
            ("null", "null"),
        ] {
            assert_eq!(merge_patch(None, &JsonText::parse(patch).unwrap()).get(), result);
        }
    }

    #[test]
    fn a_target_that_kv_did_not_write_is_merged_too() {
        let stored = |text: &str| JsonText::from_stored(text.to_owned()).unwrap();
        let patch = stored(r#"{"a":2}"#);
        let result = merge_patch(Some(&stored(" {\"\\ud800\" : 1 , \"a\\u0000\":0, \"a\" : 1} ")), &patch);
        assert_eq!(result.get(), r#"{"\ud800":1,"a\u0000":0,"a":2}"#);
        let deep = format!("{{\"b\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(merge_patch(Some(&stored(&deep)), &patch).get().len(), deep.len() + 6);
    }

    #[test]
    fn depth_100_merges() {
        let nested = |inner: &str| format!("{}{inner}{}", "{\"a\":".repeat(99), "}".repeat(99));
        assert_eq!(merged(&nested(r#"{"b":1}"#), &nested(r#"{"c":2}"#)), nested(r#"{"b":1,"c":2}"#));
    }

    #[test]
    fn large_objects_merge_in_linear_time() {
        let object = |from: usize| {
            let members: Vec<String> =
                (from..from + 100_000).map(|number| format!("\"{number}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        let start = std::time::Instant::now();
        let result = merged(&object(0), &object(50_000));
        assert_eq!(result.matches(':').count(), 150_000);
        assert!(start.elapsed().as_secs() < 20, "a quadratic merge takes minutes");
    }
}
