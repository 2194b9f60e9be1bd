//! The rows that a batch needs, read under the write lock.

use std::collections::HashMap;

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use super::column::{self, Damage, column, count, json, optional_count, optional_text, time_ms};
use super::named::{CONSUMERS, LOCKS, Named};
use super::run::{Arguments, Script, Statement, Stopped, run};
use crate::limits;
use crate::store::engine::damage::StreamEnds;
use crate::store::plan::{
    ConsumerRow, CountedRange, Lease, LoadedRange, LockRow, Meta, Needs, OnceRow, Row, Rows,
};

/// Why the rows could not be read.
pub(super) enum LoadError {
    Stopped(Stopped),
    Damaged(Damage),
}

impl From<Stopped> for LoadError {
    fn from(stopped: Stopped) -> LoadError {
        LoadError::Stopped(stopped)
    }
}

impl From<Damage> for LoadError {
    fn from(damage: Damage) -> LoadError {
        LoadError::Damaged(damage)
    }
}

/// Takes the write lock first (`begin immediate`): a transaction that reads before it writes would fail at once when
/// another process wrote in between.
///
/// Answers also the first seq that stands in `kv_stream`: when it is before the first one that is kept, it was trimmed.
/// `swept_to` is the last lock that was looked at to see whether it is over.
pub(super) async fn load(
    writer: &mut SqliteConnection,
    needs: &Needs<'_>,
    swept_to: &str,
) -> Result<(Rows, Option<u64>), LoadError> {
    let mut script = Script::default();
    script.add("begin immediate", |arguments| arguments);
    let meta = script.add(
        "select epoch, head, first, last_ms, fence, lock_seq,
            (select min(seq) from kv_stream), (select max(seq) from kv_stream) from kv_meta",
        |arguments| arguments,
    );
    let records = (!needs.keys.is_empty()).then(|| {
        script.add(
            "select r.\"key\", r.version, r.revision, r.type, r.created, r.updated
                from json_each(?) k join kv_record r on r.\"key\" = k.value",
            |arguments| arguments.json(&needs.keys),
        )
    });
    let values = (!needs.values.is_empty()).then(|| {
        script.add(
            "select r.\"key\", r.value from (
                    select k.value as wanted, coalesce(sum(octet_length(r.value)) over (
                        order by k.key rows between unbounded preceding and 1 preceding), 0) as before
                    from json_each(?) k join kv_record r on r.\"key\" = k.value) w
                join kv_record r on r.\"key\" = w.wanted where w.before < ?",
            |arguments| arguments.json(&needs.values).integer(limits::BATCH_LOADED_BYTES as u64),
        )
    });
    let counted = needs.counted.as_ref().map(|range| {
        script.add(
            "select count(*) from (select 1 from kv_record
                where \"key\" >= ? and \"key\" < coalesce(?, x'') order by \"key\" limit ? offset ?)",
            |arguments| counted_range(arguments, range),
        )
    });
    let mut add_named = |named: Named, names: &[&str]| {
        (!names.is_empty()).then(|| {
            let (columns, table) = (named.selected(), named.table);
            let text = format!("select {columns} from json_each(?) k join {table} t on t.name = k.value");
            script.add(&text, |arguments| arguments.json(names))
        })
    };
    let locks = add_named(LOCKS, &needs.locks);
    let consumers = add_named(CONSUMERS, &needs.consumers);
    let swept_locks = needs.sweeps_locks.then(|| {
        let text =
            format!("select {} from kv_lock t where t.name > ? order by t.name limit ?", LOCKS.selected());
        script.add(&text, |arguments| arguments.text(swept_to).integer(limits::LOCK_SWEEP_ROWS as u64))
    });
    let once = (!needs.once.is_empty()).then(|| {
        script.add(
            "select o.id, o.request, o.outcome, o.time from json_each(?) k join kv_once o on o.id = k.value",
            |arguments| arguments.json(&needs.once),
        )
    });

    let mut statements = script.run(writer).await?;
    let mut rows_of = |index: Option<usize>| {
        index.map_or_else(Vec::new, |index| std::mem::take(&mut statements[index].rows))
    };
    let meta = rows_of(Some(meta));
    let (meta, StreamEnds { oldest, .. }) =
        meta_of(meta.first().ok_or_else(|| Damage::new("kv_meta is empty"))?)?;
    let record = |row: &SqliteRow| record(row, meta.head);
    let mut records = rows_of(records).iter().map(record).collect::<column::Result<HashMap<_, _>>>()?;
    for row in rows_of(values) {
        if let Some(record) = records.get_mut(column::<&str>(&row, 0)?) {
            record.value = Some(json(&row, 1)?);
        }
    }
    let counted = rows_of(counted).first().map_or(Ok(0), |row| count(row, 0))?;
    let named_lock = |row: &SqliteRow| Ok((column(row, 0)?, lock(row, 1, meta.fence)?));
    let locks = rows_of(locks).iter().map(named_lock).collect::<column::Result<_>>()?;
    let swept_locks = rows_of(swept_locks).iter().map(named_lock).collect::<column::Result<_>>()?;
    let named_consumer = |row| Ok((column(row, 0)?, consumer(row, 1, meta.head)?));
    let consumers = rows_of(consumers).iter().map(named_consumer).collect::<column::Result<_>>()?;
    let once = rows_of(once).iter().map(once_row).collect::<column::Result<_>>()?;
    let ranged = load_ranges(writer, &needs.ranges, meta.head, &mut records).await?;
    Ok((Rows { meta, records, ranged, counted, locks, swept_locks, consumers, once }, oldest))
}

/// A hop for each range, so that the records of all together are bounded.
async fn load_ranges(
    writer: &mut SqliteConnection,
    ranges: &[LoadedRange],
    head: u64,
    records: &mut HashMap<String, Row>,
) -> Result<u64, LoadError> {
    let mut ranged = 0;
    for LoadedRange { keys, limit } in ranges {
        let limit = *limit.min(&(limits::MUTATE_LOADED_RECORDS + 1 - ranged));
        let text = "select \"key\", version, revision, type, created, updated from kv_record
            where \"key\" >= ? and \"key\" < coalesce(?, x'') order by \"key\" limit ?";
        let arguments =
            Arguments::default().text(keys.from.as_str()).optional_text(keys.to.as_deref()).integer(limit);
        let statements = run(writer, text, arguments).await?;
        for row in statements.iter().flat_map(|Statement { rows }| rows) {
            let (key, row) = record(row, head)?;
            // A record that was loaded with its value keeps it.
            records.entry(key).or_insert(row);
            ranged += 1;
        }
        if ranged > limits::MUTATE_LOADED_RECORDS {
            break;
        }
    }
    Ok(ranged)
}

/// The bounds of a range and its page. Without an upper bound it is compared with a BLOB, which every text is less
/// than (<https://www.sqlite.org/datatype3.html#comparison_expressions>).
pub(super) fn counted_range(arguments: Arguments, range: &CountedRange) -> Arguments {
    let CountedRange { keys, offset, limit } = range;
    arguments
        .text(keys.from.as_str())
        .optional_text(keys.to.as_deref())
        .integer(limit.unwrap_or(u64::MAX))
        .integer(*offset)
}

fn meta_of(row: &SqliteRow) -> column::Result<(Meta, StreamEnds)> {
    let meta = Meta {
        epoch: column(row, 0)?,
        head: count(row, 1)?,
        first: count(row, 2)?,
        last_ms: time_ms(row, 3)?,
        fence: count(row, 4)?,
        lock_seq: count(row, 5)?,
    };
    meta.check()?;
    let stream = StreamEnds { oldest: optional_count(row, 6)?, newest: optional_count(row, 7)? };
    stream.check(&meta)?;
    Ok((meta, stream))
}

/// A row of `kv_lock` from its owner on.
pub(super) fn lock(row: &SqliteRow, first: usize, last_fence: u64) -> column::Result<LockRow> {
    let lock = LockRow {
        owner: column(row, first)?,
        fence: count(row, first + 1)?,
        refreshes: count(row, first + 2)?,
        expires_ms: time_ms(row, first + 3)?,
    };
    lock.checked(last_fence)
}

/// A row of `kv_consumer` from its position on.
pub(super) fn consumer(row: &SqliteRow, first: usize, head: u64) -> column::Result<ConsumerRow> {
    let lease = match optional_text(row, first + 1)? {
        Some(holder) => Some(Lease { holder, expires_ms: time_ms(row, first + 2)? }),
        None => None,
    };
    ConsumerRow { position: count(row, first)?, lease }.checked(head)
}

fn once_row(row: &SqliteRow) -> column::Result<(String, OnceRow)> {
    let once = OnceRow { request: column(row, 1)?, outcome: column(row, 2)?, time_ms: time_ms(row, 3)? };
    Ok((column(row, 0)?, once))
}

fn record(row: &SqliteRow, head: u64) -> column::Result<(String, Row)> {
    let stored = Row {
        version: count(row, 1)?,
        revision: count(row, 2)?,
        record_type: optional_text(row, 3)?,
        created_ms: time_ms(row, 4)?,
        updated_ms: time_ms(row, 5)?,
        value: None,
    };
    Ok((column(row, 0)?, stored.checked(head)?))
}
