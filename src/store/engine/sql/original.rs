//! The table of the Go original (<https://github.com/a-h/kv>), which kv reads and never writes.
//!
//! `kv (key, version, value, type, created)`: a value is JSON text or JSON in the binary form of SQLite or PostgreSQL, a time is RFC 3339 text or a
//! `timestamptz`. There is no time of the last write.

use super::{Cells, Dialect, Statement, Value};
use crate::limits;
use crate::store::damage::{Damage, Result};
use crate::store::original::Row;

/// The rows behind this key in the order of the database, or the first ones: as many as fit a page, and at least one.
pub(crate) fn page(dialect: Dialect, after: Option<&str>) -> Statement<'_> {
    let (value, created) = match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            ("value::text", "to_char(created at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
        _ => ("json(value)", "created"),
    };
    // Only the order of the database has an index.
    let (behind, values) = match after {
        Some(key) => (" where \"key\" > ?", vec![Value::Text(key)]),
        None => ("", Vec::new()),
    };
    let text = format!(
        "select \"key\", version, value, type, created from (
             select s.*, sum(octet_length(value)) over (order by \"key\" rows between unbounded preceding and 1 preceding) as before
             from (
                 select \"key\", version, {value} as value, type, {created} as created from kv{behind}
                 order by \"key\" limit {}
             ) s
         ) t where coalesce(before, 0) < {} order by \"key\"",
        limits::PAGE_RECORDS,
        limits::PAGE_BYTES
    );
    Statement { text, values }
}

/// Reads a row of [`page`].
pub(crate) fn row(row: &dyn Cells) -> Result<Row> {
    let text = |index| row.text(index)?.map(str::to_owned).ok_or_else(|| Damage::new("a column is null"));
    let version = row.integer(1)?.ok_or_else(|| Damage::new("a version is null"))?;
    Ok(Row { key: text(0)?, version, value: text(2)?, record_type: text(3)?, created: text(4)? })
}
