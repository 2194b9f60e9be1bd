//! From a line to the answer of the store.

use serde::Deserialize;

use super::Hello;
use super::body::{Body, ChangeBody, ErrorBody, LockBody, RecordBody};
use crate::store::{
    Change, Changes, Code, Error, Grant, Identity, Lock, MutationResult, Page, Read, Record, Reply, Request,
    Result, Write, WriteOperation,
};

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
        Request::Write(Write { operation, .. }) => decode_written(operation, line)?,
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
        Request::Read(Read::LockStatus { name }) => {
            let Body { seq, held, owner, fence, expires, .. } = read(line)?;
            let lock = if required(held)? {
                let (owner, fence, expires) = (required(owner)?, required(fence)?, required(expires)?);
                Some(Lock { name: name.clone(), owner, fence, expires: expires.parse()? })
            } else {
                None
            };
            Reply::Lock { seq: required(seq)?, lock }
        }
        Request::Read(Read::LockList(_)) => {
            #[derive(Deserialize)]
            struct Locks {
                seq: u64,
                locks: Vec<LockBody>,
                next: Option<String>,
            }
            let Locks { seq, locks, next } = read(line)?;
            let items = locks.into_iter().map(Lock::try_from).collect::<Result<_>>()?;
            Reply::Locks(Page { seq, items, next })
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

fn decode_written(operation: &WriteOperation, line: &[u8]) -> Result<Reply> {
    #[derive(Deserialize)]
    struct Results {
        results: Vec<Body>,
    }
    if let WriteOperation::Mutate(_) = operation {
        let Results { results } = read(line)?;
        return Ok(Reply::Mutated(results.into_iter().map(MutationResult::try_from).collect::<Result<_>>()?));
    }
    let body: Body = read(line)?;
    Ok(match operation {
        WriteOperation::Apply(_) | WriteOperation::Mutate(_) => MutationResult::try_from(body)?.into(),
        WriteOperation::Trim(_) => Reply::Trimmed { trimmed: required(body.trimmed)? },
        WriteOperation::LockAcquire(_) => {
            Reply::Granted(Grant { fence: required(body.fence)?, expires: required(body.expires)?.parse()? })
        }
        WriteOperation::LockRelease(_) => Reply::Released { released: required(body.released)? },
    })
}

/// Reads what the daemon answered.
pub(crate) fn read<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| unusable(&error.to_string()))
}

pub(super) fn required<T>(member: Option<T>) -> Result<T> {
    member.ok_or_else(|| unusable("a member is missing"))
}

pub(super) fn unusable(reason: &str) -> Error {
    Error::new(Code::Internal, format!("the daemon's answer cannot be used: {reason}"))
        .hint("does the daemon have another version? try: kv daemon stop")
}
