//! Checks a store on a server, in one snapshot of it.

use std::cell::RefCell;
use std::ops::ControlFlow;

use tokio::runtime::Runtime;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::error::Trouble;
use super::session::{Session, connect};
use super::statement::{Result as StatementResult, Text};
use crate::limits;
use crate::store::engine::check::{Cell, Check, TableRow, Tables};
use crate::store::engine::migrations::{self, check_newest};
use crate::store::engine::own_runtime;
use crate::store::engine::sql::Dialect;
use crate::store::error::Result;
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::open::postgres::PostgresPlace;

/// Every table with rules of kv.
const TABLES: &[&str] = &["kv_meta", "kv_record", "kv_stream", "kv_lock", "kv_consumer", "kv_once"];

/// Checks the store on a server, and tells each finding. It blocks the thread, which must not be one that runs tasks.
pub(crate) fn check(
    place: &PostgresPlace,
    finding: &mut dyn FnMut(Finding),
    watcher: &mut Watcher<'_>,
) -> Result<Checked> {
    let runtime = own_runtime()?;
    let (session, _) = runtime.block_on(connect(place))?;
    let snapshot = Snapshot { runtime, session, place };
    let newest = snapshot.begin().map_err(|trouble| trouble.describe(place))?;
    check_newest(migrations::POSTGRES, newest)?;
    let mut check = Check::new(&snapshot, finding, watcher);
    check.watch()?;
    check.steps(migrations::POSTGRES)?;
    check.rules(TABLES)
}

/// The store as a session sees it.
struct Snapshot<'a> {
    runtime: Runtime,
    session: Session,
    place: &'a PostgresPlace,
}

impl Snapshot<'_> {
    /// Begins the snapshot, and answers the number of the newest step of the schema.
    fn begin(&self) -> StatementResult<i64> {
        let client = &self.session.client;
        self.runtime.block_on(async {
            // It may look at every row.
            client
                .batch_execute("set statement_timeout = 0; begin isolation level repeatable read read only")
                .await?;
            let row = client.query_one("select max(number) from kv_migration", &[]).await?;
            Ok(row.try_get::<_, Option<i64>>(0)?.unwrap_or(0))
        })
    }
}

impl TableRow for Row {
    fn cell(&self, column: &str) -> std::result::Result<Cell<'_>, String> {
        let found = self.columns().iter().position(|found| found.name() == column);
        let index = found.ok_or_else(|| format!("there is no column {column}"))?;
        let cell = match *self.columns()[index].type_() {
            Type::INT8 => self.try_get::<_, Option<i64>>(index).map(|number| number.map(Cell::Integer)),
            Type::INT4 => self
                .try_get::<_, Option<i32>>(index)
                .map(|number| number.map(|number| Cell::Integer(number.into()))),
            Type::BOOL => self
                .try_get::<_, Option<bool>>(index)
                .map(|truth| truth.map(|truth| Cell::Integer(truth.into()))),
            _ => self
                .try_get::<_, Option<Text<'_>>>(index)
                .map(|text| text.map(|Text(text)| Cell::Text(text.as_bytes()))),
        };
        Ok(cell.map_err(|error| error.to_string())?.unwrap_or(Cell::Null))
    }
}

impl Tables for Snapshot<'_> {
    fn dialect(&self) -> Dialect {
        Dialect::Postgres
    }

    fn each(
        &self,
        text: &str,
        show: &mut dyn FnMut(&dyn TableRow) -> ControlFlow<()>,
    ) -> Result<Option<String>> {
        let client = &self.session.client;
        let show = RefCell::new(show);
        let read = async {
            client.batch_execute(&format!("declare kv_check no scroll cursor for {text}")).await?;
            let fetch = client.prepare(&format!("fetch {} from kv_check", limits::CHECK_STEP_ROWS)).await?;
            loop {
                let rows = client.query(&fetch, &[]).await?;
                let goes_on = rows.iter().all(|row| (show.borrow_mut())(row).is_continue());
                if rows.is_empty() || !goes_on {
                    break;
                }
            }
            client.batch_execute("close kv_check").await?;
            Ok(())
        };
        self.runtime.block_on(read).map_err(|trouble: Trouble| trouble.describe(self.place))?;
        Ok(None)
    }
}
