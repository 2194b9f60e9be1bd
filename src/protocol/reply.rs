//! The replies to requests.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::body::{ErrorBody, NoBody};
use super::session::{CompactedBody, InitBody, RestoredBody};
use super::{Hello, Id, Status, Subscribed, line, reads, writes};
use crate::store::{Code, Compacted, Error, Reply, Request, Restored, Result, Write};

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// The reply of the store.
    Store(Reply),
    /// The answer to `hello`.
    Hello(Box<Hello>),
    /// The answer to `status`.
    Status(Box<Status>),
    /// The answer to `subscribe`.
    Subscribed(Subscribed),
    /// The answer to `shutdown`, `bye` and other requests whose reply only confirms them.
    Done,
}

/// A reply that is to be encoded for a request.
#[derive(Clone, Copy)]
pub(super) struct ReplyLine<'a> {
    id: Option<&'a RawValue>,
}

impl ReplyLine<'_> {
    /// The line of success, with these members.
    pub(super) fn ok(self, body: impl Serialize) -> Vec<u8> {
        #[derive(Serialize)]
        struct Message<'a, T> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a RawValue>,
            ok: bool,
            #[serde(flatten)]
            body: T,
        }
        line(&Message { id: self.id, ok: true, body })
    }

    /// The line of failure, with the error.
    pub(super) fn failed(self, error: Error) -> Vec<u8> {
        #[derive(Serialize)]
        struct Message<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            id: Option<&'a RawValue>,
            ok: bool,
            error: ErrorBody,
        }
        line(&Message { id: self.id, ok: false, error: error.into() })
    }
}

/// Encodes a reply as a line.
#[must_use]
pub fn encode_reply(id: Option<&Id>, answer: Result<Answer>) -> Vec<u8> {
    let line = ReplyLine { id: id.and_then(|id| serde_json::from_str(id.as_json()).ok()) };
    match answer {
        Err(error) => line.failed(error),
        Ok(Answer::Done) => line.ok(NoBody {}),
        Ok(Answer::Hello(hello)) => line.ok(hello),
        Ok(Answer::Status(status)) => line.ok(status),
        Ok(Answer::Subscribed(subscribed)) => line.ok(subscribed),
        Ok(Answer::Store(reply)) => reads::encode_reply(line, reply),
    }
}

/// Reads the reply to a request of the store.
///
/// # Errors
/// The error in the reply, or `internal` when the line is not such a reply.
pub fn decode_reply(request: &Request, line: &[u8]) -> Result<Reply> {
    if let Err(error) = check(line) {
        let absent = if let Request::Read(read) = request { reads::absent(read, &error) } else { None };
        return absent.ok_or(error);
    }
    match request {
        Request::Init => read(line).map(|InitBody { created }| Reply::Init { created }),
        Request::Write(Write { operation, .. }) => writes::decode_reply(operation, line),
        Request::Read(request) => reads::decode_reply(request, line),
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

/// Reads an answer of the daemon.
pub(super) fn read<T: for<'de> Deserialize<'de>>(line: &[u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| unusable(&error.to_string()))
}

pub(super) fn unusable(reason: &str) -> Error {
    Error::new(Code::Internal, format!("the daemon's answer cannot be used: {reason}"))
        .hint("does the daemon have another version? try: kv daemon restart")
}
