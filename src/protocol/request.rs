//! Requests: the fields of each operation, and what they mean to the store.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use super::{Fields, Id, line};
use crate::store::{
    Code, Condition, Delete, Error, JsonText, List, Mutation, Patch, PatchFormat, Put, Read, Request, Result,
    Selector, Stream, TypeChange, Write, WriteOperation,
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

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatchFields {
    key: String,
    patch: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<Format>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<i64>,
    #[serde(rename = "type", default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    record_type: Option<Option<String>>,
    #[serde(rename = "return", default, skip_serializing_if = "std::ops::Not::not")]
    return_value: bool,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Merge,
    JsonPatch,
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
struct CountFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    record_type: Option<String>,
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
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
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
            "patch" => write(Mutation::Patch(fields.read::<PatchFields>(op)?.into_patch()?)),
            "delete" => write(Mutation::Delete(fields.read::<DeleteFields>(op)?.into_delete()?)),
            "list" => Request::Read(Read::List(fields.read::<ListFields>(op)?.into_list()?)),
            "count" => Request::Read(Read::Count(fields.read::<CountFields>(op)?.into_selector()?)),
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
    fn into_selector(self) -> Result<Selector> {
        selector(self.prefix, self.from, self.to, self.record_type)
    }
}

fn selector(
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
            Mutation::Patch(patch) => outgoing(id, "patch", &PatchFields::from(patch)),
            Mutation::Delete(delete) => outgoing(id, "delete", &DeleteFields::from(delete)),
        },
        Request::Read(read) => match read {
            Read::Get { key } => outgoing(id, "get", &Get { key: Some(key.clone()), keys: None }),
            Read::GetBatch { keys } => outgoing(id, "get", &Get { key: None, keys: Some(keys.clone()) }),
            Read::List(list) => outgoing(id, "list", &ListFields::from(list)),
            Read::Count(selector) => outgoing(id, "count", &CountFields::from(selector)),
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
