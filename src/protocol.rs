//! The wire, kv/1: one JSON object per line, both ways. No other file knows how a message is spelled.
//!
//! Requests are strict: an unknown field is an error, so that a misspelled condition never becomes a write without one.
//! Replies are lenient: a client ignores members that it does not know.

mod body;
mod consumers;
mod counters;
mod event;
mod hello;
mod imports;
mod lines;
mod mutate;
mod plain;
mod reads;
mod records;
mod reply;
mod request;
mod retention;
mod schema;
mod session;
mod status;
mod strict;
mod writes;

use std::borrow::Cow;
use std::fmt;

use serde::de::value::MapDeserializer;
use serde::de::{self, Deserialize, DeserializeOwned, MapAccess, Visitor};
use serde::ser::Serialize;
use serde_json::value::RawValue;

pub use body::{ChangeBody, LockStateBody};
pub use consumers::ConsumerStatusBody;
pub use event::subscription_of;
pub(crate) use event::{append_change, decode_event, encode_change, encode_end, encode_progress};
pub use hello::{Hello, Limits, Subscribed};
pub use lines::{Line, LineCodec};
pub use mutate::{ResultBody, parse_mutation};
pub(crate) use plain::{append_reply, append_shared, decode_plain};
pub use records::RecordBody;
pub(crate) use reply::decode_own;
pub use reply::{Answer, decode_reply, encode_reply, is_reply};
pub use request::{Acquire, Call, encode_request};
pub use retention::RetentionFields;
pub use schema::schema;
pub use status::{
    CommitFigures, RecentFigures, RequestFigures, ServerStatus, Status, SubscriptionStatus, server_statuses,
};

use crate::store::{Code, Error, Result};
use crate::{limits, plain_words};

/// The number of this protocol. Messages are only ever added to within a number.
pub const PROTOCOL: u32 = 1;

/// The name that a client gives a request: a string or an integer, echoed as it was spelled.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(String);

impl Id {
    /// The id with this number.
    #[must_use]
    pub fn number(number: u64) -> Id {
        Id(number.to_string())
    }

    /// The id as JSON text.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }

    /// The id as a member of a message.
    fn to_raw(&self) -> Box<RawValue> {
        // It is JSON text by construction; null is an id that no request has.
        RawValue::from_string(self.0.clone()).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }

    /// The id with this short JSON text.
    fn of_plain(text: &str) -> Id {
        Id(text.to_owned())
    }

    fn of_field(field: &str, raw: &RawValue) -> Result<Id> {
        let text = raw.get();
        let integer = || text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
        if text.len() <= limits::KEY_BYTES && (text.starts_with('"') || integer()) {
            Ok(Id(text.to_owned()))
        } else {
            Err(Error::bad_field(field, format!("{field} is a string of up to 1,024 bytes or an integer")))
        }
    }
}

/// A request line that was understood.
#[derive(Debug)]
pub struct Incoming {
    /// The id of the request, which its reply echoes.
    pub id: Option<Id>,
    /// How long the client wants to wait, in milliseconds.
    pub timeout_ms: Option<u64>,
    /// What the request asks for.
    pub call: Call,
}

/// Reads a request line, without its newline.
///
/// # Errors
/// The reason why the line is not a request, with its id if it has one.
pub fn decode_request(line: &[u8]) -> std::result::Result<Incoming, (Option<Id>, Error)> {
    let text = std::str::from_utf8(line)
        .map_err(|error| (None, parse_error(format!("byte {} is not UTF-8", error.valid_up_to()))))?;
    let Fields(mut fields) =
        serde_json::from_str(text).map_err(|error| (None, parse_error(plain_words::of_json(&error))))?;
    let mut take = |name: &str| {
        let position = fields.iter().position(|(field, _)| field == name)?;
        Some(fields.remove(position).1)
    };
    let (id, op, timeout_ms) = (take("id"), take("op"), take("timeout_ms"));
    let id = id.map(|id| Id::of_field("id", id)).transpose().map_err(|error| (None, error))?;
    match decode_call(op, timeout_ms, Fields(fields)) {
        Ok((timeout_ms, call)) => Ok(Incoming { id, timeout_ms, call }),
        Err(error) => Err((id, error)),
    }
}

/// Reads the part of a request besides its id.
fn decode_call(
    op: Option<&RawValue>,
    timeout_ms: Option<&RawValue>,
    fields: Fields<'_>,
) -> Result<(Option<u64>, Call)> {
    let op = op.ok_or_else(|| {
        Error::bad_field("op", "the request has no op").hint(r#"for example: {"op":"get","key":"hello"}"#)
    })?;
    let op: Cow<'_, str> = serde_json::from_str(op.get())
        .map_err(|_| Error::bad_field("op", "op is the name of an operation, a string"))?;
    fields.check_repeated(&op)?;
    let timeout_ms = timeout_ms
        .map(|raw| match raw.get().parse::<u64>() {
            Ok(timeout_ms @ 1..=limits::TIMEOUT_MS) => Ok(timeout_ms),
            _ => Err(Error::bad_field("timeout_ms", "timeout_ms is a number of milliseconds, at most a day")),
        })
        .transpose()?;
    Ok((timeout_ms, request::decode_call(&op, fields)?))
}

fn parse_error(reason: String) -> Error {
    Error::new(Code::ParseError, format!("the line is not a JSON object: {reason}"))
        .hint("send one JSON object per line, ended by a newline")
}

/// The members of a JSON object, in order, with their text.
struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> std::result::Result<Fields<'de>, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    fields.push((name, map.next_value()?));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed from the line unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Fields<'a> {
    /// Refuses a field that occurs twice, and more fields than any operation has, because comparing them would take
    /// long.
    fn check_repeated(&self, op: &str) -> Result<()> {
        if self.0.len() > limits::FIELDS_PER_REQUEST {
            return Err(Error::new(Code::TooLarge, format!("{op} has {} fields", self.0.len())));
        }
        let names = || self.0.iter().map(|(name, _)| name.as_ref());
        let twice = names()
            .enumerate()
            .find_map(|(index, name)| names().take(index).any(|before| before == name).then_some(name));
        twice.map_or(Ok(()), |twice| {
            Err(Error::bad_field(twice, format!("{op} has the field {twice:?} twice")))
        })
    }

    /// Removes the fields of these names, and returns them.
    fn split_off(&mut self, names: &[&str]) -> Fields<'a> {
        Fields(self.0.extract_if(.., |(name, _)| names.contains(&name.as_ref())).collect())
    }

    /// Reads the fields of an operation, strictly.
    fn read<T: DeserializeOwned>(&self, op: &str) -> Result<T> {
        let fields = || {
            MapDeserializer::<_, serde_json::Error>::new(
                self.0.iter().map(|(name, raw)| (name.as_ref(), *raw)),
            )
        };
        T::deserialize(fields()).map_err(|error| {
            let message = error.to_string();
            if let Some((name, _)) =
                self.0.iter().find(|(name, _)| message.starts_with(&format!("unknown field `{name}`")))
            {
                let mut unknown =
                    Error::new(Code::UnknownField, format!("{op} has no field {:?}", name.as_ref()));
                unknown.details.field = Some(name.clone().into_owned());
                if let Some((_, expected)) = message.split_once("expected ") {
                    unknown = unknown.hint(format!("its fields are {expected}").replace("one of ", ""));
                }
                return unknown;
            }
            // The path is found by reading the fields again: errors are rare.
            let field = match serde_path_to_error::deserialize::<_, T>(fields()) {
                Err(error) if error.path().iter().next().is_some() => Some(error.path().to_string()),
                _ => None,
            };
            let message = plain_words::of_message(message.split(" at line ").next().unwrap_or_default());
            match field {
                Some(field) => Error::bad_field(&field, format!("{op}: {field}: {message}")),
                None => Error::new(Code::BadRequest, format!("{op}: {message}")),
            }
        })
    }
}

/// Encodes one message as a line with its newline.
fn line(message: &impl Serialize) -> Vec<u8> {
    // Messages are structs of strings, numbers and checked JSON text: serialising them has no way to fail.
    let mut line = serde_json::to_vec(message).unwrap_or_default();
    line.push(b'\n');
    line
}
