//! Checks the rules of kv in a store, table by table, in one snapshot and in bounded memory, for every engine.

mod columns;
mod named;
mod records;
mod stream;

use std::ops::ControlFlow;

use self::columns::Columns;
use super::migrations::{Migration, STEPS};
use super::sql::Dialect;
use crate::limits;
use crate::store::error::Result;
use crate::store::maintenance::{Checked, Finding, Progress, Watcher, cancelled};

/// What a column holds.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell<'a> {
    Null,
    /// A truth is 1 or 0.
    Integer(i64),
    Text(&'a [u8]),
    /// Something that no table of kv has, in words.
    Other(&'static str),
}

/// A row, by the names of its columns.
pub(crate) trait TableRow {
    /// What a column holds, or why that cannot be told.
    fn cell(&self, column: &str) -> std::result::Result<Cell<'_>, String>;
}

/// A store at one instant.
pub(crate) trait Tables {
    fn dialect(&self) -> Dialect;

    /// Shows each row that a statement gives, until it is told to stop. Where the database cannot be read on, it answers
    /// why.
    fn each(
        &self,
        text: &str,
        show: &mut dyn FnMut(&dyn TableRow) -> ControlFlow<()>,
    ) -> Result<Option<String>>;
}

/// The numbers of `kv_meta`.
struct Meta {
    head: i64,
    first: i64,
    fence: i64,
}

/// A check under way.
pub(crate) struct Check<'a, 'w> {
    tables: &'a dyn Tables,
    finding: &'a mut dyn FnMut(Finding),
    watcher: &'a mut Watcher<'w>,
    checked: Checked,
    /// Rows that were looked at, and those that will be.
    done: u64,
    total: u64,
}

impl<'a, 'w> Check<'a, 'w> {
    pub(crate) fn new(
        tables: &'a dyn Tables,
        finding: &'a mut dyn FnMut(Finding),
        watcher: &'a mut Watcher<'w>,
    ) -> Check<'a, 'w> {
        Check { tables, finding, watcher, checked: Checked::default(), done: 0, total: 0 }
    }

    /// Checks the rules of those tables that are there, and answers what was looked at.
    pub(crate) fn rules(mut self, there: &[&str]) -> Result<Checked> {
        let Some(meta) = there.contains(&"kv_meta").then(|| self.meta()).transpose()?.flatten() else {
            return Ok(self.checked);
        };
        self.total = self.count("kv_record")? + 2 * self.count("kv_stream")?;
        if there.contains(&"kv_stream") && there.contains(&"kv_record") {
            self.stream(&meta)?;
            self.histories(&meta)?;
            self.records(&meta)?;
        }
        self.named(there, &meta)?;
        Ok(self.checked)
    }

    /// Compares the steps of the schema with those that this version knows.
    pub(crate) fn steps(&mut self, known: &[Migration]) -> Result<()> {
        let known: Vec<i64> = known.iter().map(|step| step.number).collect();
        let mut applied = Vec::new();
        self.each("kv_migration", STEPS, |_, row| {
            applied.extend(Columns::of(row).number("number"));
            Ok(())
        })?;
        if applied != known {
            self.find("kv_migration", None, format!("it has the steps {applied:?}, and kv has {known:?}"));
        }
        Ok(())
    }

    /// Tells something that is wrong.
    pub(crate) fn find(&mut self, table: &'static str, row: Option<String>, problem: impl Into<String>) {
        self.checked.findings += 1;
        (self.finding)(Finding { table, row, problem: problem.into() });
    }

    /// Tells how far it is.
    pub(crate) fn watch(&mut self) -> Result<()> {
        let progress = Progress { done: self.done, total: self.total };
        if (self.watcher)(progress).is_break() { Err(cancelled()) } else { Ok(()) }
    }

    /// Tells the numbers of a column that several rows have, which are `what`.
    fn unique(&mut self, table: &'static str, column: &str, what: &str) -> Result<()> {
        let twice =
            format!("select {column}, count(*) as times from {table} group by {column} having count(*) > 1");
        self.each(table, &twice, |check, row| {
            let columns = Columns::of(row);
            if let (Some(number), Some(times)) = (columns.number(column), columns.number("times")) {
                check.find(table, None, format!("{times} {what} have the {column} {number}"));
            }
            Ok(())
        })
    }

    /// Counts a row that was looked at.
    fn pass(&mut self) -> Result<()> {
        self.done += 1;
        if self.done.is_multiple_of(limits::CHECK_STEP_ROWS) { self.watch() } else { Ok(()) }
    }

    fn count(&mut self, table: &'static str) -> Result<u64> {
        let mut count = 0;
        self.each(table, &format!("select count(*) as count from {table}"), |_, row| {
            count = Columns::of(row).number("count").and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
            Ok(())
        })?;
        Ok(count)
    }

    /// Looks at each row that a statement gives. Where the database cannot be read on, that is a finding.
    pub(crate) fn each(
        &mut self,
        table: &'static str,
        text: &str,
        mut look: impl FnMut(&mut Self, &dyn TableRow) -> Result<()>,
    ) -> Result<()> {
        // The error of the look itself ends the check.
        let mut stopped = None;
        let tables = self.tables;
        let unreadable = tables.each(text, &mut |row| match look(self, row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(error);
                ControlFlow::Break(())
            }
        })?;
        if let Some(why) = unreadable {
            self.find(table, None, format!("it cannot be read on: {why}"));
        }
        stopped.map_or(Ok(()), Err)
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

    fn tell(&mut self, table: &'static str, row: Option<String>, columns: Columns<'_>) {
        for problem in columns.into_problems() {
            self.find(table, row.clone(), problem);
        }
    }
}
