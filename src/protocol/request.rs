//! Requests: the fields of each operation, and what they mean to the store.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Fields, Id, line};
use crate::store::{
    Code, Condition, Delete, Error, JsonText, List, Mutation, Put, Read, Request, Result, Selector, Stream,
    TypeChange, Write, WriteOperation,
};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Something of the store.
    Store(Request),
    /// Who the daemon is, and which store it serves.
    Hello,
    /// To end the daemon.
    Shutdown,
    /// To close this connection from the daemon's side, once all else is answered.
    Bye,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoFields {}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Get {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PutFields {
    key: String,
    /// A field that is there and null is a value; one that is not there is an error.
    value: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(rename = "type", default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    record_type: Option<Option<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DeleteFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ListFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reverse: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keys_only: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StreamFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
}

/// Tells a field that is null from one that is not there.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> std::result::Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Call {
    pub(super) fn decode(op: &str, fields: &Fields<'_>) -> Result<Call> {
        let call = match op {
            "init" => fields.read::<NoFields>(op).map(|_| Request::Init)?,
            "get" => Request::Read(fields.read::<Get>(op)?.into_read()?),
            "put" => write(Mutation::Put(fields.read::<PutFields>(op)?.into_put()?)),
            "delete" => write(Mutation::Delete(fields.read::<DeleteFields>(op)?.into_delete()?)),
            "list" => Request::Read(Read::List(fields.read::<ListFields>(op)?.into_list()?)),
            "stream.get" => Request::Read(Read::Stream(fields.read::<StreamFields>(op)?.into_stream())),
            "stream.seq" => fields.read::<NoFields>(op).map(|_| Request::Read(Read::StreamSeq))?,
            "hello" => return fields.read::<NoFields>(op).map(|_| Call::Hello),
            "shutdown" => return fields.read::<NoFields>(op).map(|_| Call::Shutdown),
            "bye" => return fields.read::<NoFields>(op).map(|_| Call::Bye),
            _ => {
                return Err(Error::new(Code::UnknownOp, format!("there is no operation {op:?}"))
                    .hint("the operations are listed in docs/protocol.md"));
            }
        };
        Ok(Call::Store(call))
    }
}

fn write(mutation: Mutation) -> Request {
    Request::Write(WriteOperation::Apply(mutation).into())
}

impl Get {
    fn into_read(self) -> Result<Read> {
        match (self.key, self.keys) {
            (Some(key), None) => Ok(Read::Get { key }),
            (None, Some(keys)) => Ok(Read::GetBatch { keys }),
            _ => Err(Error::bad_field("key", "get takes either key or keys")),
        }
    }
}

impl PutFields {
    fn into_put(self) -> Result<Put> {
        Ok(Put {
            key: self.key,
            value: JsonText::parse(self.value.get())?,
            condition: condition(self.version, self.revision)?,
            record_type: match self.record_type {
                None => TypeChange::Keep,
                Some(None) => TypeChange::Clear,
                Some(Some(record_type)) => TypeChange::Set(record_type),
            },
        })
    }
}

impl DeleteFields {
    fn into_delete(self) -> Result<Delete> {
        let keys = match (self.key, self.keys) {
            (Some(key), None) => vec![key],
            (None, Some(keys)) => keys,
            _ => return Err(Error::bad_field("key", "delete takes either key or keys")),
        };
        Ok(Delete {
            keys,
            condition: condition(self.version, self.revision)?,
            offset: self.offset.unwrap_or(0),
            limit: limit(self.limit),
        })
    }
}

impl ListFields {
    fn into_list(self) -> Result<List> {
        let selector = match (self.prefix, self.from, self.to, self.record_type) {
            (None, None, None, None) => Selector::All,
            (Some(prefix), None, None, None) => Selector::Prefix(prefix),
            (None, Some(from), Some(to), None) => Selector::Range { from, to },
            (None, None, None, Some(record_type)) => Selector::Type(record_type),
            _ => {
                return Err(Error::bad_field(
                    "prefix",
                    "a selection is one of prefix, from with to, or type",
                ));
            }
        };
        Ok(List {
            selector,
            offset: self.offset.unwrap_or(0),
            limit: limit(self.limit),
            after: self.after,
            reverse: self.reverse,
            keys_only: self.keys_only,
        })
    }
}

impl StreamFields {
    fn into_stream(self) -> Stream {
        Stream {
            seq: self.seq.unwrap_or(0),
            limit: limit(self.limit),
            prefix: self.prefix,
            record_type: self.record_type,
        }
    }
}

/// A negative limit means all, as on the command line.
fn limit(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
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

/// Encodes a request as a line.
#[must_use]
pub fn encode_request(id: &Id, call: &Call) -> Vec<u8> {
    let Call::Store(request) = call else {
        let op = match call {
            Call::Hello => "hello",
            Call::Shutdown => "shutdown",
            Call::Bye | Call::Store(_) => "bye",
        };
        return outgoing(id, op, &NoFields {});
    };
    match request {
        Request::Init => outgoing(id, "init", &NoFields {}),
        Request::Write(Write { operation: WriteOperation::Apply(mutation) }) => match mutation {
            Mutation::Put(put) => outgoing(id, "put", &PutFields::from(put)),
            Mutation::Delete(delete) => outgoing(id, "delete", &DeleteFields::from(delete)),
        },
        Request::Read(read) => match read {
            Read::Get { key } => outgoing(id, "get", &Get { key: Some(key.clone()), keys: None }),
            Read::GetBatch { keys } => outgoing(id, "get", &Get { key: None, keys: Some(keys.clone()) }),
            Read::List(list) => outgoing(id, "list", &ListFields::from(list)),
            Read::Stream(stream) => outgoing(id, "stream.get", &StreamFields::from(stream)),
            Read::StreamSeq => outgoing(id, "stream.seq", &NoFields {}),
            Read::Identity => outgoing(id, "hello", &NoFields {}),
        },
    }
}

fn outgoing<T: Serialize>(id: &Id, op: &str, fields: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Outgoing<'a, T> {
        id: &'a RawValue,
        op: &'a str,
        #[serde(flatten)]
        fields: &'a T,
    }
    // An id is JSON text by construction; null is an id that no reply matches.
    let id = serde_json::from_str(id.as_json()).unwrap_or(RawValue::NULL);
    line(&Outgoing { id, op, fields })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl From<&Put> for PutFields {
    fn from(put: &Put) -> PutFields {
        PutFields {
            key: put.key.clone(),
            value: put.value.as_raw().to_owned(),
            version: put.condition.version.map(signed),
            revision: put.condition.revision.map(signed),
            record_type: match &put.record_type {
                TypeChange::Keep => None,
                TypeChange::Clear => Some(None),
                TypeChange::Set(record_type) => Some(Some(record_type.clone())),
            },
        }
    }
}

impl From<&Delete> for DeleteFields {
    fn from(delete: &Delete) -> DeleteFields {
        DeleteFields {
            key: None,
            keys: Some(delete.keys.clone()),
            offset: (delete.offset > 0).then_some(delete.offset),
            limit: delete.limit.map(signed),
            version: delete.condition.version.map(signed),
            revision: delete.condition.revision.map(signed),
        }
    }
}

impl From<&List> for ListFields {
    fn from(list: &List) -> ListFields {
        let mut fields = ListFields {
            offset: (list.offset > 0).then_some(list.offset),
            limit: list.limit.map(signed),
            after: list.after.clone(),
            reverse: list.reverse,
            keys_only: list.keys_only,
            ..ListFields::default()
        };
        match &list.selector {
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
