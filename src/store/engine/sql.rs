//! The SQL of all engines: the statements of reads, and the columns of each table.

mod columns;
#[cfg(feature = "postgres")]
pub(crate) mod load;
pub(crate) mod queries;

use std::ops::Bound;

pub(crate) use self::columns::*;
use crate::store::page::Span;

/// Whose SQL it is, where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// That of SQLite, which rqlite speaks too.
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

impl Dialect {
    /// Whether this column is one of the [texts](Value::Texts) that stand for the `?`.
    pub(crate) fn is_any_of(self, column: &str) -> String {
        match self {
            Dialect::Sqlite => format!("{column} in (select value from json_each(?))"),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{column} = any(?)"),
        }
    }

    /// A value as text, which can be compared.
    pub(crate) fn text_of(self, value: &str) -> String {
        match self {
            Dialect::Sqlite => value.to_owned(),
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{value}::text"),
        }
    }

    /// The time by the clock of the server, in milliseconds since 1970 UTC. It does not stand still in a transaction.
    #[cfg(feature = "postgres")]
    pub(crate) fn now_ms(self) -> &'static str {
        match self {
            Dialect::Sqlite => "cast(unixepoch('subsec') * 1000 as integer)",
            Dialect::Postgres => "floor(extract(epoch from clock_timestamp()) * 1000)::bigint",
        }
    }

    /// The [texts](Value::Texts) that stand for the `?`, as rows `u("key", number)` in their order.
    #[cfg(feature = "postgres")]
    pub(crate) fn numbered_keys(self) -> &'static str {
        match self {
            Dialect::Sqlite => "(select value as \"key\", key as number from json_each(?)) u",
            Dialect::Postgres => "unnest(?::text[]) with ordinality as u(\"key\", number)",
        }
    }
}

/// What stands for one `?` of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Integer(i64),
    Text(&'a str),
    /// Any number of texts, for [`Dialect::is_any_of`].
    Texts(&'a [&'a str]),
    /// As [`Texts`](Value::Texts).
    Strings(&'a [String]),
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
