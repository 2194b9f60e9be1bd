//! Writes: the fields that all of them have, and the operations that change something else than records.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Id;
use super::body::NoBody;
use super::consumers::{ConsumerCommitFields, ForgottenBody, PositionBody};
use super::imports::ImportedBody;
use super::mutate::{MutationFields, ResultBody, ResultsBody, decode_result};
use super::reads::{FilterFields, NameFields};
use super::records::{DeletedBody, WrittenBody};
use super::reply::{ReplyLine, read, unusable};
use super::request::{Acquire, Call, FieldGroup, NoFields, Operations, With, outgoing, outgoing_with_op};
use super::retention::RetentionFields;
use super::session::{AcquireFields, CompactedBody, InitBody, RestoredBody};
use super::strict::object;
use crate::store::{
    Compacted, Error, Fence, Grant, LockRelease, Reply, Restored, Result, Timestamp, Trim, Write,
    WriteOperation,
};

pub(super) fn show(operations: &mut impl Operations) {
    operations.add::<WithGuards<TrimFields>, TrimmedBody>("stream.trim", |trim| {
        trim.group.write(trim.fields.into_trim().map(WriteOperation::Trim)?)
    });
    operations.add::<RetentionFields, NoBody>("stream.retain", |fields| {
        Ok(WriteOperation::Retain(fields.into()).into())
    });
    operations.add::<AcquireFields, GrantBody>("lock.acquire", AcquireFields::into_call);
    operations.add::<ReleaseFields, ReleasedBody>("lock.release", |fields| {
        Ok(WriteOperation::LockRelease(fields.into()).into())
    });
    operations.add::<With<FilterFields, ConsumerCommitFields>, PositionBody>("consumer.commit", |commit| {
        Ok(WriteOperation::ConsumerCommit(commit.fields.into_commit(commit.group.into())).into())
    });
    operations.add::<NameFields, ForgottenBody>("consumer.delete", |NameFields { name }| {
        Ok(WriteOperation::ConsumerDelete { name }.into())
    });
}

/// The line of a request.
pub(super) fn encode(id: &Id, write: &Write) -> Vec<u8> {
    #[derive(Serialize)]
    struct Mutate {
        mutations: Vec<MutationFields>,
    }
    let guards = GuardFields::from(write);
    match &write.operation {
        WriteOperation::Apply(mutation) => {
            outgoing_with_op(id, &With { fields: MutationFields::from(mutation), group: guards })
        }
        WriteOperation::Mutate(mutations) => {
            let mutations = mutations.iter().map(MutationFields::from).collect();
            outgoing(id, "mutate", &With { fields: Mutate { mutations }, group: guards })
        }
        WriteOperation::Trim(trim) => {
            outgoing(id, "stream.trim", &With { fields: TrimFields::from(*trim), group: guards })
        }
        WriteOperation::Retain(retention) => {
            outgoing(id, "stream.retain", &RetentionFields::from(*retention))
        }
        WriteOperation::LockAcquire(acquire) => {
            let acquire = Acquire { acquire: acquire.clone(), wait: Duration::ZERO, session: false };
            outgoing(id, "lock.acquire", &AcquireFields::from(&acquire))
        }
        WriteOperation::LockRelease(release) => outgoing(id, "lock.release", &ReleaseFields::from(release)),
        WriteOperation::ConsumerCommit(commit) => {
            let group = FilterFields::from(commit.filter.clone());
            outgoing(id, "consumer.commit", &With { fields: ConsumerCommitFields::from(commit), group })
        }
        WriteOperation::ConsumerDelete { name } => {
            outgoing(id, "consumer.delete", &NameFields { name: name.clone() })
        }
        // A daemon does not accept these from a client: a session holds a consumer by its subscription, and records expire by
        // themselves.
        WriteOperation::ConsumerHold(_)
        | WriteOperation::ConsumerLeave(_)
        | WriteOperation::RemoveExpired => outgoing(id, "consumer.hold", &NoFields {}),
    }
}

/// The line of a reply to a write, or to an operation on the store as a whole.
pub(super) fn encode_reply(line: ReplyLine<'_>, reply: Reply) -> Vec<u8> {
    match reply {
        Reply::Init { created } => line.ok(InitBody { created }),
        Reply::Written(written) => line.ok(WrittenBody::from(written)),
        Reply::Deleted(deleted) => line.ok(DeletedBody::from(deleted)),
        Reply::Imported(imported) => line.ok(ImportedBody::from(imported)),
        Reply::Mutated(results) => {
            let results = results.into_iter().map(ResultBody::from).collect();
            line.ok(ResultsBody { results })
        }
        Reply::Trimmed { trimmed } => line.ok(TrimmedBody { trimmed }),
        Reply::Granted(grant) => line.ok(GrantBody::from(grant)),
        Reply::Released { released } => line.ok(ReleasedBody { released }),
        Reply::Position { position } => line.ok(PositionBody { position }),
        Reply::Forgotten { deleted } => line.ok(ForgottenBody { deleted }),
        Reply::Compacted(Compacted { bytes_before, bytes_after }) => {
            line.ok(CompactedBody { bytes_before, bytes_after })
        }
        Reply::Restored(Restored { replaced }) => line.ok(RestoredBody { replaced }),
        // A check has no result, and the replies to reads are encoded in `reads`.
        _ => line.ok(NoBody {}),
    }
}

/// Reads the reply to a write.
pub(super) fn decode_reply(operation: &WriteOperation, line: &[u8]) -> Result<Reply> {
    Ok(match operation {
        WriteOperation::Apply(mutation) => decode_result(mutation, line)?.into(),
        WriteOperation::Mutate(mutations) => {
            #[derive(Deserialize)]
            struct Results {
                results: Vec<Box<RawValue>>,
            }
            let Results { results } = read(line)?;
            if results.len() != mutations.len() {
                return Err(unusable("there is not one result for each mutation"));
            }
            let pairs = mutations.iter().zip(results);
            let results = pairs.map(|(mutation, result)| decode_result(mutation, result.get().as_bytes()));
            Reply::Mutated(results.collect::<Result<_>>()?)
        }
        WriteOperation::Trim(_) => read(line).map(|TrimmedBody { trimmed }| Reply::Trimmed { trimmed })?,
        WriteOperation::Retain(_) => read(line).map(|NoBody {}| Reply::Retained)?,
        WriteOperation::LockAcquire(_) => Reply::Granted(read::<GrantBody>(line)?.into()),
        WriteOperation::LockRelease(_) => {
            read(line).map(|ReleasedBody { released }| Reply::Released { released })?
        }
        WriteOperation::ConsumerCommit(_) => {
            read(line).map(|PositionBody { position }| Reply::Position { position })?
        }
        WriteOperation::ConsumerDelete { .. } => {
            read(line).map(|ForgottenBody { deleted }| Reply::Forgotten { deleted })?
        }
        WriteOperation::RemoveExpired => return Err(unusable("nobody can ask for it")),
        WriteOperation::ConsumerHold(_) | WriteOperation::ConsumerLeave(_) => {
            read(line).map(|ReleasedBody { released }| Reply::Released { released })?
        }
    })
}

/// The guards of a write of any kind.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct GuardFields {
    /// Chosen by the client, 1 to 64 bytes: the write is applied once within 24 h, and a repeat gets the same reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    once: Option<String>,
    /// The write fails with `fenced` unless this token is the present one of this lock.
    #[serde(deserialize_with = "object", skip_serializing_if = "Option::is_none")]
    fence: Option<FenceFields>,
}

impl FieldGroup for GuardFields {
    const NAMES: &[&str] = &["once", "fence"];
}

/// The fields of a write that can have guards. Operations on locks and consumers have none: repeating them is safe.
pub(super) type WithGuards<F> = With<GuardFields, F>;

impl GuardFields {
    /// The call for a write with these guards.
    pub(super) fn write(self, operation: impl Into<Write>) -> Result<Call> {
        Ok(Write { once: self.once, fence: self.fence.map(Fence::from), ..operation.into() }.into())
    }
}

impl From<&Write> for GuardFields {
    fn from(write: &Write) -> GuardFields {
        GuardFields { once: write.once.clone(), fence: write.fence.as_ref().map(FenceFields::from) }
    }
}

/// A fencing token.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "fence")]
#[serde(deny_unknown_fields)]
struct FenceFields {
    /// The name of the lock.
    lock: String,
    /// What `lock.acquire` answered as `fence`.
    token: u64,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct TrimFields {
    /// The last change to remove.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    /// Whether to remove every change.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReleaseFields {
    name: String,
    owner: String,
    /// Release only the grant with this fence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fence: Option<u64>,
}

impl From<FenceFields> for Fence {
    fn from(FenceFields { lock, token }: FenceFields) -> Fence {
        Fence { lock, token }
    }
}

impl From<&Fence> for FenceFields {
    fn from(fence: &Fence) -> FenceFields {
        FenceFields { lock: fence.lock.clone(), token: fence.token }
    }
}

impl TrimFields {
    fn into_trim(self) -> Result<Trim> {
        match (self.seq, self.all) {
            (Some(seq), false) => Ok(Trim::UpTo(seq)),
            (None, true) => Ok(Trim::All),
            _ => Err(Error::bad_field("seq", "stream.trim takes either seq or all")),
        }
    }
}

impl From<Trim> for TrimFields {
    fn from(trim: Trim) -> TrimFields {
        match trim {
            Trim::UpTo(seq) => TrimFields { seq: Some(seq), all: false },
            Trim::All => TrimFields { seq: None, all: true },
        }
    }
}

impl From<ReleaseFields> for LockRelease {
    fn from(ReleaseFields { name, owner, fence }: ReleaseFields) -> LockRelease {
        LockRelease { name, owner, fence, refreshes: None }
    }
}

impl From<&LockRelease> for ReleaseFields {
    fn from(release: &LockRelease) -> ReleaseFields {
        let LockRelease { name, owner, fence, .. } = release.clone();
        ReleaseFields { name, owner, fence }
    }
}

/// The reply to `stream.trim`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct TrimmedBody {
    /// How many changes were removed.
    trimmed: u64,
}

/// The reply to `lock.acquire`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct GrantBody {
    /// The fencing token: it grows with every grant of any lock, and a refresh keeps it.
    fence: u64,
    /// RFC 3339, UTC, with three decimals.
    #[schemars(with = "String")]
    expires: Timestamp,
}

impl From<Grant> for GrantBody {
    fn from(Grant { fence, expires, .. }: Grant) -> GrantBody {
        GrantBody { fence, expires }
    }
}

impl From<GrantBody> for Grant {
    fn from(GrantBody { fence, expires }: GrantBody) -> Grant {
        Grant { fence, refreshes: 0, expires }
    }
}

/// The reply to `lock.release`.
#[derive(Serialize, Deserialize, JsonSchema)]
struct ReleasedBody {
    /// False when the lock was free.
    released: bool,
}
