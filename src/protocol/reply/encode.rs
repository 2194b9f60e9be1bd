//! From an answer to its line.

use serde::Serialize;
use serde_json::value::RawValue;

use super::body::{Body, ChangeBody, ErrorBody, LockBody, RecordBody};
use super::{Answer, Id};
use crate::protocol::line;
use crate::store::{Changes, Code, Error, Grant, MutationResult, Page, Reply, Result};

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

#[derive(Serialize)]
struct WithRecord {
    seq: u64,
    #[serde(flatten)]
    record: RecordBody,
}

/// A page of a listing; its items stand under the name of what they are.
#[derive(Serialize)]
struct WithPage<T> {
    seq: u64,
    #[serde(flatten)]
    items: T,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Items {
    Records(Vec<RecordBody>),
    Keys(Vec<String>),
    Locks(Vec<LockBody>),
}

#[derive(Serialize)]
struct WithResults {
    results: Vec<Body>,
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
        Reply::Written(written) => succeeded(id, Body::from(MutationResult::Written(written))),
        Reply::Deleted(deleted) => succeeded(id, Body::from(MutationResult::Deleted(deleted))),
        Reply::Checked => succeeded(id, Body::default()),
        Reply::Mutated(results) => {
            succeeded(id, WithResults { results: results.into_iter().map(Body::from).collect() })
        }
        Reply::Trimmed { trimmed } => succeeded(id, Body { trimmed: Some(trimmed), ..Body::default() }),
        Reply::Granted(Grant { fence, expires }) => {
            let expires = Some(expires.to_string());
            succeeded(id, Body { fence: Some(fence), expires, ..Body::default() })
        }
        Reply::Released { released } => succeeded(id, Body { released: Some(released), ..Body::default() }),
        Reply::Lock { seq, lock: None } => {
            succeeded(id, Body { seq: Some(seq), held: Some(false), ..Body::default() })
        }
        Reply::Lock { seq, lock: Some(lock) } => {
            let LockBody { name: _, owner, fence, expires } = lock.into();
            let (owner, fence, expires) = (Some(owner), Some(fence), Some(expires));
            succeeded(id, Body { seq: Some(seq), held: Some(true), owner, fence, expires, ..Body::default() })
        }
        Reply::Count { seq, count } => {
            succeeded(id, Body { seq: Some(seq), count: Some(count), ..Body::default() })
        }
        Reply::Get { seq, record: Some(record) } => succeeded(id, WithRecord { seq, record: record.into() }),
        Reply::Get { record: None, .. } => {
            let error = Error::new(Code::NotFound, "there is no such key");
            line(&Failed { id, ok: false, error: error.into() })
        }
        Reply::Records(Page { seq, items, next }) => {
            page(id, seq, Items::Records(items.into_iter().map(RecordBody::from).collect()), next)
        }
        Reply::Keys(Page { seq, items, next }) => page(id, seq, Items::Keys(items), next),
        Reply::Locks(Page { seq, items, next }) => {
            page(id, seq, Items::Locks(items.into_iter().map(LockBody::from).collect()), next)
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

fn page(id: Option<&RawValue>, seq: u64, items: Items, next: Option<String>) -> Vec<u8> {
    succeeded(id, WithPage { seq, items, more: next.is_some(), next })
}
