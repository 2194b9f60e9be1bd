//! The fields of the operations that read.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{limit, signed};
use crate::store::{Error, List, NameList, Read, Result, Selector, Stream};

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GetFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<String>,
    /// At most 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) keys: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ListFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// The first key of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    /// The first key after a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    /// How many to pass over.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// How many at most; below 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// Only what comes after this one, in the order of the listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// From the last to the first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reverse: bool,
    /// Whether only the keys are wanted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keys_only: bool,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CountFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    /// The first key of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// The first key after a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StreamFields {
    /// The first one wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// How many at most; below 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NameFields {
    pub(super) name: String,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct NameListFields {
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    /// Only what comes after this one, in the order of the listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl GetFields {
    pub(super) fn into_read(self) -> Result<Read> {
        match (self.key, self.keys) {
            (Some(key), None) => Ok(Read::Get { key }),
            (None, Some(keys)) => Ok(Read::GetBatch { keys }),
            _ => Err(Error::bad_field("key", "get takes either key or keys")),
        }
    }
}

impl ListFields {
    pub(super) fn into_list(self) -> Result<List> {
        Ok(List {
            selector: selector(self.prefix, self.from, self.to, self.record_type)?,
            offset: self.offset.unwrap_or(0),
            limit: limit(self.limit),
            after: self.after,
            reverse: self.reverse,
            keys_only: self.keys_only,
        })
    }
}

impl CountFields {
    pub(super) fn into_selector(self) -> Result<Selector> {
        selector(self.prefix, self.from, self.to, self.record_type)
    }
}

pub(super) fn selector(
    prefix: Option<String>,
    from: Option<String>,
    to: Option<String>,
    record_type: Option<String>,
) -> Result<Selector> {
    match (prefix, from, to, record_type) {
        (None, None, None, None) => Ok(Selector::All),
        (Some(prefix), None, None, None) => Ok(Selector::Prefix(prefix)),
        (None, Some(from), Some(to), None) => Ok(Selector::Range { from, to }),
        (None, None, None, Some(record_type)) => Ok(Selector::Type(record_type)),
        _ => Err(Error::bad_field("prefix", "a selection is one of prefix, from with to, or type")),
    }
}

impl StreamFields {
    pub(super) fn into_stream(self) -> Stream {
        Stream {
            seq: self.seq.unwrap_or(0),
            limit: limit(self.limit),
            prefix: self.prefix,
            record_type: self.record_type,
        }
    }
}

impl NameListFields {
    pub(super) fn into_list(self) -> NameList {
        NameList { prefix: self.prefix, after: self.after }
    }
}

impl From<&NameList> for NameListFields {
    fn from(list: &NameList) -> NameListFields {
        NameListFields { prefix: list.prefix.clone(), after: list.after.clone() }
    }
}

impl From<&List> for ListFields {
    fn from(list: &List) -> ListFields {
        let CountFields { prefix, from, to, record_type } = CountFields::from(&list.selector);
        ListFields {
            prefix,
            from,
            to,
            record_type,
            offset: (list.offset > 0).then_some(list.offset),
            limit: list.limit.map(signed),
            after: list.after.clone(),
            reverse: list.reverse,
            keys_only: list.keys_only,
        }
    }
}

impl From<&Selector> for CountFields {
    fn from(selector: &Selector) -> CountFields {
        let mut fields = CountFields::default();
        match selector {
            Selector::All => {}
            Selector::Prefix(prefix) => fields.prefix = Some(prefix.clone()),
            Selector::Range { from, to } => {
                fields.from = Some(from.clone());
                fields.to = Some(to.clone());
            }
            Selector::Type(record_type) => fields.record_type = Some(record_type.clone()),
        }
        fields
    }
}

impl From<&Stream> for StreamFields {
    fn from(stream: &Stream) -> StreamFields {
        StreamFields {
            seq: Some(stream.seq),
            limit: stream.limit.map(signed),
            prefix: stream.prefix.clone(),
            record_type: stream.record_type.clone(),
        }
    }
}
