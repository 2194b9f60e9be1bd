//! The form of a write whose hashes stand in `kv_once` without a version: those of kv before the
//! [canonical form](super::canonical_form).
//!
//! Such a row is one day old at most, so this file can go as soon as no store is brought here directly from such a
//! version. Until then a write that is repeated across the update is still known. The text is the one that serde made
//! of the types as they were; it is frozen.

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::store::request::{
    Check, Condition, Delete, ExpiryChange, Mutation, Patch, PatchFormat, Put, Selector, Target, Trim,
    TypeChange, WriteOperation,
};

/// The hash of what is asked for; none for what no such version knew.
pub(super) fn fingerprint(operation: &WriteOperation) -> Option<String> {
    let text = match operation {
        WriteOperation::Apply(mutation) => variant("Apply", &mutation_text(mutation)?),
        WriteOperation::Mutate(mutations) => {
            let texts = mutations.iter().map(mutation_text).collect::<Option<Vec<_>>>()?;
            variant("Mutate", &list(&texts))
        }
        WriteOperation::Trim(Trim::UpTo(seq)) => variant("Trim", &variant("UpTo", &json(seq))),
        WriteOperation::Trim(Trim::All) => variant("Trim", &json("All")),
        _ => return None,
    };
    Some(super::hex(&Sha256::digest(text)))
}

fn mutation_text(mutation: &Mutation) -> Option<String> {
    Some(match mutation {
        Mutation::Put(Put { key, value, condition, record_type, expiry: ExpiryChange::Clear }) => variant(
            "Put",
            &object(&[
                ("key", json(key)),
                ("value", value.get().to_owned()),
                ("condition", condition_text(*condition)?),
                ("record_type", type_change(record_type)),
            ]),
        ),
        Mutation::Patch(Patch {
            key,
            patch,
            format,
            condition,
            record_type,
            expiry: ExpiryChange::Keep,
            return_value,
        }) => variant(
            "Patch",
            &object(&[
                ("key", json(key)),
                ("patch", patch.get().to_owned()),
                (
                    "format",
                    json(match format {
                        PatchFormat::Merge => "Merge",
                        PatchFormat::JsonPatch => "JsonPatch",
                    }),
                ),
                ("condition", condition_text(*condition)?),
                ("record_type", type_change(record_type)),
                ("return_value", json(return_value)),
            ]),
        ),
        Mutation::Delete(Delete { target, condition, offset, limit }) => variant(
            "Delete",
            &object(&[
                ("target", target_text(target)),
                ("condition", condition_text(*condition)?),
                ("offset", json(offset)),
                ("limit", json(limit)),
            ]),
        ),
        Mutation::Check(Check { key, condition }) => {
            variant("Check", &object(&[("key", json(key)), ("condition", condition_text(*condition)?)]))
        }
        Mutation::Put(_)
        | Mutation::Patch(_)
        | Mutation::Import(_)
        | Mutation::Expire(_)
        | Mutation::Increment(_) => return None,
    })
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Keys(keys) => variant("Keys", &json(keys)),
        Target::Selection(selector) => variant(
            "Selection",
            &match selector {
                Selector::All => json("All"),
                Selector::Prefix(prefix) => variant("Prefix", &json(prefix)),
                Selector::Range { from, to } => {
                    variant("Range", &object(&[("from", json(from)), ("to", json(to))]))
                }
                Selector::Type(record_type) => variant("Type", &json(record_type)),
            },
        ),
    }
}

fn condition_text(Condition { version, revision, exists }: Condition) -> Option<String> {
    exists.is_none().then(|| object(&[("version", json(&version)), ("revision", json(&revision))]))
}

fn type_change(change: &TypeChange) -> String {
    match change {
        TypeChange::Keep => json("Keep"),
        TypeChange::Clear => json("Clear"),
        TypeChange::Set(record_type) => variant("Set", &json(record_type)),
    }
}

fn variant(name: &str, content: &str) -> String {
    format!("{{\"{name}\":{content}}}")
}

fn object(members: &[(&str, String)]) -> String {
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn list(elements: &[String]) -> String {
    format!("[{}]", elements.join(","))
}

/// Strings, numbers and lists of them can always be serialised.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
