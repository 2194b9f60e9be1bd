//! The lines of an export: a header, records or changes, and a trailer, by which a cut file is told from a whole one.

use kv::plain_words;
use kv::protocol::ChangeBody;
use kv::store::{Change, Code, Error, Import, JsonText, OnConflict, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::cli::arguments::usage;

/// The number of this format.
pub(super) const FORMAT: u32 = 1;

/// The first line of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    /// The number of the format.
    pub(super) kv_export: u32,
    pub(super) engine: String,
    pub(super) store_id: String,
    pub(super) epoch: String,
    /// The head of the stream when the export began.
    pub(super) seq: u64,
}

/// The last line of an export.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Trailer {
    /// The number of the format.
    pub(super) kv_end: u32,
    pub(super) records: u64,
    /// How many changes there are; missing when the export has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) changes: Option<u64>,
    /// The head of the stream when the export ended.
    pub(super) seq: u64,
}

/// A change of the stream.
#[derive(Serialize, Deserialize)]
pub(super) struct ChangeLine<T> {
    pub(super) change: T,
}

/// A record. Only its key and its value have to be given.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordLine<'a> {
    key: String,
    #[serde(borrow)]
    value: &'a RawValue,
    version: Option<u64>,
    #[serde(rename = "revision")]
    _revision: Option<u64>,
    #[serde(rename = "type")]
    record_type: Option<String>,
    created: Option<Timestamp>,
    updated: Option<Timestamp>,
    expires: Option<Timestamp>,
}

/// Which line it is, when it is none of a record.
#[derive(Deserialize)]
struct Marker<'a> {
    kv_export: Option<u32>,
    kv_end: Option<u32>,
    #[serde(borrow)]
    change: Option<&'a RawValue>,
}

/// A line of an export.
#[derive(Debug)]
pub(super) enum Line {
    Header,
    Record(Import),
    Change(Change),
    Trailer(Trailer),
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// `bad_request` when it is none, with what is wrong.
    pub(super) fn parse(text: &str) -> Result<Line> {
        match serde_json::from_str::<RecordLine<'_>>(text) {
            Ok(record) => record.into_import().map(Line::Record),
            Err(error) => Line::of_marker(text).unwrap_or_else(|| Err(unreadable(text, &error))),
        }
    }

    /// None when it is the line of a record.
    fn of_marker(text: &str) -> Option<Result<Line>> {
        let marker: Marker<'_> = serde_json::from_str(text).ok()?;
        let format = marker.kv_export.or(marker.kv_end).unwrap_or(FORMAT);
        if format != FORMAT {
            let message = format!("the file has the format {format}, and this version of kv reads {FORMAT}");
            return Some(Err(usage(&message, "import it with a newer version of kv")));
        }
        match marker {
            Marker { kv_export: Some(_), .. } => Some(read::<Header>(text).map(|_| Line::Header)),
            Marker { kv_end: Some(_), .. } => Some(read(text).map(Line::Trailer)),
            Marker { change: Some(change), .. } => Some(change_of(change.get()).map(Line::Change)),
            _ => None,
        }
    }
}

impl RecordLine<'_> {
    fn into_import(self) -> Result<Import> {
        Ok(Import {
            key: self.key,
            value: JsonText::parse(self.value.get())?,
            record_type: self.record_type,
            version: self.version,
            created: self.created,
            updated: self.updated,
            expires: self.expires,
            on_conflict: OnConflict::Fail,
        })
    }
}

fn change_of(text: &str) -> Result<Change> {
    let mut change: Change = read::<ChangeBody>(text)?.try_into()?;
    change.record.value = JsonText::parse(change.record.value.get())?;
    Ok(change)
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| unreadable(text, &error))
}

fn unreadable(text: &str, error: &serde_json::Error) -> Error {
    if text.trim_start().starts_with('[') {
        return usage(
            "it is an array, and not one record",
            "one record a line is what --output ndjson of a listing prints",
        );
    }
    Error::new(Code::BadRequest, plain_words::of_json(error))
        .hint("a line is {\"key\":…,\"value\":…}, with version, type, created, updated and expires if they are known")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_needs_a_key_and_a_value() {
        let Ok(Line::Record(import)) = Line::parse(r#"{"value": {"b": 1, "a": 1E2}, "key": "k"}"#) else {
            panic!()
        };
        assert_eq!((import.key.as_str(), import.value.get()), ("k", r#"{"b":1,"a":1E2}"#));
        assert_eq!((import.version, import.created, import.updated), (None, None, None));
        let full = r#"{"key":"k","version":7,"revision":9,"type":"T","created":"2020-01-01T00:00:00.000Z","updated":"2020-01-02T00:00:00+01:00","expires":null,"value":null}"#;
        let Ok(Line::Record(import)) = Line::parse(full) else { panic!() };
        assert_eq!(
            (import.version, import.record_type.as_deref(), import.expires),
            (Some(7), Some("T"), None)
        );
        assert_eq!(import.updated.unwrap().to_string(), "2020-01-01T23:00:00.000Z");
    }

    #[test]
    fn what_is_wrong_with_a_line_is_told() {
        for (text, told) in [
            (r#"{"key":"k"}"#, "missing field `value`, at byte 11"),
            (r#"{"key":"k","value":1,"verison":2}"#, "unknown field `verison`"),
            (r#"{"key":"k","value":1"#, "it ends inside an object, at byte 20"),
            (r#"{"key":"k","value":"\u0000"}"#, "\\u0000"),
            (r#"{"key":"k","value":1,"created":"monday"}"#, "is not an RFC 3339 time"),
            ("[", "it is an array"),
            (r#"{"kv_export":2}"#, "the file has the format 2"),
            (r#"{"kv_export":1}"#, "missing field `engine`"),
            (r#"{"change":{"seq":1}}"#, "missing field `tx`"),
        ] {
            let error = Line::parse(text).unwrap_err();
            assert!(error.message.contains(told), "{text}: {}", error.message);
        }
    }
}
