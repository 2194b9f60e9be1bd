//! Databases of the Go original (<https://github.com/a-h/kv>), whose records can be taken over.

use super::error::{Code, Error, Result};
use super::json_text::JsonText;
use super::open::Address;
use super::record::Record;
use super::time::Timestamp;

/// How the keys begin under which the original keeps positions in its stream.
const POSITIONS: &str = "github.com/a-h/kv/stream/";

/// A row of the original's table, as it stands there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub key: String,
    pub version: i64,
    /// JSON.
    pub value: String,
    /// Empty when there is none.
    pub record_type: String,
    /// RFC 3339, of any time zone.
    pub created: String,
}

/// A page of the records of such a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginalPage {
    /// The records. The original does not tell when a key was last written, so they were updated when they were created;
    /// their revision is 0.
    pub records: Vec<Record>,
    /// How many rows are left out because they are positions of consumers in the original's stream, whose numbers mean
    /// nothing in another one.
    pub positions: u64,
    /// The last key of the page; none at the end.
    pub last: Option<String>,
}

/// Reads a page of a database of the Go original, behind a key or from the first one on, in the order of that database. Nothing
/// is written there.
///
/// # Errors
/// `bad_request` when there is no table of the original, or a record is not as kv can store it: the message names its key.
/// Otherwise what the database says.
pub async fn page(address: &Address, after: Option<&str>) -> Result<OriginalPage> {
    let rows = address.place().original_page(after).await?;
    let mut page = OriginalPage { last: rows.last().map(|row| row.key.clone()), ..OriginalPage::default() };
    for row in rows {
        if row.key.starts_with(POSITIONS) {
            page.positions += 1;
        } else {
            page.records.push(record(row)?);
        }
    }
    Ok(page)
}

fn record(row: Row) -> Result<Record> {
    let Row { key, version, value, record_type, created } = row;
    let unusable = |what: &str| {
        Error::new(
            Code::BadRequest,
            format!("the record {key:?} of the original cannot be taken over: {what}"),
        )
    };
    let created: Timestamp = created.parse().map_err(|error: Error| unusable(&error.message))?;
    let value = JsonText::parse(&value).map_err(|error| unusable(&error.to_string()))?;
    let version = u64::try_from(version).map_err(|_| unusable(&format!("it has the version {version}")))?;
    let record_type = Some(record_type).filter(|name| !name.is_empty());
    Ok(Record { key, version, revision: 0, record_type, created, updated: created, expires: None, value })
}

/// The error for a database without the table of the original.
pub(crate) fn missing(place: &str) -> Error {
    Error::new(Code::BadRequest, format!("{place} has no table kv of the Go original"))
        .hint("name the database that the original has used; a store of kv itself is copied with kv copy")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(created: &str, value: &str) -> Row {
        Row {
            key: "k".to_owned(),
            version: 3,
            value: value.to_owned(),
            record_type: String::new(),
            created: created.to_owned(),
        }
    }

    #[test]
    fn a_time_is_read_with_its_zone_and_all_its_digits() {
        for (written, expected) in [
            ("2024-05-06T07:08:09.123456789+02:00", "2024-05-06T05:08:09.123Z"),
            ("2024-05-06T07:08:09Z", "2024-05-06T07:08:09.000Z"),
            ("2024-05-06T07:08:09.5-07:30", "2024-05-06T14:38:09.500Z"),
        ] {
            let record = record(row(written, "{\"a\": 1E2}")).unwrap();
            assert_eq!((record.created.to_string(), record.updated), (expected.to_owned(), record.created));
            assert_eq!((record.value.get(), record.version, record.record_type), ("{\"a\":1E2}", 3, None));
        }
    }

    #[test]
    fn what_cannot_be_taken_over_is_named() {
        for (created, value, told) in
            [("monday", "1", "RFC 3339"), ("2024-05-06T07:08:09Z", "\"\\u0000\"", "\\u0000")]
        {
            let error = record(row(created, value)).unwrap_err();
            assert!(error.message.contains("\"k\"") && error.message.contains(told), "{}", error.message);
        }
    }
}
