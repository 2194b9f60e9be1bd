//! `import`: a record as it was in another store, by itself or in a `mutate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::same_members;
use super::request::Operations;
use super::strict::name;
use super::writes::WithGuards;
use crate::store::{Import, ImportOutcome, Imported, JsonText, Mutation, OnConflict, Result, Timestamp};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<WithGuards<ImportFields>, ImportedBody>("import", |import| {
        import.group.write(Mutation::Import(import.fields.into_import()?))
    });
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportFields {
    key: String,
    /// Any JSON; null is a value, too.
    #[schemars(with = "serde_json::Value")]
    value: Box<RawValue>,
    /// Without it, or null: no type.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    /// The version that the record gets, at least 1, or a later one in the place of another record. Without it, or null: the next
    /// one of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    /// RFC 3339; stored to the millisecond. Without it, or null: `updated`, or as for a put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    created: Option<Timestamp>,
    /// RFC 3339; stored to the millisecond. Without it, or null: `created`, or as for a put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    updated: Option<Timestamp>,
    /// RFC 3339; stored to the millisecond. Without it, or null: the record stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    expires: Option<Timestamp>,
    /// What happens when another record is there: `fail` unless given, `skip` or `overwrite`.
    #[serde(default, deserialize_with = "name", skip_serializing_if = "Option::is_none")]
    on_conflict: Option<ConflictField>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "on_conflict")]
#[serde(rename_all = "lowercase")]
enum ConflictField {
    Fail,
    Skip,
    Overwrite,
}

impl ImportFields {
    pub(super) fn into_import(self) -> Result<Import> {
        Ok(Import {
            key: self.key,
            value: JsonText::parse(self.value.get())?,
            record_type: self.record_type,
            version: self.version,
            created: self.created,
            updated: self.updated,
            expires: self.expires,
            on_conflict: match self.on_conflict {
                None | Some(ConflictField::Fail) => OnConflict::Fail,
                Some(ConflictField::Skip) => OnConflict::Skip,
                Some(ConflictField::Overwrite) => OnConflict::Overwrite,
            },
        })
    }
}

impl From<&Import> for ImportFields {
    fn from(import: &Import) -> ImportFields {
        let Import { key, value, record_type, version, created, updated, expires, on_conflict } = import;
        ImportFields {
            key: key.clone(),
            value: value.as_raw().to_owned(),
            record_type: record_type.clone(),
            version: *version,
            created: *created,
            updated: *updated,
            expires: *expires,
            on_conflict: match on_conflict {
                OnConflict::Fail => None,
                OnConflict::Skip => Some(ConflictField::Skip),
                OnConflict::Overwrite => Some(ConflictField::Overwrite),
            },
        }
    }
}

/// The reply to `import`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "imported")]
pub struct ImportedBody {
    /// The version of the record that is there now; 0 = none is.
    version: u64,
    /// The revision of the record that is there now; 0 = none is.
    revision: u64,
    /// `created`, `updated`, `unchanged` or `skipped`.
    #[schemars(with = "String")]
    outcome: ImportOutcome,
}

same_members!(ImportedBody = Imported { version, revision, outcome });
