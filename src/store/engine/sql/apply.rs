//! The statements that write a plan, one for all rows of a table: for the engines that are asked over a network.

use super::load::covered;
use super::{Dialect, Statement, Value, columns};
use crate::limits;
use crate::store::plan::{Plan, RangeDelete};

/// What stands for one `?` of a statement that writes.
#[derive(Debug)]
pub(crate) enum Argument<'a> {
    One(Value<'a>),
    /// A column of the rows that a statement writes.
    #[cfg(feature = "postgres")]
    Texts(Vec<Option<&'a str>>),
    #[cfg(feature = "postgres")]
    Integers(Vec<Option<i64>>),
    /// All rows that a statement writes.
    Rows(Vec<Vec<Value<'a>>>),
}

impl<'a> From<Value<'a>> for Argument<'a> {
    fn from(value: Value<'a>) -> Argument<'a> {
        Argument::One(value)
    }
}

/// A statement with its arguments.
pub(crate) type Text<'a> = (String, Vec<Argument<'a>>);

/// The statements of a plan but those for `kv_meta` and `kv_batch`, in the order in which they are to be run. `oldest` is the
/// first seq that stands in `kv_stream`.
pub(crate) fn statements(plan: &Plan, oldest: Option<u64>, dialect: Dialect) -> Vec<Text<'_>> {
    let mut texts = Vec::new();
    // The stream comes first: a delete copies the value that stands in `kv_record`.
    if !plan.stream.is_empty() {
        let rows = plan.stream.iter().map(columns::stream_values);
        texts.push(insert(dialect, "kv_stream", columns!(stream), rows));
    }
    texts.extend(plan.range_delete.iter().flat_map(|range_delete| delete_range(dialect, range_delete)));
    let deletes = [
        ("kv_record", "\"key\"", &plan.deletes),
        ("kv_lock", "name", &plan.lock_deletes),
        ("kv_consumer", "name", &plan.consumer_deletes),
    ];
    for (table, column, keys) in deletes {
        if !keys.is_empty() {
            let text = format!("delete from {table} where {}", dialect.is_any_of(column));
            texts.push((text, vec![Value::Strings(keys).into()]));
        }
    }
    if !plan.puts.is_empty() {
        let rows = plan.puts.iter().map(|(key, row)| {
            let mut values = columns::record_values(key, row);
            // Each large text is sent once, where the stream has it by now.
            if dialect.sends_values_once() && row.revision >= plan.meta.first {
                values[columns::VALUE] = Value::Null;
            }
            values
        });
        texts.push(upsert(dialect, "kv_record", columns!(record), rows));
    }
    if !plan.locks.is_empty() {
        let rows = plan.locks.iter().map(|(name, row)| columns::lock_values(name, row));
        texts.push(upsert(dialect, "kv_lock", columns!(lock), rows));
    }
    if !plan.consumers.is_empty() {
        let rows = plan.consumers.iter().map(|(name, row)| columns::consumer_values(name, row));
        texts.push(upsert(dialect, "kv_consumer", columns!(consumer), rows));
    }
    if !plan.once.is_empty() {
        let old = dialect.is_selected("id", "select id from kv_once where time <= ? order by time limit ?");
        let arguments = [Value::Integer(plan.once_expired_ms), Value::count(limits::ONCE_FORGOTTEN)];
        texts.push((format!("delete from kv_once where {old}"), arguments.map(Argument::from).into()));
        let rows = plan.once.iter().map(|(id, row)| columns::once_values(id, row));
        texts.push(upsert(dialect, "kv_once", columns!(once), rows));
    }
    if let Some(retention) = &plan.retention {
        let values = columns::retention_values(retention).map(Argument::from);
        texts.push((columns::RETAIN.to_owned(), values.into()));
    }
    if oldest.is_some_and(|oldest| oldest < plan.meta.first) {
        texts.push(sweep(dialect, plan.meta.first));
    }
    texts
}

/// Removes a part of what was trimmed, oldest first: a step that is bounded in records and bytes, so at least one.
pub(crate) fn sweep<'a>(dialect: Dialect, first: u64) -> Text<'a> {
    let value = dialect.text_of("value");
    let text = format!(
        "delete from kv_stream where seq <= (
        select max(seq) from (
            select seq, sum(bytes) over (order by seq rows between unbounded preceding and 1 preceding) as before
            from (select seq, octet_length(\"key\") + octet_length({value}) as bytes
                from kv_stream where seq < ? order by seq limit ?) b) s
        where coalesce(before, 0) < ?)"
    );
    let arguments =
        [Value::count(first), Value::count(limits::SWEEP_RECORDS), Value::count(limits::SWEEP_BYTES)];
    (text, arguments.map(Argument::from).into())
}

/// The records are numbered in key order, without their values passing through this process. What is deleted is the first
/// slice of the range.
fn delete_range(dialect: Dialect, range_delete: &RangeDelete) -> [Text<'_>; 2] {
    let RangeDelete { range, deleted, now_ms, first_seq, time_ms } = range_delete;
    let (seq, last) = (Value::count(*first_seq), Value::count(first_seq + deleted - 1));
    let text = format!(
        "insert into kv_stream ({}) select r.\"key\", r.version, r.revision, r.type, r.created, r.updated, r.expires, r.value,
            ? + number, ?, case when ? + number = ? then 1 else 0 end, 'delete', ?
        from (",
        columns!(stream)
    );
    let values = vec![seq, seq, seq, last, Value::Integer(*time_ms)];
    let mut append = Statement { text, values };
    let numbered =
        |columns| format!("select {columns}, row_number() over (order by \"key\") - 1 as number from (");
    match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            append.text += &numbered(columns!(record));
            covered(&mut append, concat!("select ", columns!(record)), range, *deleted, *now_ms);
            append.text += ") n) r";
        }
        _ => {
            // Only keys are sorted.
            append.text += &numbered("\"key\"");
            covered(&mut append, "select \"key\"", range, *deleted, *now_ms);
            append.text += ") n) d join kv_record r on r.\"key\" = d.\"key\"";
        }
    }
    let values = append.values.into_iter().map(Argument::from).collect();
    let moved = dialect.is_selected("\"key\"", "select \"key\" from kv_stream where seq >= ?");
    let delete = format!("delete from kv_record where {moved}");
    [(append.text, values), (delete, vec![seq.into()])]
}

/// The names of the columns in a list of them.
fn names(columns: &str) -> impl Iterator<Item = &str> {
    columns.split(", ")
}

/// Whether a column holds text. The others hold integers.
fn is_text(column: &str) -> bool {
    const TEXTS: &[&str] = &[
        "\"key\"",
        "type",
        "value",
        "action",
        "name",
        "owner",
        "holder",
        "only_key",
        "only_prefix",
        "only_type",
        "id",
        "request",
        "outcome",
    ];
    TEXTS.contains(&column)
}

/// The columns of rows, each as an array.
#[cfg(feature = "postgres")]
fn arrays<'a, const N: usize>(
    columns: &str,
    rows: impl ExactSizeIterator<Item = [Value<'a>; N]>,
) -> Vec<Argument<'a>> {
    let count = rows.len();
    let mut arrays: Vec<Argument<'a>> = names(columns)
        .map(|name| match is_text(name) {
            true => Argument::Texts(Vec::with_capacity(count)),
            false => Argument::Integers(Vec::with_capacity(count)),
        })
        .collect();
    for row in rows {
        for (column, value) in arrays.iter_mut().zip(row) {
            match (column, value) {
                (Argument::Texts(texts), Value::Text(text)) => texts.push(Some(text)),
                (Argument::Texts(texts), _) => texts.push(None),
                (Argument::Integers(numbers), Value::Integer(number)) => numbers.push(Some(number)),
                (Argument::Integers(numbers), _) => numbers.push(None),
                _ => {}
            }
        }
    }
    arrays
}

/// Inserts rows.
fn insert<'a, const N: usize>(
    dialect: Dialect,
    table: &str,
    columns: &str,
    rows: impl ExactSizeIterator<Item = [Value<'a>; N]>,
) -> Text<'a> {
    let list = |part: &dyn Fn((usize, &str)) -> String| {
        names(columns).enumerate().map(part).collect::<Vec<_>>().join(", ")
    };
    // A change that copies its value has none of its own.
    let present = "(select r.value from kv_record r where r.\"key\" = u.\"key\")";
    let (selected, source, arguments) = match dialect {
        #[cfg(feature = "postgres")]
        Dialect::Postgres => {
            let selected = list(&|(_, name)| match (table, name) {
                ("kv_stream", "value") => format!("coalesce(u.value::json, {present})"),
                (_, "value") => "u.value::json".to_owned(),
                _ => format!("u.{name}"),
            });
            let arrays_of =
                list(&|(_, name)| (if is_text(name) { "?::text[]" } else { "?::bigint[]" }).to_owned());
            let source = format!("unnest({arrays_of}) as u({columns})");
            (selected, source, arrays(columns, rows))
        }
        _ => {
            let selected = list(&|(_, name)| match (table, name) {
                ("kv_stream", "value") => format!("coalesce(u.value, {present})"),
                ("kv_record", "value") => {
                    "coalesce(u.value, (select s.value from kv_stream s where s.seq = u.revision))".to_owned()
                }
                _ => format!("u.{name}"),
            });
            let members = list(&|(index, name)| format!("value ->> {index} as {name}"));
            let rows = Argument::Rows(rows.map(Vec::from).collect());
            (selected, format!("(select {members} from json_each(?)) u"), vec![rows])
        }
    };
    (format!("insert into {table} ({columns}) select {selected} from {source} where true"), arguments)
}

/// Inserts rows, or puts them in the place of those that have the same first column.
fn upsert<'a, const N: usize>(
    dialect: Dialect,
    table: &str,
    columns: &str,
    rows: impl ExactSizeIterator<Item = [Value<'a>; N]>,
) -> Text<'a> {
    let (mut text, arguments) = insert(dialect, table, columns, rows);
    let key = names(columns).next().unwrap_or_default();
    let set: Vec<String> = names(columns).skip(1).map(|name| format!("{name} = excluded.{name}")).collect();
    text += &format!(" on conflict ({key}) do update set {}", set.join(", "));
    (text, arguments)
}
