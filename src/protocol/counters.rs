//! `increment`: adds to a number, by itself or in a `mutate`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::records::{WithType, WrittenBody, expiry_of, ttl_field};
use super::request::{Operations, With};
use super::writes::WithGuards;
use crate::store::reply::present;
use crate::store::{Increment, JsonText, Mutation, Result};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<WithGuards<WithType<IncrementFields>>, WrittenBody>("increment", |increment| {
        increment.group.write(Mutation::Increment(increment.fields.into_increment()?))
    });
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IncrementFields {
    key: String,
    /// What is added, 1 unless given; exact, whatever its size is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Number>")]
    by: Option<Box<RawValue>>,
    /// The record is gone so many milliseconds from now, or stays (null); without this field it keeps its expiry.
    #[schemars(with = "Option<u64>")]
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    ttl_ms: Option<Option<u64>>,
}

impl WithType<IncrementFields> {
    pub(super) fn into_increment(self) -> Result<Increment> {
        let With { fields: With { fields, group: condition }, group: record_type } = self;
        let by = fields.by.as_ref().map_or("1", |by| by.get());
        Ok(Increment {
            key: fields.key,
            by: JsonText::parse(by)?,
            condition: condition.into_condition()?,
            record_type: record_type.into(),
            expiry: expiry_of(fields.ttl_ms),
        })
    }
}

impl From<&Increment> for WithType<IncrementFields> {
    fn from(increment: &Increment) -> WithType<IncrementFields> {
        let Increment { key, by, condition, record_type, expiry } = increment;
        let by = Some(by.as_raw().to_owned());
        let fields = IncrementFields { key: key.clone(), by, ttl_ms: ttl_field(*expiry) };
        let fields = With { fields, group: (*condition).into() };
        With { fields, group: record_type.into() }
    }
}
