//! The rows that a batch needs, read under the write lock.

use std::collections::HashMap;

use rusqlite::Connection;

use super::statement::{Prepared, Result, each_row, first_row, number};
use crate::limits;
use crate::store::damage::{self, Damage, StreamEnds};
use crate::store::engine::sql::{self, Cells as _, Value};
use crate::store::plan::{Counted, CountedRange, LoadedRange, Meta, Needs, Row, Rows};

/// What a batch needs, and where the stream physically begins.
pub(super) struct Loaded {
    pub(super) rows: Rows,
    /// The first seq that stands in `kv_stream`: when it is before the first one that is kept, it was trimmed.
    pub(super) oldest: Option<u64>,
}

/// Reads in a transaction that has the write lock. `swept_to` is the last lock that was looked at to see whether it is over;
/// `now_ms` tells which records are.
pub(super) fn load(writer: &Connection, needs: &Needs<'_>, swept_to: &str, now_ms: i64) -> Result<Loaded> {
    let (meta, oldest) = load_meta(writer)?;
    let mut records = load_records(writer, &needs.keys, meta.head)?;
    load_values(writer, &needs.values, &mut records)?;
    let counted =
        needs.counted.as_ref().map(|range| count(writer, range, now_ms)).transpose()?.unwrap_or_default();
    let ranged = load_ranges(writer, &needs.ranges, (meta.head, now_ms), &mut records)?;
    const LOCK: &str = concat!("select ", sql::columns!(lock), " from kv_lock where name = ?");
    let locks = load_named(writer, LOCK, &needs.locks, |row| sql::lock(row, meta.fence))?;
    const CONSUMER: &str = concat!("select ", sql::columns!(consumer), " from kv_consumer where name = ?");
    let consumers = load_named(writer, CONSUMER, &needs.consumers, |row| sql::consumer(row, meta.head))?;
    const ONCE: &str = concat!("select ", sql::columns!(once), " from kv_once where id = ?");
    let once = load_named(writer, ONCE, &needs.once, |row| sql::once(row))?;
    let mut swept_locks = Vec::new();
    if needs.sweeps_locks {
        const SWEPT: &str =
            concat!("select ", sql::columns!(lock), " from kv_lock where name > ? order by name limit ?");
        let values = [Value::Text(swept_to), Value::count(limits::LOCK_SWEEP_ROWS as u64)];
        each_row(writer, SWEPT, &values, |row| {
            swept_locks.push(sql::lock(row, meta.fence)?);
            Ok(true)
        })?;
    }
    const EXPIRED: &str = concat!(
        "select ",
        sql::columns!(record_head),
        " from kv_record where expires <= ? order by expires limit ?"
    );
    let mut expired = Vec::new();
    let values = [Value::Integer(now_ms), Value::count(limits::EXPIRED_PER_BATCH as u64)];
    each_row(writer, EXPIRED, &values, |row| {
        expired.push(sql::stored_row(row, meta.head)?);
        Ok(true)
    })?;
    let mut next_expiry_ms = None;
    if needs.next_expiry {
        let next = "select expires from kv_record where expires > ? order by expires limit 1";
        let found = first_row(writer, next, &[Value::Integer(now_ms)], |row| sql::optional_time_ms(row, 0))?;
        next_expiry_ms = found.flatten();
    }
    let rows =
        Rows { meta, records, expired, next_expiry_ms, ranged, counted, locks, swept_locks, consumers, once };
    Ok(Loaded { rows, oldest })
}

/// The row of `kv_meta`, checked against the ends of the stream.
pub(super) fn load_meta(writer: &Connection) -> Result<(Meta, Option<u64>)> {
    const META: &str = concat!("select ", sql::columns!(meta), " from kv_meta");
    // A select for each end: SQLite would look through all of the stream for both in one.
    const ENDS: &str = "select (select min(seq) from kv_stream), (select max(seq) from kv_stream)";
    let meta =
        first_row(writer, META, &[], |row| sql::meta(row))?.ok_or_else(|| Damage::new("kv_meta is empty"))?;
    let ends = first_row(writer, ENDS, &[], |row| {
        let seq = |index| row.integer(index)?.map(damage::count).transpose();
        Ok(StreamEnds { oldest: seq(0)?, newest: seq(1)? })
    })?;
    let ends = ends.unwrap_or(StreamEnds { oldest: None, newest: None });
    ends.check(&meta)?;
    Ok((meta, ends.oldest))
}

fn load_records(writer: &Connection, keys: &[&str], head: u64) -> Result<HashMap<String, Row>> {
    const TEXT: &str = concat!("select ", sql::columns!(record_head), " from kv_record where \"key\" = ?");
    load_named(writer, TEXT, keys, |row| sql::stored_row(row, head))
}

/// The rows of these names that exist.
fn load_named<T>(
    writer: &Connection,
    text: &str,
    names: &[&str],
    mut make: impl FnMut(&rusqlite::Row<'_>) -> damage::Result<(String, T)>,
) -> Result<HashMap<String, T>> {
    let mut rows = HashMap::with_capacity(names.len());
    if names.is_empty() {
        return Ok(rows);
    }
    let mut select = Prepared::new(writer, text)?;
    for name in names {
        rows.extend(select.first_row(&[Value::Text(name)], &mut make)?);
    }
    Ok(rows)
}

/// Loads the values of these keys, as many as fit, in this order.
fn load_values(writer: &Connection, keys: &[&str], records: &mut HashMap<String, Row>) -> Result<()> {
    let mut bytes = 0;
    for key in keys {
        if bytes >= limits::BATCH_LOADED_BYTES {
            break;
        }
        let Some(record) = records.get_mut(*key) else { continue };
        if record.value.is_none() {
            let text = "select value from kv_record where \"key\" = ?";
            record.value = first_row(writer, text, &[Value::Text(key)], |row| sql::value(row))?;
        }
        bytes += record.value_text().map_or(0, str::len);
    }
    Ok(())
}

fn count(writer: &Connection, range: &CountedRange, now_ms: i64) -> Result<Counted> {
    let text = "select count(*) from (select 1 from kv_record
        where \"key\" >= ? and \"key\" < coalesce(?, x'') and (expires is null or expires > ?)
            order by \"key\" limit ? offset ?)";
    let total = damage::count(number(writer, text, &counted_range(range, now_ms))?)?;
    if total <= limits::DELETE_SLICE_RECORDS {
        return Ok(Counted { total, slice_end: None });
    }
    let offset = range.offset.saturating_add(limits::DELETE_SLICE_RECORDS - 1);
    let last = CountedRange { offset, limit: Some(1), keys: range.keys.clone() };
    let text = "select \"key\" from kv_record
        where \"key\" >= ? and \"key\" < coalesce(?, x'') and (expires is null or expires > ?)
            order by \"key\" limit ? offset ?";
    let slice_end = first_row(writer, text, &counted_range(&last, now_ms), |row| sql::key(row))?;
    Ok(Counted { total, slice_end })
}

/// The bounds of a range, the time by which records in it have expired, and its page. Without an upper bound it is compared with a BLOB, which every text is less
/// than (<https://www.sqlite.org/datatype3.html#comparison_expressions>).
pub(super) fn counted_range(
    CountedRange { keys, offset, limit }: &CountedRange,
    now_ms: i64,
) -> [Value<'_>; 5] {
    [
        Value::Text(&keys.from),
        Value::optional(keys.to.as_deref()),
        Value::Integer(now_ms),
        Value::count(limit.unwrap_or(u64::MAX)),
        Value::count(*offset),
    ]
}

/// Loads the records of ranges without their values; those of all together are bounded. Answers how many came.
fn load_ranges(
    writer: &Connection,
    ranges: &[LoadedRange],
    (head, now_ms): (u64, i64),
    records: &mut HashMap<String, Row>,
) -> Result<u64> {
    const TEXT: &str = concat!(
        "select ",
        sql::columns!(record_head),
        " from kv_record where \"key\" >= ? and \"key\" < coalesce(?, x'') and (expires is null or expires > ?)
            order by \"key\" limit ?"
    );
    let mut ranged = 0;
    for LoadedRange { keys, limit } in ranges {
        let limit = *limit.min(&(limits::MUTATE_LOADED_RECORDS + 1 - ranged));
        let (from, to) = (Value::Text(&keys.from), Value::optional(keys.to.as_deref()));
        let values = [from, to, Value::Integer(now_ms), Value::count(limit)];
        each_row(writer, TEXT, &values, |row| {
            let (key, row) = sql::stored_row(row, head)?;
            // A record that was loaded with its value keeps it.
            records.entry(key).or_insert(row);
            ranged += 1;
            Ok(true)
        })?;
        if ranged > limits::MUTATE_LOADED_RECORDS {
            break;
        }
    }
    Ok(ranged)
}
