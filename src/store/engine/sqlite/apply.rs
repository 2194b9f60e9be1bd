//! A plan as statements.

use super::load::counted_range;
use super::named::{CONSUMERS, LOCKS, Named};
use super::run::Script;
use crate::limits;
use crate::store::plan::{ConsumerRow, CountedRange, LockRow, OnceRow, Plan, RangeDelete, Row, StreamRow};
use crate::store::record::Action;

/// Adds the number of checkpoints, where it is raised. A pragma takes no argument, and this is a number. Its upper half is
/// written as negative.
pub(super) fn add_checkpoint(script: &mut Script, number: u32) {
    script.add(&format!("pragma user_version = {}", number.cast_signed()), |arguments| arguments);
}

/// Adds the statements of a plan, without the COMMIT. Values travel as JSON strings, so SQLite never parses them. The stream
/// comes first: a delete copies the value that stands in `kv_record`. `oldest` is the first seq that stands in
/// `kv_stream`.
pub(super) fn add_plan(script: &mut Script, plan: &Plan, oldest: Option<u64>, steps: Steps) {
    // What is put again after it was deleted is known at the end only.
    let size = if plan.puts.is_empty() { steps.size(plan.stream.len() as u64) } else { u64::MAX };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    for changes in plan.stream.chunks(size) {
        add_changes(script, changes);
        if changes.len() < plan.stream.len() {
            let is_delete = |change: &&StreamRow| change.action == Action::Delete;
            let keys: Vec<_> = changes.iter().filter(is_delete).map(|change| &change.key).collect();
            add_deletes(script, &keys);
        }
    }
    if let Some(range_delete) = &plan.range_delete {
        add_range_delete(script, range_delete, steps);
    }
    add_deletes(script, &plan.deletes);
    if !plan.puts.is_empty() {
        let rows: Vec<_> = plan.puts.iter().map(|(key, row)| record_columns(key, row)).collect();
        script.add(
            "insert into kv_record (\"key\", version, revision, type, created, updated, value)
                select p.value->>0, p.value->>1, p.value->>2, p.value->>3, p.value->>4, p.value->>5, p.value->>6
                from json_each(?) p where true
                on conflict (\"key\") do update set version = excluded.version, revision = excluded.revision,
                    type = excluded.type, created = excluded.created, updated = excluded.updated,
                    value = excluded.value",
            |arguments| arguments.json(&rows),
        );
    }
    let locks: Vec<_> = plan.locks.iter().map(lock_columns).collect();
    add_named(script, LOCKS, &plan.lock_deletes, &locks);
    let consumers: Vec<_> = plan.consumers.iter().map(consumer_columns).collect();
    add_named(script, CONSUMERS, &plan.consumer_deletes, &consumers);
    if !plan.once.is_empty() {
        let rows: Vec<_> = plan.once.iter().map(once_columns).collect();
        script.add(
            "delete from kv_once where id in (select id from kv_once where time <= ? order by time limit ?)",
            |arguments| arguments.milliseconds(plan.once_expired_ms).integer(limits::ONCE_FORGOTTEN),
        );
        script.add(
            "insert or replace into kv_once (id, request, outcome, time)
                select o.value->>0, o.value->>1, o.value->>2, o.value->>3 from json_each(?) o",
            |arguments| arguments.json(&rows),
        );
    }
    if oldest.is_some_and(|oldest| oldest < plan.meta.first) {
        add_sweep(script, plan.meta.first);
    }
    script.add("update kv_meta set head = ?, first = ?, last_ms = ?, fence = ?, lock_seq = ?", |arguments| {
        arguments
            .integer(plan.meta.head)
            .integer(plan.meta.first)
            .milliseconds(plan.meta.last_ms)
            .integer(plan.meta.fence)
            .integer(plan.meta.lock_seq)
    });
}

/// Whether what is deleted goes to the stream at once, or bit by bit.
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

fn add_changes(script: &mut Script, changes: &[StreamRow]) {
    let rows: Vec<_> = changes.iter().map(stream_columns).collect();
    script.add(
        "insert into kv_stream
                (seq, tx, tx_end, action, time, \"key\", version, revision, type, created, updated, value)
            select s.value->>0, s.value->>1, s.value->>2, s.value->>3, s.value->>4, s.value->>5, s.value->>6,
                s.value->>7, s.value->>8, s.value->>9, s.value->>10,
                coalesce(s.value->>11, (select value from kv_record where \"key\" = s.value->>5))
            from json_each(?) s",
        |arguments| arguments.json(&rows),
    );
}

fn add_deletes(script: &mut Script, keys: &[impl serde::Serialize]) {
    if !keys.is_empty() {
        script.add("delete from kv_record where \"key\" in (select value from json_each(?))", |arguments| {
            arguments.json(keys)
        });
    }
}

/// Removes a part of what was trimmed, oldest first: a step that is bounded in records and bytes, so at least one.
pub(super) fn add_sweep(script: &mut Script, first: u64) {
    script.add(
        "delete from kv_stream where seq <= (
            select max(seq) from (
                select seq, sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding) as before
                from (select seq, octet_length(\"key\") + octet_length(value) as bytes
                    from kv_stream where seq < ? order by seq limit ?))
            where coalesce(before, 0) < ?)",
        |arguments| {
            arguments.integer(first).integer(limits::SWEEP_RECORDS).integer(limits::SWEEP_BYTES)
        },
    );
}

/// The records are numbered in key order, without their values passing through this process.
fn add_range_delete(script: &mut Script, range_delete: &RangeDelete, steps: Steps) {
    let RangeDelete { range, deleted, first_seq, time_ms } = range_delete;
    let step = steps.size(*deleted);
    let end = first_seq + deleted;
    for step_seq in (*first_seq..end).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        // What the steps before have removed is not there any more, and what is passed over still is.
        let range = CountedRange { limit: Some(step.min(end - step_seq)), ..range.clone() };
        script.add(
            "insert into kv_stream
                    (seq, tx, tx_end, action, time, \"key\", version, revision, type, created, updated, value)
                select ? + d.number, ?, ? + d.number = ?, 'delete', ?, r.\"key\", r.version, r.revision, r.type,
                    r.created, r.updated, r.value
                from (select \"key\", row_number() over (order by \"key\") - 1 as number from (
                        select \"key\" from kv_record
                        where \"key\" >= ? and \"key\" < coalesce(?, x'') order by \"key\" limit ? offset ?)) d
                    join kv_record r on r.\"key\" = d.\"key\"",
            |arguments| {
                let arguments = arguments.integer(step_seq).integer(*first_seq).integer(step_seq);
                counted_range(arguments.integer(end - 1).milliseconds(*time_ms), &range)
            },
        );
        script.add(
            "delete from kv_record where \"key\" in (select \"key\" from kv_stream where seq >= ?)",
            |arguments| arguments.integer(step_seq),
        );
    }
}

/// Removes rows of a table that has names, and inserts or replaces others.
fn add_named(script: &mut Script, named: Named, deletes: &[String], rows: &[impl serde::Serialize]) {
    let Named { table, columns } = named;
    if !deletes.is_empty() {
        let text = format!("delete from {table} where name in (select value from json_each(?))");
        script.add(&text, |arguments| arguments.json(deletes));
    }
    if !rows.is_empty() {
        let values: String = (1..=columns.len()).map(|position| format!(", r.value->>{position}")).collect();
        let columns = columns.join(", ");
        let text = format!(
            "insert or replace into {table} (name, {columns}) select r.value->>0{values} from json_each(?) r"
        );
        script.add(&text, |arguments| arguments.json(rows));
    }
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

/// The columns of `kv_lock`, in the order of the statement.
fn lock_columns((name, row): &(String, LockRow)) -> impl serde::Serialize + '_ {
    let LockRow { owner, fence, refreshes, expires_ms } = row;
    (name, owner, fence, refreshes, expires_ms)
}

/// The columns of `kv_consumer`, in the order of the statement.
fn consumer_columns((name, row): &(String, ConsumerRow)) -> impl serde::Serialize + '_ {
    let lease = row.lease.as_ref();
    (name, row.position, lease.map(|lease| &lease.holder), lease.map(|lease| lease.expires_ms))
}

/// The columns of `kv_once`, in the order of the statement.
fn once_columns((id, row): &(String, OnceRow)) -> impl serde::Serialize + '_ {
    let OnceRow { request, outcome, time_ms } = row;
    (id, request, outcome, time_ms)
}
