//! The columns of a row. A damaged file may hold anything in them, so nothing is taken for what kv wrote there.

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};

use super::error::damaged;
use crate::store::error::Error;
use crate::store::json_text::{JsonText, JsonTextError};
use crate::store::open::SqlitePlace;

/// What is wrong with the files, in words.
#[derive(Debug)]
pub(super) struct Damage(String);

pub(super) type Result<T> = std::result::Result<T, Damage>;

impl Damage {
    pub(super) fn new(what: impl Into<String>) -> Damage {
        Damage(what.into())
    }

    pub(super) fn describe(&self, place: &SqlitePlace) -> Error {
        damaged(place, &self.0)
    }
}

impl From<JsonTextError> for Damage {
    fn from(error: JsonTextError) -> Damage {
        Damage(format!("a value is no JSON: {error}"))
    }
}

pub(super) fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    index: usize,
) -> Result<T> {
    row.try_get(index).map_err(|error| Damage(error.to_string()))
}

/// A count of kv, which is never negative.
pub(super) fn count(row: &SqliteRow, index: usize) -> Result<u64> {
    u64::try_from(column::<i64>(row, index)?).map_err(|_| Damage::new("a number is negative"))
}

pub(super) fn optional_text(row: &SqliteRow, index: usize) -> Result<Option<String>> {
    column(row, index)
}

pub(super) fn json(row: &SqliteRow, index: usize) -> Result<JsonText> {
    Ok(JsonText::from_stored(column(row, index)?)?)
}
