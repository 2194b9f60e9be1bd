//! Writes a plan: a loop over prepared statements, row by row. Sets of rows in one statement would have to be parsed by SQLite
//! first, which costs more than the loop.

use rusqlite::Connection;

use super::load::counted_range;
use super::statement::{Prepared, execute};
use crate::limits;
use crate::store::engine::sql::{self, Value};
use crate::store::plan::{CountedRange, Plan, RangeDelete, StreamRow};

type Result = rusqlite::Result<()>;

/// Raises the number of checkpoints. A pragma takes no argument, and this is a number. Its upper half is written as
/// negative.
pub(super) fn set_checkpoints(writer: &Connection, number: u32) -> Result {
    writer.execute_batch(&format!("pragma user_version = {}", number.cast_signed()))
}

/// Writes a plan, without the COMMIT. `oldest` is the first seq that stands in `kv_stream`.
pub(super) fn apply(writer: &Connection, plan: &Plan, oldest: Option<u64>, steps: Steps) -> Result {
    // The stream comes first: a delete copies the value that stands in `kv_record`.
    append(writer, &plan.stream)?;
    if let Some(range_delete) = &plan.range_delete {
        delete_range(writer, range_delete, steps)?;
    }
    let mut delete = Prepared::new(writer, DELETE)?;
    for key in &plan.deletes {
        delete.execute(&[Value::Text(key)])?;
    }
    const PUT: &str = concat!(
        "insert into kv_record (",
        sql::columns!(record),
        ") values (?, ?, ?, ?, ?, ?, ?, ?) ",
        sql::columns!(record_replaces)
    );
    const UPDATE: &str = concat!(
        "update kv_record set (",
        sql::columns!(record_middle),
        ", value) = (?2, ?3, ?4, ?5, ?6, ?7, ?8) where \"key\" = ?1"
    );
    let mut put = Prepared::new(writer, PUT)?;
    let mut update = Prepared::new(writer, UPDATE)?;
    for (key, row) in &plan.puts {
        let values = sql::record_values(key, row);
        // Nearly every later version finds its record, and an update costs less than the upsert.
        if row.version > 1 {
            update.execute(&values)?;
            if writer.changes() > 0 {
                continue;
            }
        }
        put.execute(&values)?;
    }
    apply_named(writer, plan)?;
    if oldest.is_some_and(|oldest| oldest < plan.meta.first) {
        sweep(writer, plan.meta.first)?;
    }
    let meta = "update kv_meta set head = ?, first = ?, last_ms = ?, fence = ?, lock_seq = ?";
    execute(writer, meta, &sql::meta_values(&plan.meta))
}

/// Writes the rows of the tables that have names.
fn apply_named(writer: &Connection, plan: &Plan) -> Result {
    for name in &plan.lock_deletes {
        execute(writer, "delete from kv_lock where name = ?", &[Value::Text(name)])?;
    }
    for (name, row) in &plan.locks {
        const LOCK: &str =
            concat!("insert or replace into kv_lock (", sql::columns!(lock), ") values (?, ?, ?, ?, ?)");
        execute(writer, LOCK, &sql::lock_values(name, row))?;
    }
    for name in &plan.consumer_deletes {
        execute(writer, "delete from kv_consumer where name = ?", &[Value::Text(name)])?;
    }
    for (name, row) in &plan.consumers {
        const CONSUMER: &str = concat!(
            "insert or replace into kv_consumer (",
            sql::columns!(consumer),
            ") values (?, ?, ?, ?, ?, ?, ?, ?)"
        );
        execute(writer, CONSUMER, &sql::consumer_values(name, row))?;
    }
    if !plan.once.is_empty() {
        let expired =
            "delete from kv_once where id in (select id from kv_once where time <= ? order by time limit ?)";
        let values = [Value::Integer(plan.once_expired_ms), Value::count(limits::ONCE_FORGOTTEN)];
        execute(writer, expired, &values)?;
    }
    if let Some(retention) = &plan.retention {
        execute(writer, sql::RETAIN, &sql::retention_values(retention))?;
    }
    for (id, row) in &plan.once {
        const ONCE: &str =
            concat!("insert or replace into kv_once (", sql::columns!(once), ") values (?, ?, ?, ?)");
        execute(writer, ONCE, &sql::once_values(id, row))?;
    }
    Ok(())
}

const DELETE: &str = "delete from kv_record where \"key\" = ?";

/// Appends changes to the stream. One that copies its value removes its record at once, so that each takes the pages that
/// those before it have freed: it is the only change of the batch that copies the value of this key, and a later put of the
/// key inserts it anew.
fn append(writer: &Connection, changes: &[StreamRow]) -> Result {
    const APPEND: &str = concat!(
        "insert into kv_stream (",
        sql::columns!(stream),
        ") values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    );
    // Without such a record the value is null, which the table refuses.
    const COPY: &str = concat!(
        "insert into kv_stream (",
        sql::columns!(stream),
        ") values (?1, ?2, ?3, ?4, ?5, ?6, ?7, coalesce(?8, (select value from kv_record where \"key\" = ?1)),
            ?9, ?10, ?11, ?12, ?13)"
    );
    let mut append = Prepared::new(writer, APPEND)?;
    for change in changes {
        let values = sql::stream_values(change);
        if change.row.value.is_some() {
            append.execute(&values)?;
            continue;
        }
        execute(writer, COPY, &values)?;
        if change.action.removes() {
            execute(writer, DELETE, &[Value::Text(&change.key)])?;
        }
    }
    Ok(())
}

/// Whether the records of a range go to the stream at once, or bit by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Steps {
    /// The fastest.
    One,
    /// Each bit takes the pages that those before it have freed, so the database hardly grows.
    Many,
}

impl Steps {
    /// Of so many records, how many make a step.
    fn size(self, records: u64) -> u64 {
        match self {
            Steps::One => records.max(1),
            Steps::Many => records.div_ceil(limits::DELETE_STEPS).max(1),
        }
    }
}

/// Removes a part of what was trimmed, oldest first: a step that is bounded in records and bytes, so at least one.
pub(super) fn sweep(writer: &Connection, first: u64) -> Result {
    let text = "delete from kv_stream where seq <= (
        select max(seq) from (
            select seq, sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding) as before
            from (select seq, octet_length(\"key\") + octet_length(value) as bytes
                from kv_stream where seq < ? order by seq limit ?))
        where coalesce(before, 0) < ?)";
    let values =
        [Value::count(first), Value::count(limits::SWEEP_RECORDS), Value::count(limits::SWEEP_BYTES)];
    execute(writer, text, &values)
}

/// The records are numbered in key order, without their values passing through this process.
fn delete_range(writer: &Connection, range_delete: &RangeDelete, steps: Steps) -> Result {
    const MOVE: &str = concat!(
        "insert into kv_stream (",
        sql::columns!(stream),
        ") select r.\"key\", r.version, r.revision, r.type, r.created, r.updated, r.expires, r.value,
            ? + d.number, ?, ? + d.number = ?, 'delete', ?
        from (select \"key\", row_number() over (order by \"key\") - 1 as number from (
                select \"key\" from kv_record
                where \"key\" >= ? and \"key\" < coalesce(?, x'') and (expires is null or expires > ?)
                order by \"key\" limit ? offset ?)) d
            join kv_record r on r.\"key\" = d.\"key\""
    );
    let RangeDelete { range, deleted, now_ms, first_seq, time_ms } = range_delete;
    let step = steps.size(*deleted);
    let end = first_seq + deleted;
    for step_seq in (*first_seq..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        // What the steps before have removed is not there any more, and what is passed over still is.
        let range = CountedRange { limit: Some(step.min(end - step_seq)), ..range.clone() };
        let [from, to, now, limit, offset] = counted_range(&range, *now_ms);
        let (seq, tx, last) = (Value::count(step_seq), Value::count(*first_seq), Value::count(end - 1));
        let values = [seq, tx, seq, last, Value::Integer(*time_ms), from, to, now, limit, offset];
        execute(writer, MOVE, &values)?;
        let delete = "delete from kv_record where \"key\" in (select \"key\" from kv_stream where seq >= ?)";
        execute(writer, delete, &[seq])?;
    }
    Ok(())
}
