//! The fields of the operations that write.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::reads::{CountFields, selector};
use super::{limit, signed};
use crate::protocol::Fields;
use crate::protocol::schema::with_op;
use crate::protocol::strict::name;
use crate::store::reply::present;
use crate::store::{
    Check, Code, Condition, Delete, Error, Fence, JsonText, LockRelease, Mutation, Patch, PatchFormat, Put,
    Result, Selector, Target, Trim, TypeChange,
};

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutFields {
    key: String,
    /// Any JSON; null is a value, too.
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    /// Only at this version; 0 = only if the key is absent, -1 = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Only at this revision; 0 = only if the key is absent, -1 = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// Null clears it; without this field it is kept.
    #[schemars(with = "Option<String>")]
    #[serde(rename = "type", default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    record_type: Option<Option<String>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchFields {
    key: String,
    /// As the format says.
    #[schemars(with = "serde_json::Value")]
    patch: Box<RawValue>,
    /// `merge` (RFC 7396) unless given, or `json-patch` (RFC 6902).
    #[serde(default, deserialize_with = "name", skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    /// Only at this version; 0 = only if the key is absent, -1 = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Only at this revision; 0 = only if the key is absent, -1 = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// Null clears it; without this field it is kept.
    #[schemars(with = "Option<String>")]
    #[serde(rename = "type", default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    record_type: Option<Option<String>>,
    /// Whether the reply carries the new value.
    #[serde(rename = "return", default, skip_serializing_if = "std::ops::Not::not")]
    return_value: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "format")]
#[serde(rename_all = "kebab-case")]
enum Format {
    Merge,
    JsonPatch,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DeleteFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// At most 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The first key of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The first key after a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    /// Whether every record is meant.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    /// How many to pass over.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// How many at most; below 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// Only at this version; 0 = only if the key is absent, -1 = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Only at this revision; 0 = only if the key is absent, -1 = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckFields {
    key: String,
    /// Only at this version; 0 = only if the key is absent, -1 = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Only at this revision; 0 = only if the key is absent, -1 = any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct MutateFields {
    /// They are applied in order, all or none.
    #[schemars(schema_with = "mutations_schema")]
    mutations: Vec<Box<RawValue>>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TrimFields {
    /// The last change to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// Every change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseFields {
    name: String,
    owner: String,
    /// Only the grant with this fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
}

/// A fencing token.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "fence")]
#[serde(deny_unknown_fields)]
pub(super) struct FenceFields {
    /// The name of the lock.
    lock: String,
    /// What `lock.acquire` answered as `fence`.
    token: u64,
}

/// Reads the fields of a mutation, by itself or as one of a mutate.
pub(super) fn mutation(op: &str, fields: &Fields<'_>) -> Result<Option<Mutation>> {
    Ok(Some(match op {
        "put" => Mutation::Put(fields.read::<PutFields>(op)?.into_put()?),
        "patch" => Mutation::Patch(fields.read::<PatchFields>(op)?.into_patch()?),
        "delete" => Mutation::Delete(fields.read::<DeleteFields>(op)?.into_delete()?),
        "check" => Mutation::Check(fields.read::<CheckFields>(op)?.into_check()?),
        _ => return Ok(None),
    }))
}

impl MutateFields {
    pub(super) fn into_mutations(self) -> Result<Vec<Mutation>> {
        let read = |(index, raw): (usize, &RawValue)| {
            parse_mutation(raw.get()).map_err(|error| error.at_index(index))
        };
        self.mutations.iter().map(AsRef::as_ref).enumerate().map(read).collect()
    }
}

fn mutations_schema(generator: &mut SchemaGenerator) -> Schema {
    let kinds = [
        with_op("put", PutFields::json_schema(generator)),
        with_op("patch", PatchFields::json_schema(generator)),
        with_op("delete", DeleteFields::json_schema(generator)),
        with_op("check", CheckFields::json_schema(generator)),
    ];
    json_schema!({ "type": "array", "items": { "oneOf": kinds } })
}

/// What `kv mutate` shows as its help.
pub const MUTATE_EXAMPLE: &str = r#"Example:
  printf '%s\n' '{"op":"check","key":"a","version":1}' '{"op":"put","key":"b","value":2}' \
      '{"op":"patch","key":"c","patch":{"n":1}}' '{"op":"delete","prefix":"tmp/"}' | kv mutate"#;

/// Reads a mutation of a mutate: one line of `kv mutate`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_mutation(text: &str) -> Result<Mutation> {
    let Fields(mut fields) = serde_json::from_str(text)
        .map_err(|error| Error::bad_field("mutations", format!("a mutation is a JSON object: {error}")))?;
    let op = fields.iter().position(|(field, _)| field == "op").map(|position| fields.remove(position).1);
    let op: String = op.and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or_else(|| {
        Error::bad_field("op", "a mutation has an op")
            .hint(r#"for example: {"op":"put","key":"a","value":1}"#)
    })?;
    let fields = Fields(fields);
    fields.check_repeated(&op)?;
    mutation(&op, &fields)?.ok_or_else(|| {
        Error::new(Code::UnknownOp, format!("there is no mutation {op:?}"))
            .hint("a mutation is one of put, patch, delete and check")
    })
}

impl PutFields {
    fn into_put(self) -> Result<Put> {
        Ok(Put {
            key: self.key,
            value: JsonText::parse(self.value.get())?,
            condition: condition(self.version, self.revision)?,
            record_type: type_change(self.record_type),
        })
    }
}

impl PatchFields {
    fn into_patch(self) -> Result<Patch> {
        Ok(Patch {
            key: self.key,
            patch: JsonText::parse(self.patch.get())?,
            format: match self.format {
                None | Some(Format::Merge) => PatchFormat::Merge,
                Some(Format::JsonPatch) => PatchFormat::JsonPatch,
            },
            condition: condition(self.version, self.revision)?,
            record_type: type_change(self.record_type),
            return_value: self.return_value,
        })
    }
}

fn type_change(field: Option<Option<String>>) -> TypeChange {
    match field {
        None => TypeChange::Keep,
        Some(None) => TypeChange::Clear,
        Some(Some(record_type)) => TypeChange::Set(record_type),
    }
}

impl DeleteFields {
    fn into_delete(self) -> Result<Delete> {
        let selected = self.prefix.is_some() || self.from.is_some() || self.to.is_some();
        let is_every_prefix = self.prefix.as_deref() == Some("") && self.from.is_none() && self.to.is_none();
        let target = match (self.key, self.keys) {
            (Some(key), None) if !selected && !self.all => Target::Keys(vec![key]),
            (None, Some(keys)) if !selected && !self.all => Target::Keys(keys),
            (None, None) if self.all && (!selected || is_every_prefix) => Target::Selection(Selector::All),
            (None, None) if selected && !self.all => {
                Target::Selection(selector(self.prefix, self.from, self.to, None)?)
            }
            _ => {
                let what = "delete takes one of key, keys, prefix, from with to, and all";
                return Err(Error::bad_field("key", what));
            }
        };
        Ok(Delete {
            target,
            condition: condition(self.version, self.revision)?,
            offset: self.offset.unwrap_or(0),
            limit: limit(self.limit),
        })
    }
}

impl CheckFields {
    fn into_check(self) -> Result<Check> {
        Ok(Check { key: self.key, condition: condition(self.version, self.revision)? })
    }
}

impl TrimFields {
    pub(super) fn into_trim(self) -> Result<Trim> {
        match (self.seq, self.all) {
            (Some(seq), false) => Ok(Trim::UpTo(seq)),
            (None, true) => Ok(Trim::All),
            _ => Err(Error::bad_field("seq", "stream.trim takes either seq or all")),
        }
    }
}

impl ReleaseFields {
    pub(super) fn into_release(self) -> LockRelease {
        LockRelease { name: self.name, owner: self.owner, fence: self.fence, refreshes: None }
    }
}

impl FenceFields {
    pub(super) fn into_fence(self) -> Fence {
        Fence { lock: self.lock, token: self.token }
    }
}

/// -1 means no check, as on the command line.
fn condition(version: Option<i64>, revision: Option<i64>) -> Result<Condition> {
    let number = |field: &str, number: Option<i64>| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u64::try_from(number)
            .map(Some)
            .map_err(|_| Error::bad_field(field, format!("{field} is -1 (no check), 0 (absent) or above"))),
    };
    Ok(Condition { version: number("version", version)?, revision: number("revision", revision)? })
}

impl From<&Put> for PutFields {
    fn from(put: &Put) -> PutFields {
        PutFields {
            key: put.key.clone(),
            value: put.value.as_raw().to_owned(),
            version: put.condition.version.map(signed),
            revision: put.condition.revision.map(signed),
            record_type: type_field(&put.record_type),
        }
    }
}

impl From<&Patch> for PatchFields {
    fn from(patch: &Patch) -> PatchFields {
        PatchFields {
            key: patch.key.clone(),
            patch: patch.patch.as_raw().to_owned(),
            format: (patch.format == PatchFormat::JsonPatch).then_some(Format::JsonPatch),
            version: patch.condition.version.map(signed),
            revision: patch.condition.revision.map(signed),
            record_type: type_field(&patch.record_type),
            return_value: patch.return_value,
        }
    }
}

fn type_field(change: &TypeChange) -> Option<Option<String>> {
    match change {
        TypeChange::Keep => None,
        TypeChange::Clear => Some(None),
        TypeChange::Set(record_type) => Some(Some(record_type.clone())),
    }
}

impl From<&Delete> for DeleteFields {
    fn from(delete: &Delete) -> DeleteFields {
        let (keys, selector) = match &delete.target {
            Target::Keys(keys) => (Some(keys.clone()), CountFields::default()),
            Target::Selection(selector) => (None, CountFields::from(selector)),
        };
        DeleteFields {
            key: None,
            keys,
            prefix: selector.prefix,
            from: selector.from,
            to: selector.to,
            all: delete.target == Target::Selection(Selector::All),
            offset: (delete.offset > 0).then_some(delete.offset),
            limit: delete.limit.map(signed),
            version: delete.condition.version.map(signed),
            revision: delete.condition.revision.map(signed),
        }
    }
}

impl From<&Check> for CheckFields {
    fn from(check: &Check) -> CheckFields {
        CheckFields {
            key: check.key.clone(),
            version: check.condition.version.map(signed),
            revision: check.condition.revision.map(signed),
        }
    }
}

/// A mutation as it is sent, by itself or in a mutate.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum MutationFields {
    Put(PutFields),
    Patch(PatchFields),
    Delete(DeleteFields),
    Check(CheckFields),
}

impl From<&Mutation> for MutationFields {
    fn from(mutation: &Mutation) -> MutationFields {
        match mutation {
            Mutation::Put(put) => MutationFields::Put(put.into()),
            Mutation::Patch(patch) => MutationFields::Patch(patch.into()),
            Mutation::Delete(delete) => MutationFields::Delete(delete.into()),
            Mutation::Check(check) => MutationFields::Check(check.into()),
        }
    }
}

impl From<Trim> for TrimFields {
    fn from(trim: Trim) -> TrimFields {
        match trim {
            Trim::UpTo(seq) => TrimFields { seq: Some(seq), all: false },
            Trim::All => TrimFields { seq: None, all: true },
        }
    }
}

impl From<&LockRelease> for ReleaseFields {
    fn from(release: &LockRelease) -> ReleaseFields {
        let LockRelease { name, owner, fence, .. } = release.clone();
        ReleaseFields { name, owner, fence }
    }
}

impl From<&Fence> for FenceFields {
    fn from(fence: &Fence) -> FenceFields {
        FenceFields { lock: fence.lock.clone(), token: fence.token }
    }
}
