//! Reads: each is one request, one snapshot, and has the position of the store in it.

use std::collections::HashMap;

use super::Core;
use super::answer::Rows;
use super::error::Trouble;
use super::http::Kind;
use super::statement::Body;
use crate::store::damage::Damage;
use crate::store::engine::query::{Reading, RowSink};
use crate::store::engine::sql::{self, Cells as _, Dialect, Statement, Tail, Value};
use crate::store::engine::{Point, SharedRecord, Snapshot, migrations};
use crate::store::error::Error;
use crate::store::position::Position;

/// Where a store stands.
pub(super) struct Standing {
    pub(super) position: Position,
    /// By the clock of the leader, in milliseconds since 1970 UTC.
    pub(super) now_ms: i64,
}

/// The statement for it.
fn standing_statement<'a>() -> Statement<'a> {
    let text = format!(
        "select {}, (select max(number) from kv_migration), batches, {} from kv_meta",
        Dialect::Rqlite.now_ms(),
        sql::columns!(position)
    );
    Statement { text, values: Vec::new() }
}

impl Core {
    /// Reads, in one snapshot with where the store stands. `take` makes something of the rows.
    async fn read_standing<T>(
        &self,
        statement: Statement<'_>,
        mut take: impl FnMut(&Position, &Rows<'_>) -> Result<T, Trouble>,
    ) -> Result<Snapshot<T>, Error> {
        let least = self.history.batches();
        let body = Body::of([standing_statement(), statement]);
        let read = self.cluster.read(Kind::Read, body, |rows| {
            let [standing, found] = &rows[..] else { return Err(Damage::new("an answer is missing").into()) };
            let Standing { position, now_ms } = self.standing(standing, least)?;
            let rows = take(&position, found)?;
            Ok(Snapshot { position, now_ms: self.now_ms(now_ms), rows })
        });
        read.await.map_err(|trouble| trouble.describe(&self.cluster.place))
    }

    /// What [`standing_statement`] gave to a read that had to find at least so many batches.
    fn standing(&self, rows: &Rows<'_>, least: u64) -> Result<Standing, Trouble> {
        let row = rows.only()?;
        let number = |index| row.integer(index)?.ok_or_else(|| Damage::new("a number is missing"));
        migrations::check_newest(migrations::SQLITE, number(1)?)?;
        let opened = self.history.note(least, sql::count(&row, 2)?);
        Ok(Standing { position: sql::position(&Tail(3, &row), opened)?, now_ms: number(0)? })
    }

    /// The time by the clock of the leader, in milliseconds since 1970 UTC.
    pub(super) async fn now_ms_of_leader(&self) -> Result<i64, Error> {
        let text = format!("select {}", Dialect::Rqlite.now_ms());
        let read = self.cluster.read_row(Kind::Read, &text, |row| {
            Ok(row.integer(0)?.ok_or_else(|| Damage::new("a number is missing"))?)
        });
        read.await.map_err(|trouble| trouble.describe(&self.cluster.place))
    }

    pub(super) async fn read(&self, reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>, Error> {
        let Reading { question, mut rows, .. } = reading;
        let read = self.read_standing(question.statement(Dialect::Rqlite), |position, found| {
            rows.clear();
            for row in found.iter() {
                if !rows.add(&row?, position)? {
                    break;
                }
            }
            Ok(rows.finish(position)?)
        });
        let Snapshot { position, now_ms, rows: () } = read.await?;
        Ok(Snapshot { position, now_ms, rows })
    }

    pub(super) async fn point(
        &self,
        keys: &[&str],
        inline_bytes_max: usize,
    ) -> Result<Snapshot<Vec<Point>>, Error> {
        let text = format!(
            "select {}, case when octet_length(value) <= ? then value end from kv_record where {}",
            sql::columns!(record_head),
            Dialect::Rqlite.is_any_of("\"key\"")
        );
        let values = vec![Value::count(inline_bytes_max as u64), Value::Texts(keys)];
        self.read_standing(Statement { text, values }, |position, found| {
            let mut points = HashMap::with_capacity(found.len());
            for row in found.iter() {
                let row = row?;
                let record = sql::record(&row, position.head)?.map(SharedRecord::new);
                points.insert(sql::key(&row)?, record.map_or(Point::Large, Point::Record));
            }
            Ok(keys.iter().map(|key| points.get(*key).cloned().unwrap_or(Point::Absent)).collect())
        })
        .await
    }
}
