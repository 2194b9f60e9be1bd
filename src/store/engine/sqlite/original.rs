//! Reads a database of the Go original in a file.

use rusqlite::Connection;

use super::connection::{Access, connect, connect_standing};
use super::error::in_use;
use super::place::is_file_at;
use super::standing::StandingFiles;
use super::statement::{Trouble, each_row};
use crate::store::engine::sql::Dialect;
use crate::store::engine::sql::original;
use crate::store::error::Result;
use crate::store::open::SqlitePlace;
use crate::store::original::{Row, missing};

/// The rows behind a key, or the first ones. It blocks the thread.
///
/// # Errors
/// `bad_request` when there is no such table, `busy` when another process wrote to files that could not be shared with it.
pub(crate) fn page(place: &SqlitePlace, after: Option<&str>) -> Result<Vec<Row>> {
    let path = place.file()?;
    if !is_file_at(path)? {
        return Err(missing(&place.to_string()));
    }
    // Where no process has the file open, SQLite would leave a log and its index beside it.
    let standing = StandingFiles::at(path).filter(StandingFiles::is_idle);
    let rows = read(place, standing.as_ref(), after).map_err(|trouble| trouble.describe(place))?;
    match standing.is_none_or(|standing| standing.holds()) {
        true => rows.ok_or_else(|| missing(&place.to_string())),
        false => Err(in_use(place)),
    }
}

/// None when there is no such table.
fn read(
    place: &SqlitePlace,
    standing: Option<&StandingFiles>,
    after: Option<&str>,
) -> std::result::Result<Option<Vec<Row>>, Trouble> {
    let SqlitePlace::File { path, .. } = place else { return Ok(None) };
    let connection: Connection = match standing {
        Some(standing) => connect_standing(path, standing)?,
        None => connect(path, Access::Read)?,
    };
    if !connection.table_exists(None, "kv")? {
        return Ok(None);
    }
    let statement = original::page(Dialect::Sqlite, after);
    let mut rows = Vec::new();
    each_row(&connection, &statement.text, &statement.values, |row| {
        rows.push(original::row(row)?);
        Ok(true)
    })?;
    Ok(Some(rows))
}
