//! The operations that read: their requests and their replies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{ChangeBody, ConsumersBody, KeysBody, LockStateBody, LocksBody, NoBody, RecordsBody};
use super::consumers::{ConsumedBody, ConsumerGetFields, ConsumerStatusBody};
use super::records::RecordBody;
use super::reply::{ReplyLine, read};
use super::request::{FieldGroup, NoFields, Operations, With, limit, outgoing, signed};
use super::retention::RetentionBody;
use super::{Call, Hello, Id, writes};
use crate::store::{
    Change, Changes, Code, Error, Filter, List, NameList, Read, Reply, Result, Selector, Stream,
};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<GetFields, GetBody>("get", GetFields::into_call);
    operations.add_reply::<RecordsBody>("get");
    operations.add::<With<SelectorFields, ListFields>, RecordsBody>("list", |list| {
        Ok(Read::List(list.fields.into_list(list.group.into_selector()?)).into())
    });
    operations.add_reply::<KeysBody>("list");
    operations
        .add::<SelectorFields, CountBody>("count", |fields| Ok(Read::Count(fields.into_selector()?).into()));
    operations.add::<With<FilterFields, StreamFields>, ChangesBody>("stream.get", |stream| {
        Ok(Read::Stream(stream.fields.into_stream(stream.group.into())).into())
    });
    operations.add::<NoFields, HeadBody>("stream.seq", |_| Ok(Read::StreamSeq.into()));
    operations.add::<NoFields, RetentionBody>("stream.retention", |_| Ok(Read::Retention.into()));
    operations.add::<NameFields, LockStatusBody>("lock.status", |NameFields { name }| {
        Ok(Read::LockStatus { name }.into())
    });
    operations
        .add::<NameListFields, LocksBody>("lock.list", |fields| Ok(Read::LockList(fields.into()).into()));
    operations.add::<With<FilterFields, ConsumerGetFields>, ConsumedBody>("consumer.get", |get| {
        Ok(Read::ConsumerGet(get.fields.into_get(get.group.into())).into())
    });
    operations.add::<NameFields, ConsumerStatusBody>("consumer.status", |NameFields { name }| {
        Ok(Read::ConsumerStatus { name }.into())
    });
    operations.add::<NameListFields, ConsumersBody>("consumer.list", |fields| {
        Ok(Read::ConsumerList(fields.into()).into())
    });
}

/// The line of a request.
pub(super) fn encode(id: &Id, read: &Read) -> Vec<u8> {
    match read {
        Read::Get { key } => outgoing(id, "get", &GetFields { key: Some(key.clone()), keys: None }),
        Read::GetBatch { keys } => outgoing(id, "get", &GetFields { key: None, keys: Some(keys.clone()) }),
        Read::List(list) => {
            let group = SelectorFields::from(&list.selector);
            outgoing(id, "list", &With { fields: ListFields::from(list), group })
        }
        Read::Count(selector) => outgoing(id, "count", &SelectorFields::from(selector)),
        Read::Stream(stream) => {
            let group = FilterFields::from(stream.filter.clone());
            outgoing(id, "stream.get", &With { fields: StreamFields::from(stream), group })
        }
        Read::StreamSeq => outgoing(id, "stream.seq", &NoFields {}),
        Read::Retention => outgoing(id, "stream.retention", &NoFields {}),
        Read::LockStatus { name } => outgoing(id, "lock.status", &NameFields { name: name.clone() }),
        Read::LockList(list) => outgoing(id, "lock.list", &NameListFields::from(list)),
        Read::ConsumerGet(get) => {
            let group = FilterFields::from(get.filter.clone());
            outgoing(id, "consumer.get", &With { fields: ConsumerGetFields::from(get), group })
        }
        Read::ConsumerStatus { name } => outgoing(id, "consumer.status", &NameFields { name: name.clone() }),
        Read::ConsumerList(list) => outgoing(id, "consumer.list", &NameListFields::from(list)),
        Read::Identity => outgoing(id, "hello", &NoFields {}),
    }
}

/// The line of a reply of the store; those to writes are encoded in `writes`.
pub(super) fn encode_reply(line: ReplyLine<'_>, reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Get { seq, record: Some(record) } => line.ok(GetBody { seq, record: record.into() }),
        Reply::Get { record: None, .. } => line.failed(Error::new(Code::NotFound, "there is no such key")),
        Reply::Records(page) => line.ok(RecordsBody::of(page)),
        Reply::Keys(page) => line.ok(KeysBody::of(page)),
        Reply::Count { seq, count } => line.ok(CountBody { seq, count }),
        Reply::Changes(Changes { seq, changes, next }) => {
            let records = changes.into_iter().map(ChangeBody::from).collect();
            line.ok(ChangesBody { seq, records, next })
        }
        Reply::Head { seq, first } => line.ok(HeadBody { seq, first }),
        Reply::Retention { seq, retention } => line.ok(RetentionBody::new(seq, retention)),
        Reply::Lock { seq, lock } => line.ok(LockStatusBody { seq, state: lock.into() }),
        Reply::Locks(page) => line.ok(LocksBody::of(page)),
        Reply::Consumed { changes: Changes { seq, changes, next }, position } => {
            let records = changes.into_iter().map(ChangeBody::from).collect();
            line.ok(ConsumedBody { seq, position, records, next })
        }
        Reply::Consumer { seq, consumer: Some(consumer) } => line.ok(ConsumerStatusBody::new(consumer, seq)),
        Reply::Consumer { consumer: None, .. } => {
            line.failed(Error::new(Code::NotFound, "there is no such consumer"))
        }
        Reply::Consumers(page) => line.ok(ConsumersBody::of(page)),
        // Only `hello` names the store.
        Reply::Identity(_) => line.ok(NoBody {}),
        Reply::Init { .. }
        | Reply::Written(_)
        | Reply::Deleted(_)
        | Reply::Imported(_)
        | Reply::Checked
        | Reply::ExpiredRemoved { .. }
        | Reply::Mutated(_)
        | Reply::Trimmed { .. }
        | Reply::Retained
        | Reply::Granted(_)
        | Reply::Released { .. }
        | Reply::Position { .. }
        | Reply::Held { .. }
        | Reply::Forgotten { .. }
        | Reply::Compacted(_)
        | Reply::Restored(_) => writes::encode_reply(line, reply),
    }
}

/// The reply for an error that says that something does not exist.
pub(super) fn absent(request: &Read, error: &Error) -> Option<Reply> {
    match request {
        Read::Get { .. } if error.code == Code::NotFound => Some(Reply::Get { seq: 0, record: None }),
        Read::ConsumerStatus { .. } if error.code == Code::NotFound => {
            Some(Reply::Consumer { seq: 0, consumer: None })
        }
        _ => None,
    }
}

/// Reads the reply to a read.
pub(super) fn decode_reply(request: &Read, line: &[u8]) -> Result<Reply> {
    Ok(match request {
        Read::Get { .. } => {
            #[derive(Deserialize)]
            struct Seq {
                seq: u64,
            }
            // An exact text cannot pass through a flattened member, so the line is read twice.
            let record: RecordBody = read(line)?;
            Reply::Get { seq: read::<Seq>(line)?.seq, record: Some(record.into()) }
        }
        Read::List(list) if list.keys_only => Reply::Keys(read::<KeysBody>(line)?.into_page()),
        Read::GetBatch { .. } | Read::List(_) => Reply::Records(read::<RecordsBody>(line)?.into_page()),
        Read::Count(_) => read(line).map(|CountBody { seq, count }| Reply::Count { seq, count })?,
        Read::Stream(_) => {
            let ChangesBody { seq, records, next } = read(line)?;
            let changes = records.into_iter().map(Change::try_from).collect::<Result<_>>()?;
            Reply::Changes(Changes { seq, changes, next })
        }
        Read::ConsumerGet(_) => {
            let ConsumedBody { seq, position, records, next } = read(line)?;
            let changes = records.into_iter().map(Change::try_from).collect::<Result<_>>()?;
            Reply::Consumed { changes: Changes { seq, changes, next }, position }
        }
        Read::ConsumerStatus { name } => {
            let status: ConsumerStatusBody = read(line)?;
            Reply::Consumer { seq: status.head, consumer: Some(status.into_consumer(name.clone())) }
        }
        Read::ConsumerList(_) => Reply::Consumers(read::<ConsumersBody>(line)?.into_page()),
        Read::StreamSeq => read(line).map(|HeadBody { seq, first }| Reply::Head { seq, first })?,
        Read::Retention => {
            let reply: RetentionBody = read(line)?;
            Reply::Retention { seq: reply.seq, retention: reply.into() }
        }
        Read::LockStatus { name } => {
            let LockStatusBody { seq, state } = read(line)?;
            Reply::Lock { seq, lock: state.holder.map(|holder| holder.into_lock(name.clone())) }
        }
        Read::LockList(_) => Reply::Locks(read::<LocksBody>(line)?.into_page()),
        Read::Identity => {
            let hello: Hello = read(line)?;
            hello.identity().map(Reply::Identity).ok_or_else(|| {
                Error::new(Code::NotInitialized, format!("there is no store at {}", hello.store))
                    .hint("create it with: kv init")
            })?
        }
    })
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct GetFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// At most 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    keys: Option<Vec<String>>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct ListFields {
    /// How many records to pass over.
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    /// The most records; below 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// Only items after this one, in the order of the listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// From the last key to the first.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reverse: bool,
    /// Whether to answer only the keys.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    keys_only: bool,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SelectorFields {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    /// The first key of a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// The first key after a range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) record_type: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct StreamFields {
    /// The first seq to read; 0 = the first that is kept, in reverse the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// The most changes; below 0 = all.
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<i64>,
    /// From the newest change to the oldest.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reverse: bool,
}

/// Which changes of the stream are wanted.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilterFields {
    /// Only changes of this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// Only changes of keys that start with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Only changes of records of this type.
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
struct NameListFields {
    #[serde(skip_serializing_if = "String::is_empty")]
    prefix: String,
    /// Only items after this one, in the order of the listing.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

impl GetFields {
    fn into_call(self) -> Result<Call> {
        match (self.key, self.keys) {
            (Some(key), None) => Ok(Read::Get { key }.into()),
            (None, Some(keys)) => Ok(Read::GetBatch { keys }.into()),
            _ => Err(Error::bad_field("key", "get takes either key or keys")),
        }
    }
}

impl ListFields {
    fn into_list(self, selector: Selector) -> List {
        List {
            selector,
            offset: self.offset.unwrap_or(0),
            limit: limit(self.limit),
            after: self.after,
            reverse: self.reverse,
            keys_only: self.keys_only,
        }
    }
}

impl FieldGroup for SelectorFields {
    const NAMES: &[&str] = &["prefix", "from", "to", "type"];
}

impl SelectorFields {
    pub(super) fn into_selector(self) -> Result<Selector> {
        match (self.prefix, self.from, self.to, self.record_type) {
            (None, None, None, None) => Ok(Selector::All),
            (Some(prefix), None, None, None) => Ok(Selector::Prefix(prefix)),
            (None, Some(from), Some(to), None) => Ok(Selector::Range { from, to }),
            (None, None, None, Some(record_type)) => Ok(Selector::Type(record_type)),
            _ => Err(Error::bad_field("prefix", "a selection is one of prefix, from with to, or type")),
        }
    }
}

impl FieldGroup for FilterFields {
    const NAMES: &[&str] = &["key", "prefix", "type"];
}

impl From<FilterFields> for Filter {
    fn from(FilterFields { key, prefix, record_type }: FilterFields) -> Filter {
        Filter { key, prefix, record_type }
    }
}

impl From<Filter> for FilterFields {
    fn from(Filter { key, prefix, record_type }: Filter) -> FilterFields {
        FilterFields { key, prefix, record_type }
    }
}

impl StreamFields {
    fn into_stream(self, filter: Filter) -> Stream {
        let StreamFields { seq, limit: count, reverse } = self;
        Stream { seq: seq.unwrap_or(0), limit: limit(count), reverse, filter }
    }
}

impl From<NameListFields> for NameList {
    fn from(NameListFields { prefix, after }: NameListFields) -> NameList {
        NameList { prefix, after }
    }
}

impl From<&NameList> for NameListFields {
    fn from(list: &NameList) -> NameListFields {
        NameListFields { prefix: list.prefix.clone(), after: list.after.clone() }
    }
}

impl From<&List> for ListFields {
    fn from(list: &List) -> ListFields {
        ListFields {
            offset: (list.offset > 0).then_some(list.offset),
            limit: list.limit.map(signed),
            after: list.after.clone(),
            reverse: list.reverse,
            keys_only: list.keys_only,
        }
    }
}

impl From<&Selector> for SelectorFields {
    fn from(selector: &Selector) -> SelectorFields {
        let mut fields = SelectorFields::default();
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
        StreamFields { seq: Some(stream.seq), limit: stream.limit.map(signed), reverse: stream.reverse }
    }
}

/// The reply to `get` of one key.
#[derive(Serialize, JsonSchema)]
struct GetBody {
    /// The head of the stream in the snapshot of this read.
    seq: u64,
    #[serde(flatten)]
    record: RecordBody,
}

/// The reply to `count`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct CountBody {
    /// The head of the stream in the snapshot of this read.
    seq: u64,
    count: u64,
}

/// The reply to `stream.seq`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct HeadBody {
    /// The last seq; 0 on a fresh store.
    seq: u64,
    /// The first seq that is kept, or the next one when none is.
    first: u64,
}

/// The reply to `stream.get`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ChangesBody {
    /// The head of the stream in the snapshot of this read.
    seq: u64,
    records: Vec<ChangeBody>,
    /// The first seq that was not examined; in reverse 0 after the oldest change.
    next: u64,
}

/// The reply to `lock.status`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct LockStatusBody {
    /// The head of the stream in the snapshot of this read.
    seq: u64,
    #[serde(flatten)]
    state: LockStateBody,
}
