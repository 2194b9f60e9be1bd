//! The requests of the protocol.

use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::schema::{Schemas, with_properties_of};
use super::{Fields, Id, counters, imports, line, mutate, reads, records, session, writes};
use crate::store::{Code, Error, LockAcquire, Read, Request, Result, Subscribe, Write, WriteOperation};

/// The content of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// An operation of the store.
    Store(Request),
    /// Follow the stream on this connection.
    Subscribe(Subscribe),
    /// End a subscription of this connection.
    Unsubscribe(Id),
    /// Acquire a lock, for this connection or with a wait.
    Acquire(Acquire),
    /// Give up a request of this connection that waits.
    Cancel(Id),
    /// Describe the daemon and its store.
    Hello,
    /// Describe the daemon and its present state.
    Status,
    /// End the daemon.
    Shutdown,
    /// Close this connection from the daemon's side, after everything else is answered.
    Bye,
}

impl From<Request> for Call {
    fn from(request: Request) -> Call {
        Call::Store(request)
    }
}

impl From<Read> for Call {
    fn from(read: Read) -> Call {
        Request::Read(read).into()
    }
}

impl From<Write> for Call {
    fn from(write: Write) -> Call {
        Request::Write(write).into()
    }
}

impl From<WriteOperation> for Call {
    fn from(operation: WriteOperation) -> Call {
        Write::from(operation).into()
    }
}

/// A lock to acquire on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// The lock.
    pub acquire: LockAcquire,
    /// How long to wait for it.
    pub wait: Duration,
    /// Whether it is released when the connection ends.
    pub session: bool,
}

/// Visits every operation of the wire, to read a request or to describe them all.
pub(super) trait Operations {
    /// Visits the operation `name`. Its request has the fields `F`, from which `call` makes a call; its reply has the
    /// members `B`.
    fn add<F: RequestFields, B: JsonSchema>(&mut self, op: &str, call: impl FnOnce(F) -> Result<Call>);

    /// Adds alternative members for the reply to an operation that was added before.
    fn add_reply<B: JsonSchema>(&mut self, _op: &str) {}
}

fn show(operations: &mut impl Operations) {
    reads::show(operations);
    records::show(operations);
    counters::show(operations);
    imports::show(operations);
    mutate::show(operations);
    writes::show(operations);
    session::show(operations);
}

/// The schema of each operation.
pub(super) fn schemas(schemas: &mut Schemas) {
    show(schemas);
}

/// Reads the fields of one operation.
pub(super) fn decode_call(op: &str, fields: Fields<'_>) -> Result<Call> {
    struct Reader<'a> {
        op: &'a str,
        fields: Option<Fields<'a>>,
        call: Option<Result<Call>>,
    }
    impl Operations for Reader<'_> {
        fn add<F: RequestFields, B: JsonSchema>(&mut self, op: &str, call: impl FnOnce(F) -> Result<Call>) {
            if op == self.op
                && let Some(fields) = self.fields.take()
            {
                self.call = Some(F::read(op, fields).and_then(call));
            }
        }
    }
    let mut reader = Reader { op, fields: Some(fields), call: None };
    show(&mut reader);
    reader.call.unwrap_or_else(|| {
        Err(Error::new(Code::UnknownOp, format!("there is no operation {op:?}"))
            .hint("the operations are listed in docs/protocol.md"))
    })
}

/// The fields of a request besides its id, its op and its timeout.
pub(super) trait RequestFields: Sized {
    fn read(op: &str, fields: Fields<'_>) -> Result<Self>;

    fn schema(generator: &mut SchemaGenerator) -> Schema;
}

impl<F: DeserializeOwned + JsonSchema> RequestFields for F {
    fn read(op: &str, fields: Fields<'_>) -> Result<F> {
        fields.read(op)
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        F::json_schema(generator)
    }
}

/// Fields that several operations share.
pub(super) trait FieldGroup: Default + DeserializeOwned + JsonSchema {
    const NAMES: &[&str];
}

/// The fields of an operation, and those of a group.
///
/// serde's `flatten` does not refuse unknown fields, so the fields of the group are taken out by their names.
#[derive(Serialize)]
pub(super) struct With<G, F> {
    #[serde(flatten)]
    pub(super) fields: F,
    #[serde(flatten)]
    pub(super) group: G,
}

impl<G: FieldGroup, F: RequestFields> RequestFields for With<G, F> {
    fn read(op: &str, mut fields: Fields<'_>) -> Result<With<G, F>> {
        let own = fields.split_off(G::NAMES);
        let group = if own.0.is_empty() { G::default() } else { own.read(op)? };
        let fields = F::read(op, fields).map_err(|mut error| {
            if let (Code::UnknownField, Some(hint)) = (error.code, &mut error.hint) {
                // serde has an "or" between two.
                *hint = hint.replace("` or `", "`, `");
                hint.extend(G::NAMES.iter().map(|name| format!(", `{name}`")));
            }
            error
        })?;
        Ok(With { fields, group })
    }

    fn schema(generator: &mut SchemaGenerator) -> Schema {
        let group = G::json_schema(generator);
        with_properties_of(&group, F::schema(generator))
    }
}

// Without a doc comment, which the schema would show for every such request.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NoFields {}

/// A negative limit means all, as on the command line.
pub(super) fn limit(limit: Option<i64>) -> Option<u64> {
    limit.and_then(|limit| u64::try_from(limit).ok())
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Encodes a request as a line.
#[must_use]
pub fn encode_request(id: &Id, call: &Call) -> Vec<u8> {
    match call {
        Call::Store(Request::Read(read)) => reads::encode(id, read),
        Call::Store(Request::Write(write)) => writes::encode(id, write),
        _ => session::encode(id, call),
    }
}

/// The line of a request.
pub(super) fn outgoing(id: &Id, op: &str, fields: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct WithOp<'a, T> {
        op: &'a str,
        #[serde(flatten)]
        fields: &'a T,
    }
    outgoing_with_op(id, &WithOp { op, fields })
}

/// The line of a request whose fields name its op.
pub(super) fn outgoing_with_op(id: &Id, fields: &impl Serialize) -> Vec<u8> {
    #[derive(Serialize)]
    struct Message<'a, T> {
        id: &'a RawValue,
        #[serde(flatten)]
        fields: &'a T,
    }
    // An id is JSON text by construction; null is an id that no reply matches.
    let id = serde_json::from_str(id.as_json()).unwrap_or(RawValue::NULL);
    line(&Message { id, fields })
}
