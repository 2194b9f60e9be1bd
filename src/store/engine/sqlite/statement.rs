//! Runs one prepared statement of a connection.

use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Connection, Row, params_from_iter};

use super::error::{damaged, describe};
use crate::store::damage::{self, Damage};
use crate::store::engine::sql::{Cells, Value};
use crate::store::error::Error;
use crate::store::open::SqlitePlace;

/// Why a statement did not give the result.
#[derive(Debug)]
pub(super) enum Trouble {
    /// SQLite could not run it.
    Sqlite(rusqlite::Error),
    /// It returned rows that kv did not write.
    Damage(Damage),
}

pub(super) type Result<T> = std::result::Result<T, Trouble>;

impl Trouble {
    pub(super) fn describe(&self, place: &SqlitePlace) -> Error {
        match self {
            Trouble::Sqlite(error) => describe(error, place),
            Trouble::Damage(Damage(what)) => damaged(place, what),
        }
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Trouble {
        Trouble::Sqlite(error)
    }
}

impl From<Damage> for Trouble {
    fn from(damage: Damage) -> Trouble {
        Trouble::Damage(damage)
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match *self {
            Value::Null => ValueRef::Null,
            Value::Integer(number) => ValueRef::Integer(number),
            Value::Text(text) => ValueRef::Text(text.as_bytes()),
            Value::Texts(texts) => return Ok(ToSqlOutput::from(serde_json::json!(texts).to_string())),
            Value::Strings(texts) => return Ok(ToSqlOutput::from(serde_json::json!(texts).to_string())),
        }))
    }
}

impl Cells for Row<'_> {
    fn integer(&self, index: usize) -> damage::Result<Option<i64>> {
        match self.get_ref(index) {
            Ok(ValueRef::Integer(number)) => Ok(Some(number)),
            Ok(ValueRef::Null) => Ok(None),
            other => Err(unfit(other, "an integer")),
        }
    }

    fn text(&self, index: usize) -> damage::Result<Option<&str>> {
        match self.get_ref(index) {
            Ok(ValueRef::Text(text)) => std::str::from_utf8(text)
                .map(Some)
                .map_err(|error| Damage::new(format!("a text is not UTF-8: {error}"))),
            Ok(ValueRef::Null) => Ok(None),
            other => Err(unfit(other, "a text")),
        }
    }
}

fn unfit(found: rusqlite::Result<ValueRef<'_>>, wanted: &str) -> Damage {
    match found {
        Ok(value) => Damage::new(format!("a column that should hold {wanted} holds {}", value.data_type())),
        Err(error) => Damage::new(error.to_string()),
    }
}

/// Calls `look` for each row of a statement, until `look` answers false.
pub(super) fn each_row(
    connection: &Connection,
    text: &str,
    values: &[Value<'_>],
    mut look: impl FnMut(&Row<'_>) -> Result<bool>,
) -> Result<()> {
    let mut statement = Prepared::new(connection, text)?;
    let mut rows = statement.0.query(params_from_iter(values))?;
    while let Some(row) = rows.next()? {
        if !look(row)? {
            break;
        }
    }
    Ok(())
}

/// The first row of a statement.
pub(super) fn first_row<T>(
    connection: &Connection,
    text: &str,
    values: &[Value<'_>],
    make: impl FnOnce(&Row<'_>) -> damage::Result<T>,
) -> Result<Option<T>> {
    Prepared::new(connection, text)?.first_row(values, make)
}

/// The number in the first column of the first row, of a pragma or a count.
pub(super) fn number(connection: &Connection, text: &str, values: &[Value<'_>]) -> Result<i64> {
    let found = first_row(connection, text, values, |row| row.integer(0))?;
    found.flatten().ok_or_else(|| Damage::new("a number is missing").into())
}

/// Runs a statement that returns no rows.
pub(super) fn execute(connection: &Connection, text: &str, values: &[Value<'_>]) -> rusqlite::Result<()> {
    Prepared::new(connection, text)?.execute(values)
}

/// A statement that is run many times, each time with other arguments.
pub(super) struct Prepared<'c>(CachedStatement<'c>);

impl<'c> Prepared<'c> {
    /// Each text is prepared once for a connection. A text holds no data, so there are few of them.
    pub(super) fn new(connection: &'c Connection, text: &str) -> rusqlite::Result<Prepared<'c>> {
        #[cfg(test)]
        tests::note(text);
        connection.prepare_cached(text).map(Prepared)
    }

    /// The first row.
    pub(super) fn first_row<T>(
        &mut self,
        values: &[Value<'_>],
        make: impl FnOnce(&Row<'_>) -> damage::Result<T>,
    ) -> Result<Option<T>> {
        let mut rows = self.0.query(params_from_iter(values))?;
        Ok(rows.next()?.map(make).transpose()?)
    }

    /// Runs it to its end.
    pub(super) fn execute(&mut self, values: &[Value<'_>]) -> rusqlite::Result<()> {
        let mut rows = self.0.query(params_from_iter(values))?;
        // `query` and not `execute`: some pragmas answer with a row.
        while rows.next()?.is_some() {}
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    /// The texts that the tests of this process have run.
    static RUN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

    pub(super) fn note(text: &str) {
        RUN.lock().unwrap().insert(text.to_owned());
    }

    /// All texts so far.
    pub(in super::super) fn run() -> BTreeSet<String> {
        RUN.lock().unwrap().clone()
    }
}
