//! From an answer to its line.

use serde::Serialize;
use serde_json::value::RawValue;

use super::body::{
    ChangesBody, CompactedBody, ConsumersBody, CountBody, DeletedBody, ErrorBody, GetBody, GrantBody,
    HeadBody, InitBody, KeysBody, LockStatusBody, LocksBody, NoBody, RecordsBody, ReleasedBody, RestoredBody,
    ResultBody, ResultsBody, TrimmedBody, WrittenBody,
};
use super::consumers::{ConsumedBody, ConsumerStatusBody, ForgottenBody, PositionBody};
use super::{Answer, Id};
use crate::protocol::line;
use crate::store::{Changes, Code, Compacted, Error, Reply, Restored, Result};

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

/// Encodes a reply as a line.
#[must_use]
pub fn encode_reply(id: Option<&Id>, answer: Result<Answer>) -> Vec<u8> {
    let id = id.and_then(|id| serde_json::from_str(id.as_json()).ok());
    let reply = match answer {
        Err(error) => return failed(id, error),
        Ok(Answer::Done) => return succeeded(id, NoBody {}),
        Ok(Answer::Hello(hello)) => return succeeded(id, hello),
        Ok(Answer::Status(status)) => return succeeded(id, status),
        Ok(Answer::Subscribed(subscribed)) => return succeeded(id, subscribed),
        Ok(Answer::Store(reply)) => reply,
    };
    match reply {
        Reply::Init { created } => succeeded(id, InitBody { created }),
        Reply::Written(written) => succeeded(id, WrittenBody::from(written)),
        Reply::Deleted(deleted) => succeeded(id, DeletedBody::from(deleted)),
        Reply::Checked => succeeded(id, NoBody {}),
        Reply::Mutated(results) => {
            let results = results.into_iter().map(ResultBody::from).collect();
            succeeded(id, ResultsBody { results })
        }
        Reply::Trimmed { trimmed } => succeeded(id, TrimmedBody { trimmed }),
        Reply::Granted(grant) => succeeded(id, GrantBody::from(grant)),
        Reply::Released { released } => succeeded(id, ReleasedBody { released }),
        Reply::Lock { seq, lock } => succeeded(id, LockStatusBody { seq, state: lock.into() }),
        Reply::Count { seq, count } => succeeded(id, CountBody { seq, count }),
        Reply::Get { seq, record: Some(record) } => succeeded(id, GetBody { seq, record: record.into() }),
        Reply::Get { record: None, .. } => failed(id, Error::new(Code::NotFound, "there is no such key")),
        Reply::Records(page) => succeeded(id, RecordsBody::of(page)),
        Reply::Keys(page) => succeeded(id, KeysBody::of(page)),
        Reply::Locks(page) => succeeded(id, LocksBody::of(page)),
        Reply::Changes(Changes { seq, changes, next }) => {
            let records = changes.into_iter().map(Into::into).collect();
            succeeded(id, ChangesBody { seq, records, next })
        }
        Reply::Position { position } => succeeded(id, PositionBody { position }),
        Reply::Forgotten { deleted } => succeeded(id, ForgottenBody { deleted }),
        Reply::Consumed { changes: Changes { seq, changes, next }, position } => {
            let records = changes.into_iter().map(Into::into).collect();
            succeeded(id, ConsumedBody { seq, position, records, next })
        }
        Reply::Consumer { seq, consumer: Some(consumer) } => {
            succeeded(id, ConsumerStatusBody::new(&consumer, seq))
        }
        Reply::Consumer { consumer: None, .. } => {
            failed(id, Error::new(Code::NotFound, "there is no such consumer"))
        }
        Reply::Consumers(page) => succeeded(id, ConsumersBody::of(page)),
        Reply::Head { seq, first } => succeeded(id, HeadBody { seq, first }),
        Reply::Compacted(Compacted { bytes_before, bytes_after }) => {
            succeeded(id, CompactedBody { bytes_before, bytes_after })
        }
        Reply::Restored(Restored { replaced }) => succeeded(id, RestoredBody { replaced }),
        // Only `hello` tells who a store is.
        Reply::Identity(_) => succeeded(id, NoBody {}),
    }
}

fn succeeded(id: Option<&RawValue>, body: impl Serialize) -> Vec<u8> {
    line(&Succeeded { id, ok: true, body })
}

fn failed(id: Option<&RawValue>, error: Error) -> Vec<u8> {
    line(&Failed { id, ok: false, error: error.into() })
}
