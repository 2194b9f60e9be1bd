//! The SQL of all engines: the statements of reads, and the columns of each table.

#[cfg(any(feature = "postgres", feature = "rqlite"))]
pub(crate) mod apply;
mod columns;
#[cfg(any(feature = "postgres", feature = "rqlite"))]
pub(crate) mod load;
pub(crate) mod original;
pub(crate) mod queries;

use std::ops::Bound;

pub(crate) use self::columns::*;
use crate::store::page::Span;

/// Whose SQL it is, where they differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    /// That of SQLite, where an answer comes as a whole.
    #[cfg(feature = "rqlite")]
    Rqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

impl Dialect {
    /// Whether this column is one of the [texts](Value::Texts) that stand for the `?`.
    pub(crate) fn is_any_of(self, column: &str) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{column} = any(?)"),
            _ => format!("{column} in (select value from json_each(?))"),
        }
    }

    /// Whether this column is one of those that a statement selects.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    fn is_selected(self, column: &str, selection: &str) -> String {
        match self {
            // An array of keys is looked up key by key. A join with them, or `in`, is planned without knowing how few they
            // are, and may look through the whole table.
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{column} = any(array({selection}))"),
            _ => format!("{column} in ({selection})"),
        }
    }

    /// A value as text, which can be compared.
    pub(crate) fn text_of(self, value: &str) -> String {
        match self {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => format!("{value}::text"),
            _ => value.to_owned(),
        }
    }

    /// The time by the clock of the server, in milliseconds since 1970 UTC. It does not stand still in a transaction.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    pub(crate) fn now_ms(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => "floor(extract(epoch from clock_timestamp()) * 1000)::bigint",
            _ => "cast(unixepoch('subsec') * 1000 as integer)",
        }
    }

    /// The [texts](Value::Texts) that stand for the `?`, as rows `u("key", number)` in their order.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    pub(crate) fn numbered_keys(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => "unnest(?::text[]) with ordinality as u(\"key\", number)",
            _ => "(select value as \"key\", \"key\" as number from json_each(?)) u",
        }
    }

    /// Whether a value that is written into the stream is copied into the record from there.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    fn sends_values_once(self) -> bool {
        match self {
            #[cfg(feature = "rqlite")]
            Dialect::Rqlite => true,
            _ => false,
        }
    }

    /// The function that gives the least of its arguments.
    fn least(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => "least",
            _ => "min",
        }
    }

    /// The function that gives the greatest of its arguments.
    fn greatest(self) -> &'static str {
        match self {
            #[cfg(feature = "postgres")]
            Dialect::Postgres => "greatest",
            _ => "max",
        }
    }
}

/// The time by which a statement tells what has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// This one, in milliseconds since 1970 UTC.
    At(i64),
    /// That of the server, which tells it when it runs the statement.
    #[cfg(any(feature = "postgres", feature = "rqlite"))]
    OfServer(Dialect),
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

    /// Adds the condition that a record has not expired.
    fn present(&mut self, now: Now) {
        self.text.push_str(" and (expires is null or expires > ");
        self.now(now);
        self.text.push(')');
    }

    /// Adds the time.
    fn now(&mut self, now: Now) {
        match now {
            Now::At(now_ms) => self.add("?", Value::Integer(now_ms)),
            // Once for all rows.
            #[cfg(any(feature = "postgres", feature = "rqlite"))]
            Now::OfServer(dialect) => self.text += &format!("(select {})", dialect.now_ms()),
        }
    }

    /// Adds the condition on the type, if there is one.
    fn of_type(&mut self, record_type: Option<&'a str>) {
        if let Some(record_type) = record_type {
            self.add(" and type = ?", Value::Text(record_type));
        }
    }
}
