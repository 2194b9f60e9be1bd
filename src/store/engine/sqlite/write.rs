//! A batch in two hops: lock and read, then apply and commit.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use sqlx::{Row as _, SqliteConnection};

use super::error::{describe, is_busy, is_io};
use super::run::{Arguments, Stopped, run};
use super::{Database, Sqlite};
use crate::limits;
use crate::store::engine::sqlite::read::{count, optional_text};
use crate::store::error::{Code, Error};
use crate::store::json_text::{JsonText, JsonTextError};
use crate::store::plan::{Meta, Needs, Outcome, Plan, Row, Rows, StreamRow, plan};
use crate::store::request::Write;

/// `begin immediate` takes the write lock first: a transaction that reads before it writes would fail at once when
/// another process wrote in between.
const READ: &str = "
    begin immediate;
    select head, first, last_ms from kv_meta;
    select r.\"key\", r.version, r.revision, r.type, r.created, r.updated
        from json_each(?) k join kv_record r on r.\"key\" = k.value;
    select r.\"key\", r.value from (
            select k.value as wanted, coalesce(sum(octet_length(r.value)) over (
                order by k.key rows between unbounded preceding and 1 preceding), 0) as before
            from json_each(?) k join kv_record r on r.\"key\" = k.value) w
        join kv_record r on r.\"key\" = w.wanted where w.before < ?";

/// Values travel as JSON strings, so SQLite never parses them. The stream comes first: a delete copies the value
/// that stands in `kv_record`. COMMIT is the last statement.
const APPLY: &str = "
    insert into kv_stream
            (seq, tx, tx_end, action, time, \"key\", version, revision, type, created, updated, value)
        select s.value->>0, s.value->>1, s.value->>2, s.value->>3, s.value->>4, s.value->>5, s.value->>6,
            s.value->>7, s.value->>8, s.value->>9, s.value->>10,
            coalesce(s.value->>11, (select value from kv_record where \"key\" = s.value->>5))
        from json_each(?) s;
    delete from kv_record where \"key\" in (select value from json_each(?));
    insert into kv_record (\"key\", version, revision, type, created, updated, value)
        select p.value->>0, p.value->>1, p.value->>2, p.value->>3, p.value->>4, p.value->>5, p.value->>6
        from json_each(?) p where true
        on conflict (\"key\") do update set version = excluded.version, revision = excluded.revision,
            type = excluded.type, created = excluded.created, updated = excluded.updated, value = excluded.value;
    update kv_meta set head = ?, first = ?, last_ms = ?;
    commit";
const APPLY_STATEMENTS: usize = 5;

/// Why a batch was not committed.
enum Failure {
    /// Nothing was written.
    Rejected(Error, Rerun),
    /// The commit may have happened.
    Unknown(Error),
}

/// Whether the requests of a failed batch should be tried one by one, so that the one that cannot be done does not
/// harm its neighbours.
#[derive(PartialEq)]
enum Rerun {
    OneByOne,
    Pointless,
}

impl Sqlite {
    pub(super) async fn write_batch(&self, database: &Database, batch: &[Write]) -> Vec<Outcome> {
        let mut writer = database.writer.lock().await;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut at_once = batch.len();
        while outcomes.len() < batch.len() {
            let rest = &batch[outcomes.len()..];
            let rest = &rest[..at_once.min(rest.len())];
            match self.attempt(database, &mut writer, rest).await {
                Ok(decided) => outcomes.extend(decided),
                Err(Failure::Rejected(_, Rerun::OneByOne)) if rest.len() > 1 => at_once = 1,
                Err(failure) => {
                    let error = failure.into_error();
                    outcomes.extend(rest.iter().map(|_| Err(error.clone())));
                }
            }
        }
        outcomes
    }

    async fn attempt(
        &self,
        database: &Database,
        writer: &mut SqliteConnection,
        batch: &[Write],
    ) -> std::result::Result<Vec<Outcome>, Failure> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(Failure::Rejected(super::failed(), Rerun::Pointless));
        }
        let needs = Needs::of(batch);
        let rows = match self.read_rows(writer, &needs).await {
            Ok(rows) => rows,
            Err(failure) => {
                rollback(writer).await;
                return Err(failure);
            }
        };
        let plan = plan(rows, batch, self.clock.now_ms());
        if plan.is_empty() {
            rollback(writer).await;
            return Ok(plan.outcomes);
        }
        if let Err(Stopped { finished, error }) = run(writer, APPLY, arguments(&plan)).await {
            rollback(writer).await;
            let described = describe(&error, &self.name());
            if finished < APPLY_STATEMENTS - 1 {
                return Err(Failure::Rejected(described, rerun(&error)));
            }
            if is_io(&error) {
                self.failed.store(true, Ordering::SeqCst);
            }
            return Err(Failure::Unknown(described));
        }
        if !self.is_current(database) {
            return Err(Failure::Unknown(
                Error::new(Code::Unavailable, format!("{} was replaced during the write", self.name()))
                    .hint("read the key to learn whether the write was applied"),
            ));
        }
        Ok(plan.outcomes)
    }

    async fn read_rows(
        &self,
        writer: &mut SqliteConnection,
        needs: &Needs<'_>,
    ) -> std::result::Result<Rows, Failure> {
        let arguments = Arguments::default()
            .text(json(&needs.keys))
            .text(json(&needs.values))
            .integer(limits::BATCH_LOADED_BYTES as u64);
        let statements = run(writer, READ, arguments).await.map_err(|stopped| {
            let rerun = if stopped.finished == 0 { Rerun::Pointless } else { rerun(&stopped.error) };
            Failure::Rejected(describe(&stopped.error, &self.name()), rerun)
        })?;
        let damaged = || {
            let error = Error::new(Code::Unavailable, format!("{} has no head: it is damaged", self.name()));
            Failure::Rejected(error, Rerun::Pointless)
        };
        let [_, meta, records, values] = statements.as_slice() else { return Err(damaged()) };
        let meta = meta.rows.first().ok_or_else(damaged)?;
        let mut values: HashMap<String, JsonText> = values
            .rows
            .iter()
            .map(|row| Ok((row.get(0), JsonText::from_stored(row.get(1))?)))
            .collect::<Result<_, JsonTextError>>()
            .map_err(|error| {
                let error = Error::new(Code::Unavailable, format!("{} is damaged: {error}", self.name()));
                Failure::Rejected(error, Rerun::OneByOne)
            })?;
        Ok(Rows {
            meta: Meta { head: count(meta, 0), first: count(meta, 1), last_ms: meta.get(2) },
            records: records
                .rows
                .iter()
                .map(|row| {
                    let key: String = row.get(0);
                    let stored = Row {
                        version: count(row, 1),
                        revision: count(row, 2),
                        record_type: optional_text(row, 3),
                        created_ms: row.get(4),
                        updated_ms: row.get(5),
                        value: values.remove(&key),
                    };
                    (key, stored)
                })
                .collect::<HashMap<_, _>>(),
        })
    }
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::Rejected(error, _) => error,
            Failure::Unknown(error) => error.unknown(),
        }
    }
}

fn rerun(error: &sqlx::Error) -> Rerun {
    if is_busy(error) || is_io(error) { Rerun::Pointless } else { Rerun::OneByOne }
}

/// "No transaction is active" means that SQLite has ended it itself, as it does when the disk is full.
async fn rollback(writer: &mut SqliteConnection) {
    if let Err(Stopped { error, .. }) = run(writer, "rollback", Arguments::default()).await {
        tracing::debug!(%error, "rollback");
    }
}

fn arguments(plan: &Plan) -> Arguments {
    let stream: Vec<_> = plan.stream.iter().map(stream_columns).collect();
    let puts: Vec<_> = plan.puts.iter().map(|(key, row)| record_columns(key, row)).collect();
    Arguments::default()
        .text(json(&stream))
        .text(json(&plan.deletes))
        .text(json(&puts))
        .integer(plan.meta.head)
        .integer(plan.meta.first)
        .milliseconds(plan.meta.last_ms)
}

/// The columns of `kv_record`, in the order of the statement.
fn record_columns<'a>(key: &'a str, row: &'a Row) -> impl serde::Serialize + 'a {
    let Row { version, revision, record_type, created_ms, updated_ms, value: _ } = row;
    (key, version, revision, record_type, created_ms, updated_ms, row.value_text())
}

/// The columns of `kv_stream`, in the order of the statement.
fn stream_columns(change: &StreamRow) -> impl serde::Serialize + '_ {
    let StreamRow { seq, tx, tx_end, action, time_ms, key, row } = change;
    let (seq, tx, tx_end, action, time) = (*seq, *tx, u8::from(*tx_end), action.as_str(), *time_ms);
    let Row { version, revision, record_type, created_ms, updated_ms, value: _ } = row;
    let value = row.value_text();
    (seq, tx, tx_end, action, time, key, version, revision, record_type, created_ms, updated_ms, value)
}

/// A string that no JSON parser takes stands for text that cannot be made, so that the statement would fail;
/// strings and integers can always be serialised.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
