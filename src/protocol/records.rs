//! Records, and the mutations `put`, `patch` and `delete`, by themselves or in a `mutate`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::same_members;
use super::reads::SelectorFields;
use super::request::{FieldGroup, Operations, With, limit, signed};
use super::strict::name;
use super::writes::WithGuards;
use crate::store::reply::present;
use crate::store::whole_ms;
use crate::store::{
    Check, Condition, Delete, Deleted, Error, Expire, ExpiryChange, JsonText, Mutation, Patch, PatchFormat,
    Put, Record, Result, Selector, Target, Timestamp, TypeChange, Written,
};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<WithGuards<WithType<PutFields>>, WrittenBody>("put", |put| {
        put.group.write(put.fields.into_put().map(Mutation::Put)?)
    });
    operations.add::<WithGuards<WithType<PatchFields>>, WrittenBody>("patch", |patch| {
        patch.group.write(patch.fields.into_patch().map(Mutation::Patch)?)
    });
    operations.add::<WithGuards<WithCondition<ExpireFields>>, WrittenBody>("expire", |expire| {
        expire.group.write(expire.fields.into_expire().map(Mutation::Expire)?)
    });
    operations.add::<WithGuards<WithCondition<DeleteFields>>, DeletedBody>("delete", |delete| {
        delete.group.write(delete.fields.into_delete().map(Mutation::Delete)?)
    });
}

/// A record.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "record")]
pub struct RecordBody {
    key: String,
    /// The number of writes of this key; begins again at 1 after a delete.
    version: u64,
    /// The seq of the last change of this key; never used twice in a store.
    revision: u64,
    #[serde(rename = "type")]
    record_type: Option<String>,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    created: Timestamp,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    updated: Timestamp,
    /// RFC 3339, UTC, with three decimals: from when on the record is gone; missing when it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    expires: Option<Timestamp>,
    /// Any JSON, as the text that was stored.
    #[schemars(with = "serde_json::Value")]
    value: JsonText,
}

same_members!(RecordBody = Record { key, version, revision, record_type, created, updated, expires, value });

/// The condition of a write.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct ConditionFields {
    /// Only at this version; 0 = only if the key is absent, -1 = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    /// Only at this revision; 0 = only if the key is absent, -1 = any.
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    /// Only if the key is present (true) or absent (false).
    #[serde(skip_serializing_if = "Option::is_none")]
    exists: Option<bool>,
}

impl FieldGroup for ConditionFields {
    const NAMES: &[&str] = &["version", "revision", "exists"];
}

impl ConditionFields {
    pub(super) fn into_condition(self) -> Result<Condition> {
        Ok(Condition { exists: self.exists, ..Condition::of_numbers(self.version, self.revision)? })
    }
}

impl From<Condition> for ConditionFields {
    fn from(Condition { version, revision, exists }: Condition) -> ConditionFields {
        ConditionFields { version: version.map(signed), revision: revision.map(signed), exists }
    }
}

pub(super) type WithCondition<F> = With<ConditionFields, F>;

/// The effect of a write on the type of the record.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct TypeFields {
    /// Null clears it; without this field it is kept.
    #[schemars(with = "Option<String>")]
    #[serde(rename = "type", deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    record_type: Option<Option<String>>,
}

impl FieldGroup for TypeFields {
    const NAMES: &[&str] = &["type"];
}

impl From<TypeFields> for TypeChange {
    fn from(TypeFields { record_type }: TypeFields) -> TypeChange {
        record_type.map_or(TypeChange::Keep, TypeChange::from)
    }
}

impl From<&TypeChange> for TypeFields {
    fn from(change: &TypeChange) -> TypeFields {
        let record_type = match change {
            TypeChange::Keep => None,
            TypeChange::Clear => Some(None),
            TypeChange::Set(record_type) => Some(Some(record_type.clone())),
        };
        TypeFields { record_type }
    }
}

/// The fields of a mutation that writes a value.
pub(super) type WithType<F> = With<TypeFields, WithCondition<F>>;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PutFields {
    key: String,
    /// Any JSON; null is a value, too.
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    /// The record is gone so many milliseconds from now; without it, or null, the record stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<u64>,
    /// Whether the record keeps the expiry that it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    keep_ttl: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PatchFields {
    key: String,
    /// The patch, in the given format.
    #[schemars(with = "serde_json::Value")]
    patch: Box<RawValue>,
    /// `merge` (RFC 7396) unless given, or `json-patch` (RFC 6902).
    #[serde(default, deserialize_with = "name", skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    /// The record is gone so many milliseconds from now, or stays (null); without this field it keeps its expiry.
    #[schemars(with = "Option<u64>")]
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<Option<u64>>,
    /// Whether the reply has the new value.
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
    /// How many records to pass over.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The most records; below 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckFields {
    key: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpireFields {
    key: String,
    /// The record is gone so many milliseconds from now, or stays (null).
    #[schemars(with = "Option<u64>")]
    #[serde(deserialize_with = "Option::deserialize")]
    ttl_ms: Option<u64>,
}

impl WithType<PutFields> {
    pub(super) fn into_put(self) -> Result<Put> {
        let With { fields: With { fields, group: condition }, group: record_type } = self;
        Ok(Put {
            key: fields.key,
            value: JsonText::parse(fields.value.get())?,
            condition: condition.into_condition()?,
            record_type: record_type.into(),
            expiry: match (fields.ttl_ms, fields.keep_ttl) {
                (Some(_), true) => {
                    return Err(Error::bad_field("keep_ttl", "put takes either ttl_ms or keep_ttl"));
                }
                (ttl_ms, false) => ttl_ms.map(Duration::from_millis).into(),
                (None, true) => ExpiryChange::Keep,
            },
        })
    }
}

impl WithType<PatchFields> {
    pub(super) fn into_patch(self) -> Result<Patch> {
        let With { fields: With { fields, group: condition }, group: record_type } = self;
        Ok(Patch {
            key: fields.key,
            patch: JsonText::parse(fields.patch.get())?,
            format: match fields.format {
                None | Some(Format::Merge) => PatchFormat::Merge,
                Some(Format::JsonPatch) => PatchFormat::JsonPatch,
            },
            condition: condition.into_condition()?,
            record_type: record_type.into(),
            expiry: expiry_of(fields.ttl_ms),
            return_value: fields.return_value,
        })
    }
}

impl WithCondition<DeleteFields> {
    pub(super) fn into_delete(self) -> Result<Delete> {
        let With { fields, group: condition } = self;
        let selected = fields.prefix.is_some() || fields.from.is_some() || fields.to.is_some();
        let is_every_prefix =
            fields.prefix.as_deref() == Some("") && fields.from.is_none() && fields.to.is_none();
        let target = match (fields.key, fields.keys) {
            (Some(key), None) if !selected && !fields.all => Target::Keys(vec![key]),
            (None, Some(keys)) if !selected && !fields.all => Target::Keys(keys),
            (None, None) if fields.all && (!selected || is_every_prefix) => Target::Selection(Selector::All),
            (None, None) if selected && !fields.all => {
                let selector = SelectorFields {
                    prefix: fields.prefix,
                    from: fields.from,
                    to: fields.to,
                    record_type: None,
                };
                Target::Selection(selector.into_selector()?)
            }
            _ => {
                let what = "delete takes one of key, keys, prefix, from with to, and all";
                return Err(Error::bad_field("key", what));
            }
        };
        Ok(Delete {
            target,
            condition: condition.into_condition()?,
            offset: fields.offset.unwrap_or(0),
            limit: limit(fields.limit),
        })
    }
}

impl WithCondition<ExpireFields> {
    pub(super) fn into_expire(self) -> Result<Expire> {
        let With { fields: ExpireFields { key, ttl_ms }, group: condition } = self;
        let ttl = ttl_ms.map(Duration::from_millis);
        Ok(Expire { key, ttl, condition: condition.into_condition()? })
    }
}

impl From<&Expire> for WithCondition<ExpireFields> {
    fn from(expire: &Expire) -> WithCondition<ExpireFields> {
        let fields = ExpireFields { key: expire.key.clone(), ttl_ms: expire.ttl.map(whole_ms) };
        With { fields, group: expire.condition.into() }
    }
}

impl WithCondition<CheckFields> {
    pub(super) fn into_check(self) -> Result<Check> {
        let With { fields, group: condition } = self;
        Ok(Check { key: fields.key, condition: condition.into_condition()? })
    }
}

impl From<&Put> for WithType<PutFields> {
    fn from(put: &Put) -> WithType<PutFields> {
        let ttl_ms = put.expiry.ttl().map(whole_ms);
        let keep_ttl = put.expiry == ExpiryChange::Keep;
        let fields =
            PutFields { key: put.key.clone(), value: put.value.as_raw().to_owned(), ttl_ms, keep_ttl };
        let fields = With { fields, group: put.condition.into() };
        With { fields, group: (&put.record_type).into() }
    }
}

impl From<&Patch> for WithType<PatchFields> {
    fn from(patch: &Patch) -> WithType<PatchFields> {
        let fields = PatchFields {
            key: patch.key.clone(),
            patch: patch.patch.as_raw().to_owned(),
            format: (patch.format == PatchFormat::JsonPatch).then_some(Format::JsonPatch),
            ttl_ms: ttl_field(patch.expiry),
            return_value: patch.return_value,
        };
        let fields = With { fields, group: patch.condition.into() };
        With { fields, group: (&patch.record_type).into() }
    }
}

/// The expiry of a write that keeps it without the field.
pub(super) fn expiry_of(ttl_ms: Option<Option<u64>>) -> ExpiryChange {
    ttl_ms.map_or(ExpiryChange::Keep, |ttl_ms| ttl_ms.map(Duration::from_millis).into())
}

/// The field of a write that keeps the expiry unless told otherwise.
pub(super) fn ttl_field(change: ExpiryChange) -> Option<Option<u64>> {
    match change {
        ExpiryChange::Keep => None,
        ExpiryChange::Clear => Some(None),
        ExpiryChange::After(ttl) => Some(Some(whole_ms(ttl))),
    }
}

impl From<&Delete> for WithCondition<DeleteFields> {
    fn from(delete: &Delete) -> WithCondition<DeleteFields> {
        let (keys, selector) = match &delete.target {
            Target::Keys(keys) => (Some(keys.clone()), SelectorFields::default()),
            Target::Selection(selector) => (None, SelectorFields::from(selector)),
        };
        let fields = DeleteFields {
            key: None,
            keys,
            prefix: selector.prefix,
            from: selector.from,
            to: selector.to,
            all: delete.target == Target::Selection(Selector::All),
            offset: (delete.offset > 0).then_some(delete.offset),
            limit: delete.limit.map(signed),
        };
        With { fields, group: delete.condition.into() }
    }
}

impl From<&Check> for WithCondition<CheckFields> {
    fn from(check: &Check) -> WithCondition<CheckFields> {
        let fields = CheckFields { key: check.key.clone() };
        With { fields, group: check.condition.into() }
    }
}

/// The reply to `put` and `patch`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "written")]
pub struct WrittenBody {
    /// The new version.
    version: u64,
    /// The new revision.
    revision: u64,
    /// The new value: of an increment, or when the patch asked for it.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "crate::store::reply::present"
    )]
    #[schemars(with = "serde_json::Value")]
    value: Option<JsonText>,
}

same_members!(WrittenBody = Written { version, revision, value });

/// The reply to `delete`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "deleted")]
pub struct DeletedBody {
    /// The number of records that were removed.
    deleted: u64,
    /// The seq of the last of these deletes; missing when no record was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "u64")]
    revision: Option<u64>,
}

same_members!(DeletedBody = Deleted { deleted, revision });
