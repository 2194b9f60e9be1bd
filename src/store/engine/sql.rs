//! SQLite's SQL, for every engine that speaks it: the statements of reads, and the columns of each table.

mod columns;

use std::ops::Bound;

pub(crate) use self::columns::*;
use crate::store::page::{ListQuery, NameQuery, Span, StreamQuery};
use crate::store::position::Position;

/// What stands for one `?` of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
}

impl<'a> Value<'a> {
    /// A number of kv. None comes near 2^63; a bound that a caller chose may, and means "all" then.
    pub(crate) fn count(number: u64) -> Value<'a> {
        Value::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// A text that may be missing.
    pub(crate) fn optional(text: Option<&'a str>) -> Value<'a> {
        text.map_or(Value::Null, Value::Text)
    }
}

/// A statement with its arguments. Its text holds no data, so there are few different ones.
#[derive(Debug, Default)]
pub(crate) struct Statement<'a> {
    pub text: String,
    pub values: Vec<Value<'a>>,
}

impl<'a> Statement<'a> {
    fn new(text: String) -> Statement<'a> {
        Statement { text, values: Vec::new() }
    }

    fn add(&mut self, text: &str, value: Value<'a>) {
        self.text.push_str(text);
        self.values.push(value);
    }

    /// Adds the bounds of a span.
    fn within(&mut self, column: &str, span: &'a Span) {
        let bounds = [(&span.lower, ">=", ">"), (&span.upper, "<=", "<")];
        for (bound, included, excluded) in bounds {
            let (operator, key) = match bound {
                Bound::Included(key) => (included, key),
                Bound::Excluded(key) => (excluded, key),
                Bound::Unbounded => continue,
            };
            self.add(&format!(" and {column} {operator} ?"), Value::Text(key));
        }
    }

    /// Adds the condition on the type, if there is one.
    fn of_type(&mut self, record_type: Option<&'a str>) {
        if let Some(record_type) = record_type {
            self.add(" and type = ?", Value::Text(record_type));
        }
    }
}

/// What of the records is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Records,
    Keys,
}

/// A page of records or of their keys, and one more row, which shows whether there is more.
pub(crate) fn list(query: &ListQuery, wanted: Wanted) -> Statement<'_> {
    let columns = match wanted {
        Wanted::Records => columns!(record),
        Wanted::Keys => "\"key\"",
    };
    let mut statement = Statement::new(format!("select {columns} from kv_record where true"));
    statement.within("\"key\"", &query.span);
    statement.of_type(query.record_type.as_deref());
    let order = if query.span.reverse { "desc" } else { "asc" };
    statement.add(&format!(" order by \"key\" {order} limit ?"), Value::count(query.size.rows + 1));
    statement.add(" offset ?", Value::count(query.offset));
    statement
}

/// How many records a selection has.
pub(crate) fn count(query: &ListQuery) -> Statement<'_> {
    let mut statement = Statement::new("select count(*) from kv_record where true".to_owned());
    statement.within("\"key\"", &query.span);
    statement.of_type(query.record_type.as_deref());
    statement
}

/// A page of the stream as it stands at this position, and one more row.
pub(crate) fn stream<'a>(query: &'a StreamQuery, position: &Position) -> Statement<'a> {
    let seqs = query.seqs(position);
    let mut statement = Statement::new(format!("select {} from kv_stream where true", columns!(stream)));
    statement.add(" and seq >= ?", Value::count(seqs.start));
    statement.add(" and seq < ?", Value::count(seqs.end));
    if !query.keys.from.is_empty() {
        statement.add(" and \"key\" >= ?", Value::Text(&query.keys.from));
    }
    if let Some(to) = &query.keys.to {
        statement.add(" and \"key\" < ?", Value::Text(to));
    }
    statement.of_type(query.record_type.as_deref());
    statement.add(" order by seq limit ?", Value::count(query.size.rows + 1));
    statement
}

/// A page of the rows of a table that has names, and one more row.
pub(crate) fn names<'a>(columns: &str, table: &str, query: &'a NameQuery) -> Statement<'a> {
    let mut statement = Statement::new(format!("select {columns} from {table} where true"));
    statement.within("name", &query.span);
    statement.add(" order by name limit ?", Value::count(query.size.rows + 1));
    statement
}
