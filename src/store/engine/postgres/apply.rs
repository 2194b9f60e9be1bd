//! The statements that write a plan: one for all rows of a table.

use super::statement::Argument;
use crate::limits;
use crate::store::engine::sql::{self, Value, columns};
use crate::store::plan::{Plan, RangeDelete};

/// A statement with its arguments.
pub(super) type Text<'a> = (String, Vec<Argument<'a>>);

/// What says that a batch was committed, and tells others of it.
pub(super) struct Mark<'a> {
    pub(super) id: &'a str,
    /// That of the batch before, whose row goes.
    pub(super) last_id: &'a str,
    pub(super) now_ms: i64,
    pub(super) channel: &'a str,
}

/// The statements of a plan, in the order in which they are to be run. `oldest` is the first seq that stands in `kv_stream`.
pub(super) fn statements<'a>(plan: &'a Plan, oldest: Option<u64>, mark: &Mark<'a>) -> Vec<Text<'a>> {
    let mut texts = Vec::new();
    // The stream comes first: a delete copies the value that stands in `kv_record`.
    if !plan.stream.is_empty() {
        texts.push(insert("kv_stream", columns!(stream), plan.stream.iter().map(sql::stream_values)));
    }
    texts.extend(plan.range_delete.as_ref().map(delete_range));
    let deletes = [
        ("kv_record", "\"key\"", &plan.deletes),
        ("kv_lock", "name", &plan.lock_deletes),
        ("kv_consumer", "name", &plan.consumer_deletes),
    ];
    for (table, column, keys) in deletes {
        if !keys.is_empty() {
            let text = format!("delete from {table} where {column} = any(?)");
            texts.push((text, vec![Value::Strings(keys).into()]));
        }
    }
    if !plan.puts.is_empty() {
        let rows = plan.puts.iter().map(|(key, row)| sql::record_values(key, row));
        texts.push(upsert("kv_record", columns!(record), rows));
    }
    if !plan.locks.is_empty() {
        let rows = plan.locks.iter().map(|(name, row)| sql::lock_values(name, row));
        texts.push(upsert("kv_lock", columns!(lock), rows));
    }
    if !plan.consumers.is_empty() {
        let rows = plan.consumers.iter().map(|(name, row)| sql::consumer_values(name, row));
        texts.push(upsert("kv_consumer", columns!(consumer), rows));
    }
    if !plan.once.is_empty() {
        let text = "delete from kv_once where id = any(array(
            select id from kv_once where time <= ? order by time limit ?))";
        let arguments = [Value::Integer(plan.once_expired_ms), Value::count(limits::ONCE_FORGOTTEN)];
        texts.push((text.to_owned(), arguments.map(Argument::from).into()));
        let rows = plan.once.iter().map(|(id, row)| sql::once_values(id, row));
        texts.push(upsert("kv_once", columns!(once), rows));
    }
    if oldest.is_some_and(|oldest| oldest < plan.meta.first) {
        texts.push(sweep(plan.meta.first));
    }
    texts.push(finish(plan, mark));
    texts
}

/// Writes `kv_meta`, marks the batch as committed, and notifies others.
fn finish<'a>(plan: &'a Plan, mark: &Mark<'a>) -> Text<'a> {
    let text = "with meta as (
            update kv_meta set head = ?, first = ?, last_ms = ?, fence = ?, lock_seq = ?, batches = batches + 1),
        gone as (
            delete from kv_batch where id = ? or id = any(array(
                select id from kv_batch where time <= ? order by time limit ?))),
        mark as (insert into kv_batch (id, time) values (?, ?))
        select pg_notify(?, '')";
    let forgotten = Value::count(limits::BATCH_IDS_FORGOTTEN);
    let mut arguments: Vec<Argument<'a>> = sql::meta_values(&plan.meta).map(Argument::from).into();
    let mark = [
        Value::Text(mark.last_id),
        Value::Integer(mark.now_ms.saturating_sub(limits::BATCH_ID_KEPT_MS)),
        forgotten,
        Value::Text(mark.id),
        Value::Integer(mark.now_ms),
        Value::Text(mark.channel),
    ];
    arguments.extend(mark.map(Argument::from));
    (text.to_owned(), arguments)
}

/// Removes a part of what was trimmed, oldest first: a step that is bounded in records and bytes, so at least one.
pub(super) fn sweep<'a>(first: u64) -> Text<'a> {
    let text = "delete from kv_stream where seq <= (
        select max(seq) from (
            select seq, sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding) as before
            from (select seq, octet_length(\"key\") + octet_length(value::text) as bytes
                from kv_stream where seq < ? order by seq limit ?) b) s
        where coalesce(before, 0) < ?)";
    let arguments =
        [Value::count(first), Value::count(limits::SWEEP_RECORDS), Value::count(limits::SWEEP_BYTES)];
    (text.to_owned(), arguments.map(Argument::from).into())
}

/// The records are numbered in key order, without their values passing through this process.
fn delete_range(RangeDelete { range, deleted, first_seq, time_ms }: &RangeDelete) -> Text<'_> {
    let (seq, last) = (Value::count(*first_seq), Value::count(first_seq + deleted - 1));
    let mut statement = sql::Statement::default();
    // What is deleted is the first slice of the range.
    let mut chosen = |before: &str, columns: &str| {
        statement.text.push_str(before);
        sql::load::covered(&mut statement, &format!("select {columns}"), range, *deleted);
    };
    chosen(
        concat!(
            "with moved as (insert into kv_stream (",
            columns!(stream),
            ") select \"key\", version, revision, type, created, updated, value, ? + number, ?,
                case when ? + number = ? then 1 else 0 end, 'delete', ?
            from (select r.*, row_number() over (order by \"key\") - 1 as number from ("
        ),
        columns!(record),
    );
    // An array of keys is looked up key by key. A join with them, or `in`, is planned without knowing how few they are, and
    // may look through the whole table.
    chosen(") r) n) delete from kv_record where \"key\" = any(array(", "\"key\"");
    statement.text.push_str("))");
    let mut values = vec![seq, seq, seq, last, Value::Integer(*time_ms)];
    values.extend(statement.values);
    (statement.text, values.into_iter().map(Argument::from).collect())
}

/// The names of the columns in a list of them.
fn names(columns: &str) -> impl Iterator<Item = &str> {
    columns.split(", ")
}

/// Whether a column holds text. The others hold integers.
fn is_text(column: &str) -> bool {
    ["\"key\"", "type", "value", "action", "name", "owner", "holder", "id", "request", "outcome"]
        .contains(&column)
}

/// Inserts rows.
fn insert<'a, const N: usize>(
    table: &str,
    columns: &str,
    rows: impl ExactSizeIterator<Item = [Value<'a>; N]>,
) -> Text<'a> {
    let mut arguments: Vec<Argument<'a>> = names(columns)
        .map(|name| {
            let count = rows.len();
            if is_text(name) {
                Argument::Texts(Vec::with_capacity(count))
            } else {
                Argument::Integers(Vec::with_capacity(count))
            }
        })
        .collect();
    for row in rows {
        for (column, value) in arguments.iter_mut().zip(row) {
            match (column, value) {
                (Argument::Texts(texts), Value::Text(text)) => texts.push(Some(text)),
                (Argument::Texts(texts), _) => texts.push(None),
                (Argument::Integers(numbers), Value::Integer(number)) => numbers.push(Some(number)),
                (Argument::Integers(numbers), _) => numbers.push(None),
                (Argument::One(_), _) => {}
            }
        }
    }
    let list = |part: &dyn Fn(&str) -> String| names(columns).map(part).collect::<Vec<_>>().join(", ");
    // A change that copies its value has none of its own.
    let present = "(select r.value from kv_record r where r.\"key\" = u.\"key\")";
    let selected = list(&|name| match (table, name) {
        ("kv_stream", "value") => format!("coalesce(u.value::json, {present})"),
        (_, "value") => "u.value::json".to_owned(),
        _ => format!("u.{name}"),
    });
    let arrays = list(&|name| (if is_text(name) { "?::text[]" } else { "?::bigint[]" }).to_owned());
    let text =
        format!("insert into {table} ({columns}) select {selected} from unnest({arrays}) as u({columns})");
    (text, arguments)
}

/// Inserts rows, or puts them in the place of those that have the same first column.
fn upsert<'a, const N: usize>(
    table: &str,
    columns: &str,
    rows: impl ExactSizeIterator<Item = [Value<'a>; N]>,
) -> Text<'a> {
    let (mut text, arguments) = insert(table, columns, rows);
    let key = names(columns).next().unwrap_or_default();
    let set: Vec<String> = names(columns).skip(1).map(|name| format!("{name} = excluded.{name}")).collect();
    text += &format!(" on conflict ({key}) do update set {}", set.join(", "));
    (text, arguments)
}
