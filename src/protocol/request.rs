//! Requests: what each operation means to the store.

mod reads;
mod session;
mod writes;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::reads::{CountFields, GetFields, ListFields, NameFields, NameListFields, StreamFields};
pub use self::session::Acquire;
pub(super) use self::session::IdSchema;
use self::session::{
    AcquireFields, CancelFields, ConsumerCommitFields, ConsumerGetFields, RestoreFields, SubscribeFields,
    UnsubscribeFields,
};
use self::writes::{
    DeleteFields, FenceFields, MutateFields, MutationFields, PatchFields, PutFields, ReleaseFields,
    TrimFields,
};
pub use self::writes::{MUTATE_EXAMPLE, parse_mutation};
use super::schema::Schemas;
use super::strict::object;
use super::{Fields, Id, line};
use crate::store::{Code, Error, Mutation, Read, Request, Result, Subscribe, Write, WriteOperation};

/// What a line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Something of the store.
    Store(Request),
    /// To follow the stream on this connection.
    Subscribe(Subscribe),
    /// To end a subscription of this connection.
    Unsubscribe(Id),
    /// A lock, for this connection or with a wait.
    Acquire(Acquire),
    /// To give up a request of this connection that waits.
    Cancel(Id),
    /// Who the daemon is, and which store it serves.
    Hello,
    /// The same, and what the daemon is doing.
    Status,
    /// To end the daemon.
    Shutdown,
    /// To close this connection from the daemon's side, once all else is answered.
    Bye,
}

/// The operations whose writes can be guarded; locks are safe to repeat by themselves.
pub(super) const GUARDED: &[&str] = &["put", "patch", "delete", "mutate", "stream.trim"];

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NoFields {}

/// What guards a write of any kind.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
struct GuardFields {
    /// Chosen by the client, 1 to 64 bytes: the write is applied once within 24 h, and a repeat gets the same reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    once: Option<String>,
    /// The write fails with `fenced` unless this token is the present one of this lock.
    #[serde(deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    fence: Option<FenceFields>,
}

impl Call {
    pub(super) fn decode(op: &str, mut fields: Fields<'_>) -> Result<Call> {
        let guards: GuardFields = if GUARDED.contains(&op) {
            fields.split_off(&["once", "fence"]).read(op)?
        } else {
            GuardFields::default()
        };
        let request = match op {
            "init" => fields.read::<NoFields>(op).map(|_| Request::Init)?,
            "get" => Request::Read(fields.read::<GetFields>(op)?.into_read()?),
            "list" => Request::Read(Read::List(fields.read::<ListFields>(op)?.into_list()?)),
            "count" => Request::Read(Read::Count(fields.read::<CountFields>(op)?.into_selector()?)),
            "stream.get" => Request::Read(Read::Stream(fields.read::<StreamFields>(op)?.into_stream())),
            "stream.seq" => fields.read::<NoFields>(op).map(|_| Request::Read(Read::StreamSeq))?,
            "lock.status" => Request::Read(Read::LockStatus { name: fields.read::<NameFields>(op)?.name }),
            "lock.list" => Request::Read(Read::LockList(fields.read::<NameListFields>(op)?.into_list())),
            "subscribe" => {
                let subscribe = fields.read::<SubscribeFields>(op)?.into_subscribe()?;
                return Ok(Call::Subscribe(subscribe));
            }
            "lock.acquire" => match fields.read::<AcquireFields>(op)?.into_acquire()? {
                Acquire { acquire, wait: Duration::ZERO, session: false } => {
                    Request::Write(WriteOperation::LockAcquire(acquire).into())
                }
                acquire => return Ok(Call::Acquire(acquire)),
            },
            "cancel" => return fields.read::<CancelFields>(op)?.into_id().map(Call::Cancel),
            "consumer.get" => {
                Request::Read(Read::ConsumerGet(fields.read::<ConsumerGetFields>(op)?.into_get()))
            }
            "consumer.status" => {
                Request::Read(Read::ConsumerStatus { name: fields.read::<NameFields>(op)?.name })
            }
            "consumer.list" => {
                Request::Read(Read::ConsumerList(fields.read::<NameListFields>(op)?.into_list()))
            }
            "compact" => fields.read::<NoFields>(op).map(|_| Request::Compact)?,
            "restore" => Request::Restore { epoch: fields.read::<RestoreFields>(op)?.epoch },
            "unsubscribe" => return fields.read::<UnsubscribeFields>(op)?.into_id().map(Call::Unsubscribe),
            "hello" => return fields.read::<NoFields>(op).map(|_| Call::Hello),
            "status" => return fields.read::<NoFields>(op).map(|_| Call::Status),
            "shutdown" => return fields.read::<NoFields>(op).map(|_| Call::Shutdown),
            "bye" => return fields.read::<NoFields>(op).map(|_| Call::Bye),
            _ => Request::Write(Write {
                operation: decode_write(op, &fields)?,
                once: guards.once,
                fence: guards.fence.map(FenceFields::into_fence),
            }),
        };
        Ok(Call::Store(request))
    }
}

fn decode_write(op: &str, fields: &Fields<'_>) -> Result<WriteOperation> {
    match op {
        "mutate" => fields.read::<MutateFields>(op)?.into_mutations().map(WriteOperation::Mutate),
        "stream.trim" => fields.read::<TrimFields>(op)?.into_trim().map(WriteOperation::Trim),
        "lock.release" => {
            fields.read::<ReleaseFields>(op).map(|fields| WriteOperation::LockRelease(fields.into_release()))
        }
        "consumer.commit" => fields
            .read::<ConsumerCommitFields>(op)
            .map(|fields| WriteOperation::ConsumerCommit(fields.into_commit())),
        "consumer.delete" => {
            fields.read::<NameFields>(op).map(|fields| WriteOperation::ConsumerDelete { name: fields.name })
        }
        _ => match writes::mutation(op, fields)? {
            // A check changes nothing, so it only makes sense together with what it guards.
            Some(Mutation::Check(_)) | None => {
                Err(Error::new(Code::UnknownOp, format!("there is no operation {op:?}"))
                    .hint("the operations are listed in docs/protocol.md"))
            }
            Some(mutation) => Ok(WriteOperation::Apply(mutation)),
        },
    }
}

/// The schema of each operation's request, without what all requests may have.
pub(super) fn schemas(schemas: &mut Schemas) {
    schemas.request::<NoFields>("init");
    schemas.request::<GetFields>("get");
    schemas.request::<ListFields>("list");
    schemas.request::<CountFields>("count");
    schemas.request::<PutFields>("put");
    schemas.request::<PatchFields>("patch");
    schemas.request::<DeleteFields>("delete");
    schemas.request::<MutateFields>("mutate");
    schemas.request::<StreamFields>("stream.get");
    schemas.request::<NoFields>("stream.seq");
    schemas.request::<TrimFields>("stream.trim");
    schemas.request::<AcquireFields>("lock.acquire");
    schemas.request::<ReleaseFields>("lock.release");
    schemas.request::<NameFields>("lock.status");
    schemas.request::<NameListFields>("lock.list");
    schemas.request::<ConsumerGetFields>("consumer.get");
    schemas.request::<NameFields>("consumer.status");
    schemas.request::<ConsumerCommitFields>("consumer.commit");
    schemas.request::<NameFields>("consumer.delete");
    schemas.request::<NameListFields>("consumer.list");
    schemas.request::<CancelFields>("cancel");
    schemas.request::<SubscribeFields>("subscribe");
    schemas.request::<UnsubscribeFields>("unsubscribe");
    schemas.request::<NoFields>("compact");
    schemas.request::<RestoreFields>("restore");
    for op in ["hello", "status", "shutdown", "bye"] {
        schemas.request::<NoFields>(op);
    }
    for op in GUARDED {
        schemas.add_fields::<GuardFields>(op);
    }
}

/// A negative limit means all, as on the command line.
fn limit(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

/// Encodes a request as a line.
#[must_use]
pub fn encode_request(id: &Id, call: &Call) -> Vec<u8> {
    let read = match call {
        Call::Subscribe(subscribe) => return outgoing(id, "subscribe", &SubscribeFields::from(subscribe)),
        Call::Unsubscribe(subscription) => {
            return outgoing(id, "unsubscribe", &UnsubscribeFields::from(subscription));
        }
        Call::Acquire(acquire) => return outgoing(id, "lock.acquire", &AcquireFields::from(acquire)),
        Call::Cancel(target) => return outgoing(id, "cancel", &CancelFields::from(target)),
        Call::Hello => return outgoing(id, "hello", &NoFields {}),
        Call::Status => return outgoing(id, "status", &NoFields {}),
        Call::Shutdown => return outgoing(id, "shutdown", &NoFields {}),
        Call::Bye => return outgoing(id, "bye", &NoFields {}),
        Call::Store(Request::Init) => return outgoing(id, "init", &NoFields {}),
        Call::Store(Request::Compact) => return outgoing(id, "compact", &NoFields {}),
        Call::Store(Request::Restore { epoch }) => {
            return outgoing(id, "restore", &RestoreFields { epoch: epoch.clone() });
        }
        Call::Store(Request::Write(write)) => return encode_write(id, write),
        Call::Store(Request::Read(read)) => read,
    };
    match read {
        Read::Get { key } => outgoing(id, "get", &GetFields { key: Some(key.clone()), keys: None }),
        Read::GetBatch { keys } => outgoing(id, "get", &GetFields { key: None, keys: Some(keys.clone()) }),
        Read::List(list) => outgoing(id, "list", &ListFields::from(list)),
        Read::Count(selector) => outgoing(id, "count", &CountFields::from(selector)),
        Read::Stream(stream) => outgoing(id, "stream.get", &StreamFields::from(stream)),
        Read::StreamSeq => outgoing(id, "stream.seq", &NoFields {}),
        Read::LockStatus { name } => outgoing(id, "lock.status", &NameFields { name: name.clone() }),
        Read::LockList(list) => outgoing(id, "lock.list", &NameListFields::from(list)),
        Read::ConsumerGet(get) => outgoing(id, "consumer.get", &ConsumerGetFields::from(get)),
        Read::ConsumerStatus { name } => outgoing(id, "consumer.status", &NameFields { name: name.clone() }),
        Read::ConsumerList(list) => outgoing(id, "consumer.list", &NameListFields::from(list)),
        Read::Identity => outgoing(id, "hello", &NoFields {}),
    }
}

fn encode_write(id: &Id, write: &Write) -> Vec<u8> {
    #[derive(Serialize)]
    struct Mutate {
        mutations: Vec<MutationFields>,
    }
    let Write { operation, once, fence } = write;
    let guards = GuardFields { once: once.clone(), fence: fence.as_ref().map(FenceFields::from) };
    match operation {
        WriteOperation::Apply(mutation) => message(id, None, &MutationFields::from(mutation), &guards),
        WriteOperation::Mutate(mutations) => {
            let mutations = mutations.iter().map(MutationFields::from).collect();
            message(id, Some("mutate"), &Mutate { mutations }, &guards)
        }
        WriteOperation::Trim(trim) => message(id, Some("stream.trim"), &TrimFields::from(*trim), &guards),
        WriteOperation::LockAcquire(acquire) => {
            let acquire = Acquire { acquire: acquire.clone(), wait: Duration::ZERO, session: false };
            message(id, Some("lock.acquire"), &AcquireFields::from(&acquire), &guards)
        }
        WriteOperation::LockRelease(release) => {
            message(id, Some("lock.release"), &ReleaseFields::from(release), &guards)
        }
        WriteOperation::ConsumerCommit(commit) => {
            message(id, Some("consumer.commit"), &ConsumerCommitFields::from(commit), &guards)
        }
        WriteOperation::ConsumerDelete { name } => {
            message(id, Some("consumer.delete"), &NameFields { name: name.clone() }, &guards)
        }
        // No daemon takes these from a client: a session holds a consumer by its subscription.
        WriteOperation::ConsumerHold(_) | WriteOperation::ConsumerLeave(_) => {
            message(id, Some("consumer.hold"), &NoFields {}, &guards)
        }
    }
}

fn outgoing(id: &Id, op: &str, fields: &impl Serialize) -> Vec<u8> {
    message(id, Some(op), fields, &GuardFields::default())
}

/// Without an op the fields name it.
fn message<T: Serialize>(id: &Id, op: Option<&str>, fields: &T, guards: &GuardFields) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a, T> {
        id: &'a RawValue,
        #[serde(skip_serializing_if = "Option::is_none")]
        op: Option<&'a str>,
        #[serde(flatten)]
        fields: &'a T,
        #[serde(flatten)]
        guards: &'a GuardFields,
    }
    // An id is JSON text by construction; null is an id that no reply matches.
    let id = serde_json::from_str(id.as_json()).unwrap_or(RawValue::NULL);
    line(&Message { id, op, fields, guards })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
