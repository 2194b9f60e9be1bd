//! The columns of each table, once: their names, how a row of them is read, and what is written into them.

use std::time::Duration;

use super::Value;
use crate::store::damage::{self, Damage, Result};
use crate::store::filter::Filter;
use crate::store::json_text::JsonText;
use crate::store::plan::{ConsumerRow, Lease, LockRow, Meta, OnceRow, Row, StreamRow};
use crate::store::position::Position;
use crate::store::record::{Action, Change, Record};
use crate::store::request::Retention;
use crate::store::time::{Timestamp, whole_ms};

/// The columns of a table, or of a part of it, as a literal for `concat!`. The functions of the same names read them, and
/// those with `_values` give what is written into them.
macro_rules! columns {
    // `kv_record` without its keys and values.
    (record_middle) => {
        "version, revision, type, created, updated, expires"
    };
    // `kv_record` without its values.
    (record_head) => {
        concat!("\"key\", ", $crate::store::engine::sql::columns!(record_middle))
    };
    (record) => {
        concat!($crate::store::engine::sql::columns!(record_head), ", value")
    };
    // How a row of `kv_record` takes the place of the one with its key.
    (record_replaces) => {
        "on conflict (\"key\") do update set version = excluded.version, revision = excluded.revision,
            type = excluded.type, created = excluded.created, updated = excluded.updated,
            expires = excluded.expires, value = excluded.value"
    };
    // The record as it is after the change, or was before a delete, and the change.
    (stream) => {
        concat!($crate::store::engine::sql::columns!(record), ", seq, tx, tx_end, action, time")
    };
    (lock) => {
        "name, owner, fence, refreshes, expires"
    };
    (consumer) => {
        "name, position, filtered, only_key, only_prefix, only_type, holder, expires"
    };
    (once) => {
        "id, request, outcome, time"
    };
    // What of `kv_meta` tells where a store stands.
    (position) => {
        "epoch, head, first, fence, lock_seq"
    };
    // What of `kv_meta` says how much of the stream is kept.
    (retention) => {
        "retain_ms, retain_count, retain_unread"
    };
    // What of `kv_meta` a batch has to know.
    (meta) => {
        "epoch, head, first, last_ms, fence, lock_seq"
    };
}

pub(crate) use columns;

/// The index of the value among the columns of a record.
pub(crate) const VALUE: usize = 7;

/// A row of a result, whichever way it came.
pub(crate) trait Cells {
    /// A column that holds an integer or null.
    fn integer(&self, index: usize) -> Result<Option<i64>>;

    /// A column that holds a text or null.
    fn text(&self, index: usize) -> Result<Option<&str>>;
}

/// The columns of a row from this one on.
#[cfg(any(feature = "postgres", feature = "rqlite"))]
pub(crate) struct Tail<'a, C: ?Sized>(pub usize, pub &'a C);

#[cfg(any(feature = "postgres", feature = "rqlite"))]
impl<C: Cells + ?Sized> Cells for Tail<'_, C> {
    fn integer(&self, index: usize) -> Result<Option<i64>> {
        self.1.integer(self.0 + index)
    }

    fn text(&self, index: usize) -> Result<Option<&str>> {
        self.1.text(self.0 + index)
    }
}

fn integer(row: &(impl Cells + ?Sized), index: usize) -> Result<i64> {
    row.integer(index)?.ok_or_else(null)
}

/// A column that holds a text.
pub(crate) fn text(row: &(impl Cells + ?Sized), index: usize) -> Result<String> {
    Ok(row.text(index)?.ok_or_else(null)?.to_owned())
}

fn optional_text(row: &(impl Cells + ?Sized), index: usize) -> Result<Option<String>> {
    Ok(row.text(index)?.map(str::to_owned))
}

/// A column that holds a count.
pub(crate) fn count(row: &(impl Cells + ?Sized), index: usize) -> Result<u64> {
    damage::count(integer(row, index)?)
}

fn time_ms(row: &(impl Cells + ?Sized), index: usize) -> Result<i64> {
    damage::time_ms(integer(row, index)?)
}

fn null() -> Damage {
    Damage::new("a column is null")
}

/// The value of a record that is asked for alone.
pub(crate) fn value(row: &(impl Cells + ?Sized)) -> Result<JsonText> {
    Ok(JsonText::from_stored(text(row, 0)?)?)
}

/// A column that holds a time or null.
pub(crate) fn optional_time_ms(row: &(impl Cells + ?Sized), index: usize) -> Result<Option<i64>> {
    row.integer(index)?.map(damage::time_ms).transpose()
}

/// The key or name with which a row begins.
pub(crate) fn key(row: &(impl Cells + ?Sized)) -> Result<String> {
    text(row, 0)
}

/// A row of `kv_record`, in a store with this head; none when the value is null, because it was not asked for.
pub(crate) fn record(row: &(impl Cells + ?Sized), head: u64) -> Result<Option<Record>> {
    let Some(value) = row.text(VALUE)? else { return Ok(None) };
    let (key, stored) = stored_row(row, head)?;
    let Row { version, revision, record_type, created_ms, updated_ms, expires_ms, value: _ } = stored;
    let (created, updated) = (Timestamp::from_unix_ms(created_ms), Timestamp::from_unix_ms(updated_ms));
    let expires = expires_ms.map(Timestamp::from_unix_ms);
    let value = JsonText::from_stored(value.to_owned())?;
    Ok(Some(Record { key, version, revision, record_type, created, updated, expires, value }))
}

/// A row of `kv_record` without its value, in a store with this head.
pub(crate) fn stored_row(row: &(impl Cells + ?Sized), head: u64) -> Result<(String, Row)> {
    let stored = Row {
        version: count(row, 1)?,
        revision: count(row, 2)?,
        record_type: optional_text(row, 3)?,
        created_ms: time_ms(row, 4)?,
        updated_ms: time_ms(row, 5)?,
        expires_ms: optional_time_ms(row, 6)?,
        value: None,
    };
    Ok((key(row)?, stored.checked(head)?))
}

/// A row of `kv_stream`, in a store with this head.
pub(crate) fn change(row: &(impl Cells + ?Sized), head: u64) -> Result<Change> {
    let seq = count(row, VALUE + 1)?;
    let action = row.text(VALUE + 4)?.ok_or_else(null)?;
    let change = Change {
        // Its record is one of the time of the change.
        record: record(row, seq)?.ok_or_else(null)?,
        seq,
        tx: count(row, VALUE + 2)?,
        tx_end: damage::flag(integer(row, VALUE + 3)?)?,
        action: Action::from_name(action)
            .ok_or_else(|| Damage::new(format!("the stream has the action {action:?}")))?,
        time: Timestamp::from_unix_ms(time_ms(row, VALUE + 5)?),
    };
    change.checked(head)
}

/// A row of `kv_lock`, in a store whose last fence is this one.
pub(crate) fn lock(row: &(impl Cells + ?Sized), last_fence: u64) -> Result<(String, LockRow)> {
    let lock = LockRow {
        owner: text(row, 1)?,
        fence: count(row, 2)?,
        refreshes: count(row, 3)?,
        expires_ms: time_ms(row, 4)?,
    };
    Ok((key(row)?, lock.checked(last_fence)?))
}

/// The number of columns of `kv_consumer`, after which a query has further ones.
pub(crate) const CONSUMER: usize = 8;

/// A row of `kv_consumer`, in a store with this head.
pub(crate) fn consumer(row: &(impl Cells + ?Sized), head: u64) -> Result<(String, ConsumerRow)> {
    let is_filtered = damage::flag(integer(row, 2)?)?;
    let (key_alone, prefix, record_type) =
        (optional_text(row, 3)?, optional_text(row, 4)?, optional_text(row, 5)?);
    let filter = is_filtered.then_some(Filter { key: key_alone, prefix, record_type });
    let lease = match optional_text(row, 6)? {
        Some(holder) => Some(Lease { holder, expires_ms: time_ms(row, 7)? }),
        None => None,
    };
    Ok((key(row)?, ConsumerRow { position: count(row, 1)?, filter, lease }.checked(head)?))
}

/// A row of `kv_once`.
pub(crate) fn once(row: &(impl Cells + ?Sized)) -> Result<(String, OnceRow)> {
    let once = OnceRow { request: text(row, 1)?, outcome: text(row, 2)?, time_ms: time_ms(row, 3)? };
    Ok((key(row)?, once))
}

/// The row of `kv_meta`, of a store that was opened so many times.
pub(crate) fn position(row: &(impl Cells + ?Sized), opened: u64) -> Result<Position> {
    let position = Position {
        epoch: text(row, 0)?,
        opened,
        head: count(row, 1)?,
        first: count(row, 2)?,
        fence: count(row, 3)?,
        lock_seq: count(row, 4)?,
    };
    position.checked()
}

/// The row of `kv_meta`, as a batch has to know it.
pub(crate) fn meta(row: &(impl Cells + ?Sized)) -> Result<Meta> {
    let meta = Meta {
        epoch: text(row, 0)?,
        head: count(row, 1)?,
        first: count(row, 2)?,
        last_ms: time_ms(row, 3)?,
        fence: count(row, 4)?,
        lock_seq: count(row, 5)?,
    };
    meta.check()?;
    Ok(meta)
}

/// The row of `kv_meta`, as far as it says how much of the stream is kept.
pub(crate) fn retention(row: &(impl Cells + ?Sized)) -> Result<Retention> {
    let bound = |index: usize| row.integer(index)?.map(damage::count).transpose();
    let unread = damage::flag(integer(row, 2)?)?;
    let (age_ms, count) = (bound(0)?, bound(1)?);
    Ok(Retention { age: age_ms.map(Duration::from_millis), count, unread })
}

/// What [`retention`] reads.
pub(crate) fn retention_values(retention: &Retention) -> [Value<'static>; 3] {
    let Retention { age, count, unread } = retention;
    let age = age.map_or(Value::Null, |age| Value::count(whole_ms(age)));
    [age, count.map_or(Value::Null, Value::count), Value::Integer(i64::from(*unread))]
}

/// How [`retention_values`] are written.
pub(crate) const RETAIN: &str = "update kv_meta set retain_ms = ?, retain_count = ?, retain_unread = ?";

/// A row of `kv_record`; the value is null when it is not in memory.
pub(crate) fn record_values<'a>(key: &'a str, row: &'a Row) -> [Value<'a>; VALUE + 1] {
    let Row { version, revision, record_type, created_ms, updated_ms, expires_ms, value: _ } = row;
    [
        Value::Text(key),
        Value::count(*version),
        Value::count(*revision),
        Value::optional(record_type.as_deref()),
        Value::Integer(*created_ms),
        Value::Integer(*updated_ms),
        expires_ms.map_or(Value::Null, Value::Integer),
        Value::optional(row.value_text()),
    ]
}

/// A row of `kv_stream`; the value is null where it is to be copied from `kv_record`.
pub(crate) fn stream_values(change: &StreamRow) -> [Value<'_>; VALUE + 6] {
    let StreamRow { seq, tx, tx_end, action, time_ms, key, row } = change;
    let [key, version, revision, record_type, created, updated, expires, value] = record_values(key, row);
    let (seq, tx, tx_end) = (Value::count(*seq), Value::count(*tx), Value::Integer(i64::from(*tx_end)));
    let (action, time) = (Value::Text(action.as_str()), Value::Integer(*time_ms));
    [key, version, revision, record_type, created, updated, expires, value, seq, tx, tx_end, action, time]
}

/// A row of `kv_lock`.
pub(crate) fn lock_values<'a>(name: &'a str, row: &'a LockRow) -> [Value<'a>; 5] {
    let LockRow { owner, fence, refreshes, expires_ms } = row;
    let (fence, refreshes) = (Value::count(*fence), Value::count(*refreshes));
    [Value::Text(name), Value::Text(owner), fence, refreshes, Value::Integer(*expires_ms)]
}

/// A row of `kv_consumer`.
pub(crate) fn consumer_values<'a>(name: &'a str, row: &'a ConsumerRow) -> [Value<'a>; CONSUMER] {
    let is_filtered = Value::Integer(i64::from(row.filter.is_some()));
    let part = |part: fn(&Filter) -> Option<&str>| Value::optional(row.filter.as_ref().and_then(part));
    let key = part(|filter| filter.key.as_deref());
    let prefix = part(|filter| filter.prefix.as_deref());
    let record_type = part(|filter| filter.record_type.as_deref());
    let lease = row.lease.as_ref();
    let holder = Value::optional(lease.map(|lease| lease.holder.as_str()));
    let expires = lease.map_or(Value::Null, |lease| Value::Integer(lease.expires_ms));
    [Value::Text(name), Value::count(row.position), is_filtered, key, prefix, record_type, holder, expires]
}

/// A row of `kv_once`.
pub(crate) fn once_values<'a>(id: &'a str, row: &'a OnceRow) -> [Value<'a>; 4] {
    let OnceRow { request, outcome, time_ms } = row;
    [Value::Text(id), Value::Text(request), Value::Text(outcome), Value::Integer(*time_ms)]
}

/// The row of `kv_meta`, without the epoch, which no batch changes.
pub(crate) fn meta_values(meta: &Meta) -> [Value<'_>; 5] {
    let Meta { epoch: _, head, first, last_ms, fence, lock_seq } = meta;
    let last_ms = Value::Integer(*last_ms);
    [Value::count(*head), Value::count(*first), last_ms, Value::count(*fence), Value::count(*lock_seq)]
}
