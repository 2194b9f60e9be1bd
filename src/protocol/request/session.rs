//! The fields of the operations that belong to a connection: subscriptions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::Id;
use crate::store::{Result, Start, Subscribe};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SubscribeFields {
    /// The last seq that was seen, 0 = from the beginning; or `"now"`, which is the default.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<AfterField>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    /// The history that `after` is a position of.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<String>,
}

/// A position in the stream.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "after")]
#[serde(untagged, expecting = "a seq or \"now\"")]
enum AfterField {
    Seq(u64),
    Word(AfterWord),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "now")]
#[serde(rename_all = "lowercase")]
enum AfterWord {
    Now,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UnsubscribeFields {
    /// What `subscribe` answered: a string or an integer.
    #[schemars(with = "IdSchema")]
    subscription: Box<RawValue>,
}

/// What a request or a subscription is called by.
#[derive(JsonSchema)]
#[schemars(rename = "id")]
#[serde(untagged)]
#[allow(dead_code, reason = "it is a schema only")]
pub(in crate::protocol) enum IdSchema {
    Text(String),
    Number(i64),
}

impl SubscribeFields {
    pub(super) fn into_subscribe(self) -> Subscribe {
        let start = match self.after {
            None | Some(AfterField::Word(AfterWord::Now)) => Start::Now,
            Some(AfterField::Seq(seq)) => Start::After(seq),
        };
        Subscribe { start, prefix: self.prefix, record_type: self.record_type, epoch: self.epoch }
    }
}

impl UnsubscribeFields {
    pub(super) fn into_id(self) -> Result<Id> {
        Id::of_field("subscription", &self.subscription)
    }
}

impl From<&Subscribe> for SubscribeFields {
    fn from(subscribe: &Subscribe) -> SubscribeFields {
        let Subscribe { start, prefix, record_type, epoch } = subscribe.clone();
        let after = match start {
            Start::Now => None,
            Start::After(seq) => Some(AfterField::Seq(seq)),
        };
        SubscribeFields { after, prefix, record_type, epoch }
    }
}

impl From<&Id> for UnsubscribeFields {
    fn from(id: &Id) -> UnsubscribeFields {
        UnsubscribeFields { subscription: id.to_raw() }
    }
}
