//! Replies: the members of each, and what they mean to the store.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{Id, PROTOCOL, line};
use crate::store::{
    Action, Change, Changes, Code, Deleted, Error, Identity, JsonText, Page, Read, Record, Reply, Request,
    Result, Timestamp, Written,
};

/// What a line is answered with.
#[derive(Debug)]
pub enum Answer {
    /// The store's.
    Store(Reply),
    /// To `hello`.
    Hello(Hello),
    /// To `shutdown` and `bye`.
    Done,
}

/// Who a daemon is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// The version of kv.
    pub version: String,
    /// The number of the protocol.
    pub protocol: u32,
    /// The process, for people.
    pub pid: u32,
    /// The kind of engine.
    pub engine: String,
    /// Where the store is, without any password.
    pub store: String,
    /// Which store it is; missing while there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_id: Option<String>,
    /// Which history of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Connections that are served now.
    #[serde(default)]
    pub connections: usize,
}

impl Hello {
    /// This process as the daemon of a store.
    #[must_use]
    pub fn of_this_process(engine: &str, store: String) -> Hello {
        Hello {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            protocol: PROTOCOL,
            pid: std::process::id(),
            engine: engine.to_owned(),
            store,
            store_id: None,
            epoch: None,
            connections: 0,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct RecordBody {
    key: String,
    version: u64,
    revision: u64,
    #[serde(rename = "type")]
    record_type: Option<String>,
    created: String,
    updated: String,
    value: Box<RawValue>,
}

impl From<Record> for RecordBody {
    fn from(record: Record) -> RecordBody {
        RecordBody {
            key: record.key,
            version: record.version,
            revision: record.revision,
            record_type: record.record_type,
            created: record.created.to_string(),
            updated: record.updated.to_string(),
            value: record.value.as_raw().to_owned(),
        }
    }
}

impl TryFrom<RecordBody> for Record {
    type Error = Error;

    fn try_from(body: RecordBody) -> Result<Record> {
        Ok(Record {
            key: body.key,
            version: body.version,
            revision: body.revision,
            record_type: body.record_type,
            created: body.created.parse()?,
            updated: body.updated.parse()?,
            value: JsonText::from_stored(body.value.get().to_owned())?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct ChangeBody {
    seq: u64,
    tx: u64,
    tx_end: bool,
    action: String,
    time: String,
    record: RecordBody,
}

impl From<Change> for ChangeBody {
    fn from(change: Change) -> ChangeBody {
        ChangeBody {
            seq: change.seq,
            tx: change.tx,
            tx_end: change.tx_end,
            action: change.action.as_str().to_owned(),
            time: change.time.to_string(),
            record: change.record.into(),
        }
    }
}

impl TryFrom<ChangeBody> for Change {
    type Error = Error;

    fn try_from(body: ChangeBody) -> Result<Change> {
        let action = Action::from_name(&body.action)
            .ok_or_else(|| unusable(&format!("the action {:?} is unknown", body.action)))?;
        Ok(Change {
            seq: body.seq,
            tx: body.tx,
            tx_end: body.tx_end,
            action,
            time: body.time.parse()?,
            record: body.record.try_into()?,
        })
    }
}

/// The members of all replies of the store; which are there depends on the operation.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "super::request::present")]
    value: Option<Box<RawValue>>,
}

#[derive(Serialize)]
struct Succeeded<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    ok: bool,
    #[serde(flatten)]
    body: T,
}

#[derive(Serialize)]
struct Failed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RawValue>,
    ok: bool,
    error: ErrorBody,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ErrorBody {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    retry: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    maybe: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
}

#[derive(Serialize)]
struct WithRecords<T> {
    seq: u64,
    records: Vec<T>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct WithRecord {
    seq: u64,
    #[serde(flatten)]
    record: RecordBody,
}

#[derive(Serialize)]
struct WithKeys {
    seq: u64,
    keys: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct WithChanges {
    seq: u64,
    records: Vec<ChangeBody>,
    next: u64,
}

/// Encodes a reply as a line.
#[must_use]
pub fn encode_reply(id: Option<&Id>, answer: Result<Answer>) -> Vec<u8> {
    let id = id.and_then(|id| serde_json::from_str(id.as_json()).ok());
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return line(&Failed { id, ok: false, error: error.into() }),
    };
    let reply = match answer {
        Answer::Done => return succeeded(id, Body::default()),
        Answer::Hello(hello) => return succeeded(id, hello),
        Answer::Store(reply) => reply,
    };
    match reply {
        Reply::Init { created } => succeeded(id, Body { created: Some(created), ..Body::default() }),
        Reply::Written(Written { version, revision, value }) => {
            let value = value.map(|value| value.as_raw().to_owned());
            succeeded(id, Body { version: Some(version), revision: Some(revision), value, ..Body::default() })
        }
        Reply::Count { seq, count } => {
            succeeded(id, Body { seq: Some(seq), count: Some(count), ..Body::default() })
        }
        Reply::Deleted(Deleted { deleted, revision }) => {
            succeeded(id, Body { deleted: Some(deleted), revision, ..Body::default() })
        }
        Reply::Get { seq, record: Some(record) } => succeeded(id, WithRecord { seq, record: record.into() }),
        Reply::Get { record: None, .. } => {
            let error = Error::new(Code::NotFound, "there is no such key");
            line(&Failed { id, ok: false, error: error.into() })
        }
        Reply::Records(Page { seq, items, next }) => {
            let records: Vec<_> = items.into_iter().map(RecordBody::from).collect();
            succeeded(id, WithRecords { seq, records, more: next.is_some(), next })
        }
        Reply::Keys(Page { seq, items, next }) => {
            succeeded(id, WithKeys { seq, keys: items, more: next.is_some(), next })
        }
        Reply::Changes(Changes { seq, changes, next }) => {
            let records = changes.into_iter().map(ChangeBody::from).collect();
            succeeded(id, WithChanges { seq, records, next })
        }
        Reply::Head { seq, first } => {
            succeeded(id, Body { seq: Some(seq), first: Some(first), ..Body::default() })
        }
        // Only `hello` tells who a store is.
        Reply::Identity(_) => succeeded(id, Body::default()),
    }
}

fn succeeded(id: Option<&RawValue>, body: impl Serialize) -> Vec<u8> {
    line(&Succeeded { id, ok: true, body })
}

impl From<Error> for ErrorBody {
    fn from(error: Error) -> ErrorBody {
        let details = *error.details;
        ErrorBody {
            code: error.code.as_str().to_owned(),
            message: error.message,
            hint: error.hint,
            retry: error.retry,
            maybe: error.maybe,
            current: details.current,
            index: details.index,
            field: details.field,
            first: details.first,
            holder: details.holder,
            expires: details.expires_ms.map(|ms| Timestamp::from_unix_ms(ms).to_string()),
        }
    }
}

impl From<ErrorBody> for Error {
    fn from(body: ErrorBody) -> Error {
        // A code of a newer daemon is shown in its own words.
        let code = Code::from_name(&body.code).unwrap_or(Code::Internal);
        let mut error = Error::new(code, body.message);
        error.hint = body.hint;
        error.retry = body.retry;
        error.maybe = body.maybe;
        error.details.current = body.current;
        error.details.index = body.index;
        error.details.field = body.field;
        error.details.first = body.first;
        error.details.holder = body.holder;
        error.details.expires_ms =
            body.expires.and_then(|text| text.parse().ok()).map(|time: Timestamp| time.unix_ms());
        error
    }
}

/// Reads the reply to a request of the store.
///
/// # Errors
/// The daemon's, or `internal` when the line is no such reply.
pub fn decode_reply(request: &Request, line: &[u8]) -> Result<Reply> {
    #[derive(Deserialize)]
    struct Head {
        ok: bool,
        #[serde(default)]
        error: Option<ErrorBody>,
    }
    let head: Head = read(line)?;
    if !head.ok {
        let error: Error = head.error.unwrap_or_default().into();
        return match (request, error.code) {
            (Request::Read(Read::Get { .. }), Code::NotFound) => Ok(Reply::Get { seq: 0, record: None }),
            _ => Err(error),
        };
    }
    let reply = match request {
        Request::Init => Reply::Init { created: required(read::<Body>(line)?.created)? },
        Request::Write(_) => {
            let body: Body = read(line)?;
            match body.deleted {
                Some(deleted) => Reply::Deleted(Deleted { deleted, revision: body.revision }),
                None => Reply::Written(Written {
                    version: required(body.version)?,
                    revision: required(body.revision)?,
                    value: body
                        .value
                        .map(|value| JsonText::from_stored(value.get().to_owned()))
                        .transpose()?,
                }),
            }
        }
        Request::Read(Read::Get { .. }) => {
            #[derive(Deserialize)]
            struct Seq {
                seq: u64,
            }
            let record: RecordBody = read(line)?;
            Reply::Get { seq: read::<Seq>(line)?.seq, record: Some(record.try_into()?) }
        }
        Request::Read(Read::List(list)) if list.keys_only => {
            #[derive(Deserialize)]
            struct Keys {
                seq: u64,
                keys: Vec<String>,
                next: Option<String>,
            }
            let Keys { seq, keys, next } = read(line)?;
            Reply::Keys(Page { seq, items: keys, next })
        }
        Request::Read(Read::GetBatch { .. } | Read::List(_)) => {
            #[derive(Deserialize)]
            struct Records {
                seq: u64,
                records: Vec<RecordBody>,
                next: Option<String>,
            }
            let Records { seq, records, next } = read(line)?;
            let items = records.into_iter().map(Record::try_from).collect::<Result<_>>()?;
            Reply::Records(Page { seq, items, next })
        }
        Request::Read(Read::Count(_)) => {
            let body: Body = read(line)?;
            Reply::Count { seq: required(body.seq)?, count: required(body.count)? }
        }
        Request::Read(Read::Stream(_)) => {
            #[derive(Deserialize)]
            struct Records {
                seq: u64,
                records: Vec<ChangeBody>,
                next: u64,
            }
            let Records { seq, records, next } = read(line)?;
            let changes = records.into_iter().map(Change::try_from).collect::<Result<_>>()?;
            Reply::Changes(Changes { seq, changes, next })
        }
        Request::Read(Read::StreamSeq) => {
            let body: Body = read(line)?;
            Reply::Head { seq: required(body.seq)?, first: required(body.first)? }
        }
        Request::Read(Read::Identity) => {
            let hello: Hello = read(line)?;
            match (hello.store_id, hello.epoch) {
                (Some(store_id), Some(epoch)) => Reply::Identity(Identity { store_id, epoch }),
                _ => {
                    return Err(Error::new(
                        Code::NotInitialized,
                        format!("there is no store at {}", hello.store),
                    )
                    .hint("create it with: kv init"));
                }
            }
        }
    };
    Ok(reply)
}

/// Reads what the daemon answered.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| unusable(&error.to_string()))
}

fn required<T>(member: Option<T>) -> Result<T> {
    member.ok_or_else(|| unusable("a member is missing"))
}

fn unusable(reason: &str) -> Error {
    Error::new(Code::Internal, format!("the daemon's answer cannot be used: {reason}"))
        .hint("does the daemon have another version? try: kv daemon stop")
}
