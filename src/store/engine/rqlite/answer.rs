//! What a node answers (<https://rqlite.io/docs/api/api/>).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::Trouble;
use crate::store::damage::{self, Damage};
use crate::store::engine::sql::Cells;

/// A body with status 200. What is zero or empty is left out by a node.
#[derive(Debug, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    results: Vec<Item<'a>>,
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
}

/// What became of one statement.
#[derive(Debug, Deserialize)]
struct Item<'a> {
    #[serde(borrow, default)]
    error: Option<Cow<'a, str>>,
    /// Each cell as it is written: a number may be larger than a fraction is exact.
    #[serde(borrow, default)]
    values: Option<Vec<Vec<&'a RawValue>>>,
}

/// The rows of each statement of a request.
///
/// # Errors
/// [`Trouble::Sql`] when a statement failed, and so all of them had no effect; [`Trouble::Lost`] for anything else.
pub(super) fn rows(body: &[u8], statements: usize) -> Result<Vec<Rows<'_>>, Trouble> {
    let Body { results, error } = serde_json::from_slice(body)
        .map_err(|error| Trouble::Lost(format!("its answer cannot be read: {error}")))?;
    // One in place of an answer, though the status is 200.
    if let Some(error) = error {
        return Err(Trouble::Lost(error.into_owned()));
    }
    // The results end with the first error.
    if let Some(error) = results.iter().find_map(|item| item.error.as_deref()) {
        return Err(Trouble::Sql(error.to_owned()));
    }
    if results.len() != statements {
        return Err(Trouble::Lost(format!("it answered {} of {statements} statements", results.len())));
    }
    Ok(results.into_iter().map(|item| Rows(item.values.unwrap_or_default())).collect())
}

/// The rows that one statement gave.
#[derive(Debug)]
pub(super) struct Rows<'a>(Vec<Vec<&'a RawValue>>);

impl<'a> Rows<'a> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = damage::Result<Row<'a>>> {
        self.0.iter().map(|cells| cells.iter().map(|cell| Cell::of(cell)).collect::<Result<_, _>>().map(Row))
    }

    /// The one row of `kv_meta`, or of a statement that always gives a row.
    pub(super) fn only(&self) -> damage::Result<Row<'a>> {
        self.iter().next().unwrap_or_else(|| Err(Damage::new("kv_meta is empty")))
    }
}

/// A row.
pub(super) struct Row<'a>(Vec<Cell<'a>>);

enum Cell<'a> {
    Null,
    Integer(i64),
    Text(Cow<'a, str>),
    /// Something that no table of kv has.
    Other(&'a str),
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Cell<'a> {
    fn of(raw: &'a RawValue) -> damage::Result<Cell<'a>> {
        let raw = raw.get();
        Ok(match raw.as_bytes().first() {
            Some(b'"') => {
                let Text(text) = serde_json::from_str(raw)
                    .map_err(|error| Damage::new(format!("a column does not hold text: {error}")))?;
                Cell::Text(text)
            }
            Some(b'n') => Cell::Null,
            _ => raw.parse().map_or(Cell::Other(raw), Cell::Integer),
        })
    }
}

impl Cells for Row<'_> {
    fn integer(&self, index: usize) -> damage::Result<Option<i64>> {
        match self.0.get(index) {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Integer(number)) => Ok(Some(*number)),
            Some(Cell::Text(_)) => Err(Damage::new("a column holds text, not an integer")),
            Some(Cell::Other(other)) => Err(Damage::new(format!("a column holds {other}, not an integer"))),
            None => Err(Damage::new("a column is missing")),
        }
    }

    fn text(&self, index: usize) -> damage::Result<Option<&str>> {
        match self.0.get(index) {
            Some(Cell::Null) => Ok(None),
            Some(Cell::Text(text)) => Ok(Some(text)),
            Some(Cell::Integer(number)) => Err(Damage::new(format!("a column holds {number}, not text"))),
            Some(Cell::Other(other)) => Err(Damage::new(format!("a column holds {other}, not text"))),
            None => Err(Damage::new("a column is missing")),
        }
    }
}
