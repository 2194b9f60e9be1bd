//! `mutate`: mutations of every kind, each as it is by itself.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Fields;
use super::counters::IncrementFields;
use super::imports::{ImportFields, ImportedBody};
use super::records::{
    CheckFields, DeleteFields, DeletedBody, ExpireFields, PatchFields, PutFields, WithCondition, WithType,
    WrittenBody,
};
use super::reply::read;
use super::request::{Operations, RequestFields};
use super::schema::with_op;
use super::writes::WithGuards;
use crate::plain_words;
use crate::store::{Code, Error, Mutation, MutationResult, Result, WriteOperation};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<WithGuards<MutateFields>, ResultsBody>("mutate", |mutate| {
        mutate.group.write(WriteOperation::Mutate(mutate.fields.into_mutations()?))
    });
}

/// Reads the fields of a mutation of a mutate.
fn mutation(op: &str, fields: Fields<'_>) -> Result<Option<Mutation>> {
    Ok(Some(match op {
        "put" => Mutation::Put(WithType::<PutFields>::read(op, fields)?.into_put()?),
        "patch" => Mutation::Patch(WithType::<PatchFields>::read(op, fields)?.into_patch()?),
        "delete" => Mutation::Delete(WithCondition::<DeleteFields>::read(op, fields)?.into_delete()?),
        "expire" => Mutation::Expire(WithCondition::<ExpireFields>::read(op, fields)?.into_expire()?),
        "increment" => Mutation::Increment(WithType::<IncrementFields>::read(op, fields)?.into_increment()?),
        "import" => Mutation::Import(ImportFields::read(op, fields)?.into_import()?),
        "check" => Mutation::Check(WithCondition::<CheckFields>::read(op, fields)?.into_check()?),
        _ => return Ok(None),
    }))
}

fn mutations_schema(generator: &mut SchemaGenerator) -> Schema {
    let kinds = [
        with_op("put", WithType::<PutFields>::schema(generator)),
        with_op("patch", WithType::<PatchFields>::schema(generator)),
        with_op("delete", WithCondition::<DeleteFields>::schema(generator)),
        with_op("expire", WithCondition::<ExpireFields>::schema(generator)),
        with_op("increment", WithType::<IncrementFields>::schema(generator)),
        with_op("import", ImportFields::schema(generator)),
        with_op("check", WithCondition::<CheckFields>::schema(generator)),
    ];
    json_schema!({ "type": "array", "items": { "oneOf": kinds } })
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MutateFields {
    /// The mutations, which are applied in order, all or none.
    #[schemars(schema_with = "mutations_schema")]
    mutations: Vec<Box<RawValue>>,
}

impl MutateFields {
    fn into_mutations(self) -> Result<Vec<Mutation>> {
        let read = |(index, raw): (usize, &RawValue)| {
            parse_mutation(raw.get()).map_err(|error| error.at_index(index))
        };
        self.mutations.iter().map(AsRef::as_ref).enumerate().map(read).collect()
    }
}

/// Reads a mutation of a mutate: one line of `kv mutate`.
///
/// # Errors
/// `parse_error`, `bad_request`, `unknown_op` or `unknown_field`, as for a request with this mutation.
pub fn parse_mutation(text: &str) -> Result<Mutation> {
    let Fields(mut fields) = serde_json::from_str(text).map_err(|error| {
        Error::bad_field(
            "mutations",
            format!("a mutation is a JSON object: {}", plain_words::of_json(&error)),
        )
    })?;
    let op = fields.iter().position(|(field, _)| field == "op").map(|position| fields.remove(position).1);
    let op: String = op.and_then(|raw| serde_json::from_str(raw.get()).ok()).ok_or_else(|| {
        Error::bad_field("op", "a mutation has an op")
            .hint(r#"for example: {"op":"put","key":"a","value":1}"#)
    })?;
    let fields = Fields(fields);
    fields.check_repeated(&op)?;
    mutation(&op, fields)?.ok_or_else(|| {
        Error::new(Code::UnknownOp, format!("there is no mutation {op:?}"))
            .hint("a mutation is one of put, patch, increment, expire, delete, import and check")
    })
}

/// A mutation as it is sent, by itself or in a mutate.
#[derive(Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum MutationFields {
    Put(WithType<PutFields>),
    Patch(WithType<PatchFields>),
    Delete(WithCondition<DeleteFields>),
    Expire(WithCondition<ExpireFields>),
    Increment(WithType<IncrementFields>),
    Import(ImportFields),
    Check(WithCondition<CheckFields>),
}

impl From<&Mutation> for MutationFields {
    fn from(mutation: &Mutation) -> MutationFields {
        match mutation {
            Mutation::Put(put) => MutationFields::Put(put.into()),
            Mutation::Patch(patch) => MutationFields::Patch(patch.into()),
            Mutation::Delete(delete) => MutationFields::Delete(delete.into()),
            Mutation::Expire(expire) => MutationFields::Expire(expire.into()),
            Mutation::Increment(increment) => MutationFields::Increment(increment.into()),
            Mutation::Import(import) => MutationFields::Import(import.into()),
            Mutation::Check(check) => MutationFields::Check(check.into()),
        }
    }
}

/// The result of one mutation of a mutate.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "result")]
#[serde(untagged)]
pub enum ResultBody {
    /// A put, a patch, an increment, or a change of the expiry.
    Written(WrittenBody),
    /// A delete.
    Deleted(DeletedBody),
    /// An import.
    Imported(ImportedBody),
    /// A check.
    Checked {},
}

impl From<MutationResult> for ResultBody {
    fn from(result: MutationResult) -> ResultBody {
        match result {
            MutationResult::Written(written) => ResultBody::Written(written.into()),
            MutationResult::Deleted(deleted) => ResultBody::Deleted(deleted.into()),
            MutationResult::Imported(imported) => ResultBody::Imported(imported.into()),
            MutationResult::Checked => ResultBody::Checked {},
        }
    }
}

/// The reply to `mutate`.
#[derive(Serialize, JsonSchema)]
pub(super) struct ResultsBody {
    /// One for each mutation, in order.
    pub(super) results: Vec<ResultBody>,
}

/// Reads the result of a mutation.
pub(super) fn decode_result(mutation: &Mutation, text: &[u8]) -> Result<MutationResult> {
    Ok(match mutation {
        Mutation::Put(_) | Mutation::Patch(_) | Mutation::Expire(_) | Mutation::Increment(_) => {
            MutationResult::Written(read::<WrittenBody>(text)?.into())
        }
        Mutation::Delete(_) => MutationResult::Deleted(read::<DeletedBody>(text)?.into()),
        Mutation::Import(_) => MutationResult::Imported(read::<ImportedBody>(text)?.into()),
        Mutation::Check(_) => MutationResult::Checked,
    })
}
