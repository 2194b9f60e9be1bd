//! The tables and indexes of kv, compared with those that the migrations make.

use rusqlite::Connection;

use super::Snapshot;
use crate::store::engine::check::{Cell, Check};
use crate::store::engine::migrations::{SQLITE, SQLITE_TABLE};
use crate::store::engine::sqlite::error::describe;
use crate::store::error::Result;

/// Every table of kv.
const TABLES: &[&str] =
    &["kv_migration", "kv_meta", "kv_record", "kv_stream", "kv_lock", "kv_consumer", "kv_once", "kv_batch"];

/// The columns of a table and its indexes, one a line.
const SHAPE: &str =
    "select format('%s %s%s', name, lower(type), iif(\"notnull\", ' not null', '')) from pragma_table_xinfo(?1)
    union all
    select format('%s on (%s)%s', i.name, (
            select group_concat(coalesce(c.name, '?'), ', ') from pragma_index_info(i.name) c),
        iif(i.\"unique\", ' unique', ''))
    from pragma_index_list(?1) i";

/// Answers the tables that are as kv made them.
pub(super) fn check(check: &mut Check<'_, '_>, snapshot: &Snapshot<'_>) -> Result<Vec<&'static str>> {
    let described = |error: rusqlite::Error| describe(&error, snapshot.place);
    let expected = expected().map_err(described)?;
    let mut sound = Vec::new();
    for &table in TABLES {
        let wanted = shape(&expected, table).map_err(described)?;
        let found = shape(snapshot.connection, table).map_err(described)?;
        if found.is_empty() {
            check.find(table, None, "it is missing");
            continue;
        }
        let missing: Vec<_> = wanted.iter().filter(|part| !found.contains(part)).collect();
        for part in &missing {
            check.find(table, None, format!("{part} is missing"));
        }
        for part in found.iter().filter(|part| !wanted.contains(part)) {
            check.find(table, None, format!("{part} is not kv's"));
        }
        // An index that is missing only makes it slow.
        if missing.iter().all(|part| part.contains(" on (")) {
            sound.push(table);
        }
    }
    let triggers = "select name, tbl_name from sqlite_schema where type = 'trigger' and tbl_name glob 'kv_*'";
    check.each("database", triggers, |check, row| {
        let word = |column| match row.cell(column) {
            Ok(Cell::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        };
        let (name, table) = (word("name"), word("tbl_name"));
        check.find("database", None, format!("the trigger {name:?} on {table} is not kv's"));
        Ok(())
    })?;
    check.steps(SQLITE)?;
    Ok(sound)
}

/// A database with the tables of this version.
fn expected() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(SQLITE_TABLE)?;
    for step in SQLITE {
        connection.execute_batch(step.sql)?;
    }
    Ok(connection)
}

fn shape(connection: &Connection, table: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare(SHAPE)?.query_map([table], |row| row.get(0))?.collect()
}
