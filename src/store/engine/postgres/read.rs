//! Reads: each is one snapshot, with the position of the store in it.

use std::pin::pin;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use tokio_postgres::Row;

use super::Core;
use super::error::Trouble;
use super::session::{Session, in_time, mark};
use super::statement::Result;
use crate::limits;
use crate::store::damage::Damage;
use crate::store::engine::query::{Reading, RowSink};
use crate::store::engine::sql::{self, Cells as _, Dialect, Statement, Tail};
use crate::store::engine::{Snapshot, migrations};
use crate::store::error::{Code, Error};
use crate::store::position::Position;

/// The time, the schema, the session and the position of the store, as columns of one row with others.
pub(super) fn standing_columns() -> String {
    let now_ms = Dialect::Postgres.now_ms();
    let (mark, position) = (mark!(), sql::columns!(position));
    format!(
        "{now_ms} as now_ms, (select max(number) from kv_migration) as schema, {mark} as session, {position}"
    )
}

/// The first column of the position among the [`standing_columns`].
const POSITION: usize = 3;

/// Whether a connection can be used again behind a read.
pub(super) enum After {
    Kept,
    /// More rows are on their way than are worth waiting for.
    Dropped,
}

/// A read that can be begun anew.
#[async_trait]
pub(super) trait Read: Send {
    type Found: Send;

    async fn read(&mut self, session: &Session) -> Result<(Self::Found, After)>;
}

impl Core {
    /// Reads on a connection; on another one when the first turns out to be lost.
    pub(super) async fn read_on<R: Read>(&self, read: &mut R) -> std::result::Result<R::Found, Error> {
        let mut tries = 0;
        loop {
            let reader = self.sessions.reader(tries > 0).await?;
            tries += 1;
            match in_time(read.read(&reader.session)).await {
                Ok((found, after)) => {
                    if matches!(after, After::Kept) {
                        self.sessions.give_back(reader);
                    }
                    return Ok(found);
                }
                Err(trouble) if trouble.is_loss() => {
                    self.sessions.count_loss();
                    if tries == limits::POSTGRES_TRIES || matches!(trouble, Trouble::TimedOut) {
                        return Err(trouble.describe(&self.sessions.place));
                    }
                }
                Err(trouble) => {
                    reader.session.send("rollback");
                    self.sessions.give_back(reader);
                    return Err(of_a_read(trouble.describe(&self.sessions.place)));
                }
            }
        }
    }

    pub(super) async fn read(
        &self,
        mut reading: Reading,
    ) -> std::result::Result<Snapshot<Box<dyn RowSink>>, Error> {
        let (position, now_ms) = self.read_on(&mut reading).await?;
        Ok(Snapshot { position, now_ms: self.now_ms(now_ms), rows: reading.rows })
    }
}

/// What a read is told that a role may not do: nothing was to be written.
fn of_a_read(error: Error) -> Error {
    match error.code {
        Code::ReadOnly => Error { code: Code::Unavailable, ..error },
        _ => error,
    }
}

/// Where the store stands, of a row with the [`standing_columns`] from `index` on, and the time.
pub(super) fn standing(session: &Session, row: &Row, index: usize) -> Result<(Position, i64)> {
    let row = Tail(index, row);
    session.check_mark(row.text(2)?)?;
    let number = |index| row.integer(index)?.ok_or_else(|| Damage::new("a number is missing"));
    migrations::check_newest(migrations::POSTGRES, number(1)?).map_err(Trouble::Told)?;
    Ok((sql::position(&Tail(POSITION, &row), session.opened)?, number(0)?))
}

#[async_trait]
impl Read for Reading {
    type Found = (Position, i64);

    async fn read(&mut self, session: &Session) -> Result<((Position, i64), After)> {
        let client = &session.client;
        let Reading { question, rows, .. } = self;
        rows.clear();
        let text = format!("select {} from kv_meta", standing_columns());
        let where_it_stands = session.ready(Statement { text, values: Vec::new() }).await?;
        let ready = session.ready(question.statement(Dialect::Postgres)).await?;
        let begin = client.batch_execute("begin isolation level repeatable read read only");
        let (begun, standing_rows, found) =
            tokio::join!(begin, where_it_stands.all_rows(client), ready.rows(client));
        begun?;
        let standing_rows = standing_rows?;
        let row = standing_rows.first().ok_or_else(|| Damage::new("kv_meta is empty"))?;
        let (position, now_ms) = standing(session, row, 0)?;
        let mut found = pin!(found?);
        let mut after = After::Kept;
        while let Some(row) = found.try_next().await? {
            if !rows.add(&row, &position)? {
                after = drain(found.as_mut()).await?;
                break;
            }
        }
        rows.finish(&position)?;
        session.send("commit");
        Ok(((position, now_ms), after))
    }
}

/// Passes over the rows that are left, unless they are too many.
async fn drain(mut rows: std::pin::Pin<&mut tokio_postgres::RowStream>) -> Result<After> {
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        bytes += row.raw_size_bytes();
        if bytes > limits::POSTGRES_DRAINED_BYTES {
            return Ok(After::Dropped);
        }
    }
    Ok(After::Kept)
}
