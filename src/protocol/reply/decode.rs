//! From a line to the answer of the store.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Hello;
use super::body::{
    ChangesBody, CompactedBody, ConsumersBody, CountBody, DeletedBody, ErrorBody, GrantBody, HeadBody,
    InitBody, KeysBody, LockStatusBody, LocksBody, RecordBody, RecordsBody, ReleasedBody, RestoredBody,
    TrimmedBody, WrittenBody,
};
use super::consumers::{ConsumedBody, ConsumerStatusBody, ForgottenBody, PositionBody};
use crate::store::{
    Change, Changes, Code, Compacted, Error, Mutation, MutationResult, Read, Reply, Request, Restored,
    Result, Write, WriteOperation,
};

/// Reads the reply to a request of the store.
///
/// # Errors
/// The daemon's, or `internal` when the line is no such reply.
pub fn decode_reply(request: &Request, line: &[u8]) -> Result<Reply> {
    if let Err(error) = check(line) {
        return match (request, error.code) {
            (Request::Read(Read::Get { .. }), Code::NotFound) => Ok(Reply::Get { seq: 0, record: None }),
            (Request::Read(Read::ConsumerStatus { .. }), Code::NotFound) => {
                Ok(Reply::Consumer { seq: 0, consumer: None })
            }
            _ => Err(error),
        };
    }
    match request {
        Request::Init => read(line).map(|InitBody { created }| Reply::Init { created }),
        Request::Write(Write { operation, .. }) => decode_written(operation, line),
        Request::Read(request) => decode_read(request, line),
        Request::Compact => read(line).map(|CompactedBody { bytes_before, bytes_after }| {
            Reply::Compacted(Compacted { bytes_before, bytes_after })
        }),
        Request::Restore { .. } => {
            read(line).map(|RestoredBody { replaced }| Reply::Restored(Restored { replaced }))
        }
    }
}

/// Reads the reply of the daemon itself.
///
/// # Errors
/// As [`decode_reply`].
pub(crate) fn decode_own<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T> {
    check(line)?;
    read(line)
}

/// Whether a line of the daemon answers a request: events have no `ok`.
#[must_use]
pub fn is_reply(line: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "ok")]
        _ok: bool,
    }
    serde_json::from_slice::<Head>(line).is_ok()
}

/// The error in a reply, when there is one.
fn check(line: &[u8]) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        ok: bool,
        #[serde(default)]
        error: Option<ErrorBody>,
    }
    let head: Head = read(line)?;
    if head.ok { Ok(()) } else { Err(head.error.unwrap_or_default().into()) }
}

fn decode_read(request: &Read, line: &[u8]) -> Result<Reply> {
    Ok(match request {
        Read::Get { .. } => {
            #[derive(Deserialize)]
            struct Seq {
                seq: u64,
            }
            // An exact text does not pass through a flattened member, so the line is read twice.
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

fn decode_written(operation: &WriteOperation, line: &[u8]) -> Result<Reply> {
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
        WriteOperation::LockAcquire(_) => Reply::Granted(read::<GrantBody>(line)?.into()),
        WriteOperation::LockRelease(_) => {
            read(line).map(|ReleasedBody { released }| Reply::Released { released })?
        }
        WriteOperation::ConsumerCommit(_) | WriteOperation::ConsumerHold(_) => {
            read(line).map(|PositionBody { position }| Reply::Position { position })?
        }
        WriteOperation::ConsumerDelete { .. } => {
            read(line).map(|ForgottenBody { deleted }| Reply::Forgotten { deleted })?
        }
        WriteOperation::ConsumerLeave(_) => {
            read(line).map(|ReleasedBody { released }| Reply::Released { released })?
        }
    })
}

fn decode_result(mutation: &Mutation, text: &[u8]) -> Result<MutationResult> {
    Ok(match mutation {
        Mutation::Put(_) | Mutation::Patch(_) => MutationResult::Written(read::<WrittenBody>(text)?.into()),
        Mutation::Delete(_) => MutationResult::Deleted(read::<DeletedBody>(text)?.into()),
        Mutation::Check(_) => MutationResult::Checked,
    })
}

/// Reads what the daemon answered.
fn read<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| unusable(&error.to_string()))
}

pub(in crate::protocol) fn unusable(reason: &str) -> Error {
    Error::new(Code::Internal, format!("the daemon's answer cannot be used: {reason}"))
        .hint("does the daemon have another version? try: kv daemon restart")
}
