//! What can be read of a store: the statement of each query, and what its rows become.

use std::collections::HashMap;

use super::{Cells, Dialect, Statement, Value, columns};
use crate::limits;
use crate::store::damage::{Damage, Result};
use crate::store::engine::Holdable;
use crate::store::engine::query::Query;
use crate::store::page::{ListQuery, NameQuery, PageRows, PageSize, StreamQuery, weight_bytes};
use crate::store::plan::{ConsumerRow, LockRow};
use crate::store::position::Position;
use crate::store::record::{Change, Record};
use crate::store::reply::Identity;
use crate::store::request::Retention;

/// Columns of the records that a listing covers, in key order. There is one row more than the page has, which shows whether
/// anything follows.
fn listed<'a>(columns: &str, query: &'a ListQuery) -> Statement<'a> {
    let mut statement = Statement::new(format!("select {columns} from kv_record where true"));
    statement.within("\"key\"", &query.span);
    statement.of_type(query.record_type.as_deref());
    statement.present(query.now);
    let order = if query.span.reverse { "desc" } else { "asc" };
    statement.add(&format!(" order by \"key\" {order} limit ?"), Value::count(query.size.rows + 1));
    statement.add(" offset ?", Value::count(query.offset));
    statement
}

/// These columns of a page of a table, which begin with those of a record. `rows` selects the rows, and one more.
///
/// Where an answer comes as a whole, it has no more values than the page holds: the value of the row behind them is null.
fn paged<'a>(
    dialect: Dialect,
    columns: &str,
    (table, id, reverse): (&str, &str, bool),
    size: PageSize,
    rows: impl FnOnce(&str) -> Statement<'a>,
) -> Statement<'a> {
    match dialect {
        #[cfg(feature = "rqlite")]
        Dialect::Rqlite => {
            let bytes = Value::count(size.bytes as u64);
            let order = if reverse { "desc" } else { "asc" };
            let shown = columns.replace(", value", ", case when coalesce(before, 0) < ? then value end");
            let mut statement = Statement::default();
            statement.add(&format!("select {shown} from (select id"), bytes);
            for (rows, name) in [(1, "before"), (2, "long_before")] {
                statement.text += &format!(
                    ", sum(bytes) over (order by id {order} rows between unbounded preceding and {rows} preceding) as {name}"
                );
            }
            let Statement { text, values } =
                rows(&format!("{id} as id, octet_length(\"key\") + octet_length(value) as bytes"));
            statement.text += &format!(" from ({text})) p join {table} on {id} = p.id");
            statement.values.extend(values);
            statement.add(" where coalesce(long_before, 0) < ?", bytes);
            statement.text += &format!(" order by p.id {order}");
            statement
        }
        _ => {
            // Here they come one by one, and as many are taken as fit.
            let _ = (table, id, reverse, size);
            rows(columns)
        }
    }
}

/// A page of records.
pub(crate) struct Records(pub ListQuery);

impl Query for Records {
    type Rows = PageRows<Record>;

    fn statement(&self, dialect: Dialect) -> Statement<'_> {
        let table = ("kv_record", "\"key\"", self.0.span.reverse);
        paged(dialect, columns!(record), table, self.0.size, |columns| listed(columns, &self.0))
    }

    fn add(&self, page: &mut PageRows<Record>, row: &dyn Cells, position: &Position) -> Result<bool> {
        page.add(self.0.size, || {
            let record =
                columns::record(row, position.head)?.ok_or_else(|| Damage::new("a value is null"))?;
            let bytes = weight_bytes(&record);
            Ok((record, bytes))
        })
    }
}

/// A page of keys.
pub(crate) struct Keys(pub ListQuery);

impl Query for Keys {
    type Rows = PageRows<String>;

    fn statement(&self, _: Dialect) -> Statement<'_> {
        listed("\"key\"", &self.0)
    }

    fn add(&self, page: &mut PageRows<String>, row: &dyn Cells, _: &Position) -> Result<bool> {
        page.add(self.0.size, || {
            let key = columns::key(row)?;
            let bytes = key.len();
            Ok((key, bytes))
        })
    }
}

/// How many records a listing has in all; the size of a page does not matter.
pub(crate) struct Count(pub ListQuery);

impl Query for Count {
    type Rows = u64;

    fn statement(&self, _: Dialect) -> Statement<'_> {
        // All of them are counted by an index, and those that have expired by another one.
        let counted = "(select count(*) from kv_record where true";
        let mut statement = Statement::new(format!("select {counted}"));
        statement.within("\"key\"", &self.0.span);
        statement.of_type(self.0.record_type.as_deref());
        statement.text += &format!(") - {counted} and expires <= ");
        statement.now(self.0.now);
        statement.within("\"key\"", &self.0.span);
        statement.of_type(self.0.record_type.as_deref());
        statement.text.push(')');
        statement
    }

    fn add(&self, count: &mut u64, row: &dyn Cells, _: &Position) -> Result<bool> {
        *count = columns::count(row, 0)?;
        Ok(false)
    }
}

/// Columns of the seqs that [`StreamQuery::seqs`] names for the position that is found, and one row more than the page has.
fn changes<'a>(dialect: Dialect, columns: &str, query: &'a StreamQuery) -> Statement<'a> {
    const FIRST: &str = "(select first from kv_meta)";
    const HEAD: &str = "(select head from kv_meta)";
    let (least, greatest) = (dialect.least(), dialect.greatest());
    // Nothing is behind the largest seq, and the sum must be a number of 64 bits.
    let from = Value::count(query.from.min(limits::COUNT_MAX));
    let scan = Value::count(query.scan);
    let mut statement = Statement::new(format!("select {columns} from kv_stream where true"));
    let order = if query.reverse {
        statement.add(&format!(" and seq <= {least}(?, {HEAD})"), from);
        statement.add(&format!(" and seq > {greatest}({least}(?, {HEAD})"), from);
        statement.add(&format!(" - ?, {FIRST} - 1)"), scan);
        "desc"
    } else {
        statement.add(&format!(" and seq >= {greatest}(?, {FIRST})"), from);
        statement.add(&format!(" and seq < {least}({greatest}(?, {FIRST})"), from);
        statement.add(&format!(" + ?, {HEAD} + 1)"), scan);
        "asc"
    };
    statement.within("\"key\"", &query.keys);
    statement.of_type(query.record_type.as_deref());
    statement.add(&format!(" order by seq {order} limit ?"), Value::count(query.size.rows + 1));
    statement
}

/// A page of the stream, and one more row.
impl Query for StreamQuery {
    type Rows = PageRows<Change>;

    fn statement(&self, dialect: Dialect) -> Statement<'_> {
        let table = ("kv_stream", "seq", self.reverse);
        paged(dialect, columns!(stream), table, self.size, |columns| changes(dialect, columns, self))
    }

    fn add(&self, page: &mut PageRows<Change>, row: &dyn Cells, position: &Position) -> Result<bool> {
        page.add(self.size, || {
            let change = columns::change(row, position.head)?;
            let bytes = weight_bytes(&change.record);
            Ok((change, bytes))
        })
    }

    fn check(&self, page: &PageRows<Change>, position: &Position) -> Result<()> {
        self.check_dense(position, page)
    }
}

/// How much of the stream is kept.
pub(crate) struct KeptRetention;

impl Query for KeptRetention {
    type Rows = Retention;
    const IS_SMALL: bool = true;

    fn statement(&self, _: Dialect) -> Statement<'_> {
        Statement::new(concat!("select ", columns!(retention), " from kv_meta").to_owned())
    }

    fn add(&self, retention: &mut Retention, row: &dyn Cells, _: &Position) -> Result<bool> {
        *retention = columns::retention(row)?;
        Ok(false)
    }
}

/// A page of the rows of a table that has names, and one more row.
fn named<'a>(columns: &str, table: &str, query: &'a NameQuery) -> Statement<'a> {
    let mut statement = Statement::new(format!("select {columns} from {table} where true"));
    statement.within("name", &query.span);
    statement.add(" order by name limit ?", Value::count(query.size.rows + 1));
    statement
}

/// A page of the locks that have a row, whether they expired or not.
pub(crate) struct Locks(pub NameQuery);

impl Query for Locks {
    type Rows = PageRows<(String, LockRow)>;

    fn statement(&self, _: Dialect) -> Statement<'_> {
        named(columns!(lock), "kv_lock", &self.0)
    }

    fn add(&self, page: &mut Self::Rows, row: &dyn Cells, position: &Position) -> Result<bool> {
        page.add(self.0.size, || Ok((columns::lock(row, position.fence)?, 0)))
    }
}

/// A consumer, and the time of the oldest change that it has still to deal with.
pub(crate) struct ListedConsumer {
    pub name: String,
    pub row: ConsumerRow,
    pub waiting_since_ms: Option<i64>,
}

/// A page of the consumers.
pub(crate) struct Consumers(pub NameQuery);

impl Query for Consumers {
    type Rows = PageRows<ListedConsumer>;

    fn statement(&self, dialect: Dialect) -> Statement<'_> {
        let next = format!("{}(position + 1, (select first from kv_meta))", dialect.greatest());
        let since = format!("(select time from kv_stream where seq = {next})");
        named(&format!("{}, {since}", columns!(consumer)), "kv_consumer", &self.0)
    }

    fn add(&self, page: &mut Self::Rows, row: &dyn Cells, position: &Position) -> Result<bool> {
        page.add(self.0.size, || {
            let (name, consumer) = columns::consumer(row, position.head)?;
            let waiting_since_ms = columns::optional_time_ms(row, columns::CONSUMER)?;
            Ok((ListedConsumer { name, row: consumer, waiting_since_ms }, 0))
        })
    }
}

/// When each of these expires that has a holder, in milliseconds since 1970 UTC.
pub(crate) struct Expiries {
    locks: Vec<String>,
    consumers: Vec<String>,
}

impl Expiries {
    pub(crate) fn of(names: impl IntoIterator<Item = Holdable>) -> Expiries {
        let mut expiries = Expiries { locks: Vec::new(), consumers: Vec::new() };
        for what in names {
            match what {
                Holdable::Lock(name) => expiries.locks.push(name),
                Holdable::Consumer(name) => expiries.consumers.push(name),
            }
        }
        expiries
    }
}

impl Query for Expiries {
    type Rows = HashMap<Holdable, i64>;

    fn statement(&self, dialect: Dialect) -> Statement<'_> {
        let mut statement = Statement::new("select 0, name, expires from kv_lock where ".to_owned());
        statement.add(&dialect.is_any_of("name"), Value::Strings(&self.locks));
        statement.text.push_str(" union all select 1, name, expires from kv_consumer where ");
        statement.add(&dialect.is_any_of("name"), Value::Strings(&self.consumers));
        statement
    }

    fn add(&self, expiries: &mut Self::Rows, row: &dyn Cells, _: &Position) -> Result<bool> {
        let name = columns::text(row, 1)?;
        let what = if columns::count(row, 0)? == 0 { Holdable::Lock(name) } else { Holdable::Consumer(name) };
        if let Some(expires_ms) = columns::optional_time_ms(row, 2)? {
            expiries.insert(what, expires_ms);
        }
        Ok(true)
    }
}

/// Which store this is.
pub(crate) struct WhichStore;

impl Query for WhichStore {
    type Rows = Identity;
    const IS_SMALL: bool = true;

    fn statement(&self, _: Dialect) -> Statement<'_> {
        Statement::new("select store_id, epoch from kv_meta".to_owned())
    }

    fn add(&self, identity: &mut Identity, row: &dyn Cells, _: &Position) -> Result<bool> {
        *identity = Identity { store_id: columns::text(row, 0)?, epoch: columns::text(row, 1)? };
        Ok(false)
    }
}
