//! The tables and indexes of kv, compared with those that the migrations make.

use rusqlite::Connection;

use super::Check;
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

impl Check<'_, '_> {
    /// Answers the tables that are as kv made them.
    pub(super) fn schema(&mut self) -> Result<Vec<&'static str>> {
        let expected = expected().map_err(|error| describe(&error, self.place))?;
        let mut sound = Vec::new();
        for &table in TABLES {
            let wanted = shape(&expected, table).map_err(|error| describe(&error, self.place))?;
            let found = shape(self.connection, table).map_err(|error| describe(&error, self.place))?;
            if found.is_empty() {
                self.find(table, None, "it is missing");
                continue;
            }
            let missing: Vec<_> = wanted.iter().filter(|part| !found.contains(part)).collect();
            for part in &missing {
                self.find(table, None, format!("{part} is missing"));
            }
            for part in found.iter().filter(|part| !wanted.contains(part)) {
                self.find(table, None, format!("{part} is not kv's"));
            }
            // An index that is missing only makes it slow.
            if missing.iter().all(|part| part.contains(" on (")) {
                sound.push(table);
            }
        }
        let triggers =
            "select name, tbl_name from sqlite_schema where type = 'trigger' and tbl_name glob 'kv_*'";
        self.each("database", triggers, |check, row| {
            let (name, table) = (row.get::<_, String>(0), row.get::<_, String>(1));
            let (name, table) = (name.unwrap_or_default(), table.unwrap_or_default());
            check.find("database", None, format!("the trigger {name:?} on {table} is not kv's"));
            Ok(())
        })?;
        let known: Vec<i64> = SQLITE.iter().map(|step| step.number).collect();
        let mut applied = Vec::new();
        self.each("kv_migration", "select number from kv_migration order by number", |_, row| {
            applied.extend(row.get::<_, i64>(0));
            Ok(())
        })?;
        if applied != known {
            self.find("kv_migration", None, format!("it has the steps {applied:?}, and kv has {known:?}"));
        }
        Ok(sound)
    }
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
