//! Checks a store in a file: SQLite's own check and the schema, then the rules of kv.

mod schema;

use std::ops::ControlFlow;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::direct;
use super::error::{describe, is_damage};
use crate::limits;
use crate::store::engine::check::{Cell, Check, TableRow, Tables};
use crate::store::engine::migrations::{self, check_complete};
use crate::store::engine::sql::Dialect;
use crate::store::error::Result;
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::open::SqlitePlace;

/// Checks the store in a file, and tells each finding.
pub(crate) fn check(
    place: &SqlitePlace,
    finding: &mut dyn FnMut(Finding),
    watcher: &mut Watcher<'_>,
) -> Result<Checked> {
    let snapshot = direct::read(place)?;
    let connection = &snapshot.connection;
    check_complete(migrations::SQLITE, &direct::schema(connection, place)?, &place.to_string())?;
    let tables = Snapshot { connection, place };
    let mut check = Check::new(&tables, finding, watcher);
    check.watch()?;
    integrity(&mut check)?;
    let there = schema::check(&mut check, &tables)?;
    let checked = check.rules(&there)?;
    snapshot.check()?;
    Ok(checked)
}

/// The store as a connection sees it.
struct Snapshot<'a> {
    connection: &'a Connection,
    place: &'a SqlitePlace,
}

impl TableRow for Row<'_> {
    fn cell(&self, column: &str) -> std::result::Result<Cell<'_>, String> {
        Ok(match self.get_ref(column).map_err(|error| error.to_string())? {
            ValueRef::Null => Cell::Null,
            ValueRef::Integer(number) => Cell::Integer(number),
            ValueRef::Real(_) => Cell::Other("a fraction"),
            ValueRef::Text(text) => Cell::Text(text),
            ValueRef::Blob(_) => Cell::Other("a blob"),
        })
    }
}

impl Tables for Snapshot<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Sqlite
    }

    fn each(
        &self,
        text: &str,
        show: &mut dyn FnMut(&dyn TableRow) -> ControlFlow<()>,
    ) -> Result<Option<String>> {
        let mut read = || -> rusqlite::Result<()> {
            let mut select = self.connection.prepare(text)?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                if show(row).is_break() {
                    break;
                }
            }
            Ok(())
        };
        match read() {
            Ok(()) => Ok(None),
            Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
            Err(error) => Err(describe(&error, self.place)),
        }
    }
}

/// SQLite's own check, which also compares each index with its table.
fn integrity(check: &mut Check<'_, '_>) -> Result<()> {
    let text = format!("pragma integrity_check({})", limits::INTEGRITY_FINDINGS);
    check.each("database", &text, |check, row| {
        match row.cell("integrity_check") {
            Ok(Cell::Text(b"ok")) => {}
            Ok(Cell::Text(told)) => check.find("database", None, String::from_utf8_lossy(told)),
            Ok(other) => check.find("database", None, format!("its check told {other:?}")),
            Err(error) => check.find("database", None, error),
        }
        Ok(())
    })
}
