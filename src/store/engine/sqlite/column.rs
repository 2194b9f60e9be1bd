//! The columns of a row, checked as the numbers, times and texts that they should be.

use sqlx::sqlite::{Sqlite, SqliteRow};
use sqlx::{Decode, Row as _, Type};

use super::error::damaged;
use crate::store::engine::damage;
pub(super) use crate::store::engine::damage::{Damage, Result};
use crate::store::error::Error;
use crate::store::json_text::JsonText;
use crate::store::open::SqlitePlace;

impl Damage {
    pub(super) fn describe(&self, place: &SqlitePlace) -> Error {
        damaged(place, &self.0)
    }
}

pub(super) fn column<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(
    row: &'r SqliteRow,
    index: usize,
) -> Result<T> {
    // SQLite gives 0 and "" for null, and sqlx takes them.
    optional(row, index)?.ok_or_else(|| Damage::new("a column is null"))
}

fn optional<'r, T: Decode<'r, Sqlite> + Type<Sqlite>>(row: &'r SqliteRow, index: usize) -> Result<Option<T>> {
    row.try_get(index).map_err(|error| Damage::new(error.to_string()))
}

pub(super) fn count(row: &SqliteRow, index: usize) -> Result<u64> {
    damage::count(column(row, index)?)
}

/// A count that may be missing, as the smallest of none.
pub(super) fn optional_count(row: &SqliteRow, index: usize) -> Result<Option<u64>> {
    optional::<i64>(row, index)?.map(damage::count).transpose()
}

pub(super) fn time_ms(row: &SqliteRow, index: usize) -> Result<i64> {
    damage::time_ms(column(row, index)?)
}

pub(super) fn flag(row: &SqliteRow, index: usize) -> Result<bool> {
    damage::flag(column(row, index)?)
}

pub(super) fn optional_text(row: &SqliteRow, index: usize) -> Result<Option<String>> {
    optional(row, index)
}

pub(super) fn json(row: &SqliteRow, index: usize) -> Result<JsonText> {
    Ok(JsonText::from_stored(column(row, index)?)?)
}
