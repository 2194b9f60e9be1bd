//! Events of subscriptions. They have no `ok`, and always `subscription` and `event`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::bytes::Bytes;

use super::body::{ChangeBody, ErrorBody};
use super::reply::unusable;
use super::schema::Schemas;
use super::{Id, line};
use crate::store::{Change, Error, Event, Result};

/// No change that the subscription wants has come for a while.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct ProgressBody {
    /// Every change up to this seq that the subscription wants was sent.
    seq: u64,
    /// How many changes of the store are still to be examined.
    lag: u64,
}

/// The subscription ended.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct EndBody {
    /// The code of the error: `trimmed`, `epoch_changed`, `consumer_busy`, `unavailable`, …
    reason: String,
    error: ErrorBody,
}

#[derive(Serialize)]
struct EventMessage<'a, T> {
    subscription: &'a RawValue,
    event: &'static str,
    #[serde(flatten)]
    body: T,
}

/// The schemas of events.
pub(super) fn schemas(schemas: &mut Schemas) {
    schemas.event::<ChangeBody>("change");
    schemas.event::<ProgressBody>("progress");
    schemas.event::<EndBody>("end");
}

/// The part of a change's event that is the same for every subscription.
#[must_use]
pub(crate) fn encode_change(change: Change) -> Bytes {
    line(&ChangeBody::from(change)).into()
}

/// Appends the event of a change, whose shared part [`encode_change`] has made.
pub(crate) fn append_change(lines: &mut Vec<u8>, subscription: &Id, change: &Bytes) {
    lines.extend_from_slice(b"{\"subscription\":");
    lines.extend_from_slice(subscription.as_json().as_bytes());
    lines.extend_from_slice(b",\"event\":\"change\",");
    // After the brace that opens the object.
    lines.extend_from_slice(&change[1..]);
}

/// The line with the progress of a subscription.
#[must_use]
pub(crate) fn encode_progress(subscription: &Id, seq: u64, lag: u64) -> Vec<u8> {
    outgoing(subscription, "progress", ProgressBody { seq, lag })
}

/// The line with the end of a subscription and its reason.
#[must_use]
pub(crate) fn encode_end(subscription: &Id, error: Error) -> Vec<u8> {
    outgoing(subscription, "end", EndBody { reason: error.code.as_str().to_owned(), error: error.into() })
}

fn outgoing(subscription: &Id, event: &'static str, body: impl Serialize) -> Vec<u8> {
    // An id is JSON text by construction.
    let subscription = serde_json::from_str(subscription.as_json()).unwrap_or(RawValue::NULL);
    line(&EventMessage { subscription, event, body })
}

/// The subscription to which a line belongs, the reply to `subscribe` or an event, and whether it is the last event.
#[must_use]
pub fn subscription_of(line: &[u8]) -> Option<(Id, bool)> {
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(borrow)]
        subscription: &'a RawValue,
        event: Option<String>,
    }
    let Head { subscription, event } = serde_json::from_slice(line).ok()?;
    let id = Id::of_field("subscription", subscription).ok()?;
    Some((id, event.is_some_and(|event| event == "end")))
}

/// Reads an event; none when it is of a kind that this version does not know.
///
/// # Errors
/// The error with which the subscription ends, or `internal` when the line is not an event.
pub(crate) fn decode_event(line: &[u8]) -> Result<Option<Event>> {
    #[derive(Deserialize)]
    struct Head {
        event: String,
    }
    let Head { event } = read(line)?;
    match event.as_str() {
        "change" => Ok(Some(Event::Change(read::<ChangeBody>(line)?.try_into()?))),
        "progress" => {
            let ProgressBody { seq, lag } = read(line)?;
            Ok(Some(Event::Progress { seq, lag }))
        }
        "end" => Err(read::<EndBody>(line)?.error.into()),
        _ => Ok(None),
    }
}

fn read<'de, T: Deserialize<'de>>(line: &'de [u8]) -> Result<T> {
    serde_json::from_slice(line).map_err(|error| unusable(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Code;

    const CHANGE: &str = concat!(
        r#"{"seq":7,"tx":7,"tx_end":true,"action":"create","time":"2023-11-14T22:13:20.000Z","record":"#,
        r#"{"key":"jobs/1","version":1,"revision":7,"type":null,"created":"2023-11-14T22:13:20.000Z","#,
        r#""updated":"2023-11-14T22:13:20.000Z","value":1.10}}"#,
    );

    #[test]
    fn what_is_told_is_what_is_read() {
        let id = Id::number(3);
        let change: Change = serde_json::from_str::<ChangeBody>(CHANGE).unwrap().try_into().unwrap();
        let mut lines = Vec::new();
        append_change(&mut lines, &id, &encode_change(change.clone()));
        let rest = CHANGE.strip_prefix('{').unwrap();
        let expected = format!("{{\"subscription\":3,\"event\":\"change\",{rest}\n");
        assert_eq!(String::from_utf8(lines).unwrap(), expected);
        assert_eq!(decode_event(expected.as_bytes()), Ok(Some(Event::Change(change))));

        let progress = encode_progress(&id, 9, 2);
        assert_eq!(subscription_of(&progress), Some((id.clone(), false)));
        assert_eq!(progress, b"{\"subscription\":3,\"event\":\"progress\",\"seq\":9,\"lag\":2}\n");
        assert_eq!(decode_event(&progress), Ok(Some(Event::Progress { seq: 9, lag: 2 })));

        let mut trimmed = Error::new(Code::Trimmed, "gone");
        trimmed.details.first = Some(5);
        let end = encode_end(&id, trimmed.clone());
        let text = String::from_utf8(end.clone()).unwrap();
        assert!(
            text.starts_with(r#"{"subscription":3,"event":"end","reason":"trimmed","error":{"#),
            "{text}"
        );
        assert_eq!(decode_event(&end), Err(trimmed));
        assert_eq!(subscription_of(&end), Some((id, true)));
        assert_eq!(subscription_of(br#"{"ok":true}"#), None);
        assert_eq!(decode_event(br#"{"subscription":3,"event":"news"}"#), Ok(None));
    }
}
