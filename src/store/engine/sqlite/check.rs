//! Checks a store: SQLite's own check, then the rules of kv, table by table, in one snapshot and in bounded memory.

mod columns;
mod named;
mod records;
mod schema;
mod stream;

use std::cell::Cell;

use rusqlite::{Connection, Row};

use self::columns::Columns;
use super::direct;
use super::error::{describe, is_damage};
use crate::limits;
use crate::store::engine::migrations::{self, check_complete};
use crate::store::error::Result;
use crate::store::maintenance::{Checked, Finding, Progress, Watcher, cancelled};
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
    let mut check =
        Check { connection, place, finding, watcher, checked: Checked::default(), done: 0, total: 0 };
    check.watch()?;
    check.integrity()?;
    let tables = check.schema()?;
    let Some(meta) = tables.contains(&"kv_meta").then(|| check.meta()).transpose()?.flatten() else {
        return Ok(check.checked);
    };
    check.total = check.count("kv_record")? + 2 * check.count("kv_stream")?;
    if tables.contains(&"kv_stream") && tables.contains(&"kv_record") {
        check.stream(&meta)?;
        check.histories(&meta)?;
        check.records(&meta)?;
    }
    check.named(&tables, &meta)?;
    snapshot.check()?;
    Ok(check.checked)
}

/// The numbers of `kv_meta`.
struct Meta {
    head: i64,
    first: i64,
    fence: i64,
}

struct Check<'a, 'w> {
    connection: &'a Connection,
    place: &'a SqlitePlace,
    finding: &'a mut dyn FnMut(Finding),
    watcher: &'a mut Watcher<'w>,
    checked: Checked,
    /// Rows that were looked at, and those that will be.
    done: u64,
    total: u64,
}

impl Check<'_, '_> {
    fn find(&mut self, table: &'static str, row: Option<String>, problem: impl Into<String>) {
        self.checked.findings += 1;
        (self.finding)(Finding { table, row, problem: problem.into() });
    }

    fn watch(&mut self) -> Result<()> {
        let progress = Progress { done: self.done, total: self.total };
        if (self.watcher)(progress).is_break() { Err(cancelled()) } else { Ok(()) }
    }

    /// Counts a row that was looked at.
    fn pass(&mut self) -> Result<()> {
        self.done += 1;
        if self.done.is_multiple_of(limits::CHECK_STEP_ROWS) { self.watch() } else { Ok(()) }
    }

    fn count(&mut self, table: &'static str) -> Result<u64> {
        let mut count = 0;
        self.each(table, &format!("select count(*) from {table}"), |_, row| {
            count = u64::try_from(row.get::<_, i64>(0).unwrap_or(0)).unwrap_or(0);
            Ok(())
        })?;
        Ok(count)
    }

    /// Looks at each row that a statement gives. Where SQLite cannot read on, that is a finding.
    fn each(
        &mut self,
        table: &'static str,
        text: &str,
        mut look: impl FnMut(&mut Self, &Row<'_>) -> Result<()>,
    ) -> Result<()> {
        // The error of the look itself ends the check.
        let stopped = Cell::new(None);
        let mut read = |check: &mut Self| -> rusqlite::Result<()> {
            let mut select = check.connection.prepare(text)?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                if let Err(error) = look(check, row) {
                    stopped.set(Some(error));
                    break;
                }
            }
            Ok(())
        };
        match read(self) {
            Ok(()) => stopped.take().map_or(Ok(()), Err),
            Err(error) if is_damage(&error) => {
                self.find(table, None, format!("it cannot be read on: {error}"));
                Ok(())
            }
            Err(error) => Err(describe(&error, self.place)),
        }
    }

    /// SQLite's own check, which also compares each index with its table.
    fn integrity(&mut self) -> Result<()> {
        let text = format!("pragma integrity_check({})", limits::INTEGRITY_FINDINGS);
        self.each("database", &text, |check, row| {
            match row.get::<_, String>(0) {
                Ok(told) if told == "ok" => {}
                Ok(told) => check.find("database", None, told),
                Err(error) => check.find("database", None, error.to_string()),
            }
            Ok(())
        })
    }

    /// The one row of `kv_meta`; none when there is none that could be used.
    fn meta(&mut self) -> Result<Option<Meta>> {
        let mut found = None;
        let text = "select one, store_id, epoch, head, first, last_ms, fence, lock_seq from kv_meta";
        self.each("kv_meta", text, |check, row| {
            let mut columns = Columns::of(row);
            let (head, first) = (columns.count("head"), columns.count("first"));
            let fence = columns.count("fence");
            columns.count("lock_seq");
            columns.time("last_ms");
            columns.name("store_id");
            columns.name("epoch");
            if let (Some(head), Some(first)) = (head, first)
                && !(1..=head.saturating_add(1)).contains(&first)
            {
                columns.problem(format!("first is {first}, and head is {head}"));
            }
            if found.is_some() {
                columns.problem("there is more than one row");
            }
            if let (Some(head), Some(first), Some(fence), true) = (head, first, fence, columns.are_sound()) {
                found = Some(Meta { head, first, fence });
            }
            check.tell("kv_meta", None, columns);
            Ok(())
        })?;
        if found.is_none() && self.checked.findings == 0 {
            self.find("kv_meta", None, "it has no row");
        }
        Ok(found)
    }

    fn tell(&mut self, table: &'static str, row: Option<String>, columns: Columns<'_, '_>) {
        for problem in columns.into_problems() {
            self.find(table, row.clone(), problem);
        }
    }
}
