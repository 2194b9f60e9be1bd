//! The rows that a batch needs, by one statement for all rows of a kind: for the engines that are asked over a network.

use std::collections::HashMap;

use super::{Cells, Dialect, Now, Statement, Value, columns};
use crate::limits;
use crate::store::damage::{self, Damage, Result, StreamEnds};
use crate::store::keys::KeyRange;
use crate::store::plan::{Counted, CountedRange, LoadedRange, Meta, Needs, Rows};

/// What a statement gives the rows of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The clock of the server, its schema, and the ends of the stream.
    Standing,
    Records,
    Values,
    Expired,
    NextExpiry,
    Locks,
    SweptLocks,
    Consumers,
    Once,
}

/// The statements for what a batch needs besides the row of `kv_meta` and its [later parts](later_parts), in an order in which their rows are to be
/// added. `swept_to` is the last lock that was looked at to see whether it is over;
/// `now` tells which records are.
pub(crate) fn statements<'a>(
    needs: &'a Needs<'a>,
    swept_to: &'a str,
    (dialect, now): (Dialect, Now),
) -> Vec<(Part, Statement<'a>)> {
    let mut statements = vec![(Part::Standing, Statement::new(standing(dialect)))];
    let mut named = |part, columns: &str, table: &str, column: &str, names: &'a [&'a str]| {
        if !names.is_empty() {
            let mut statement = Statement::new(format!("select {columns} from {table} where "));
            statement.add(&dialect.is_any_of(column), Value::Texts(names));
            statements.push((part, statement));
        }
    };
    named(Part::Records, columns!(record_head), "kv_record", "\"key\"", &needs.keys);
    named(Part::Locks, columns!(lock), "kv_lock", "name", &needs.locks);
    named(Part::Consumers, columns!(consumer), "kv_consumer", "name", &needs.consumers);
    named(Part::Once, columns!(once), "kv_once", "id", &needs.once);
    if !needs.values.is_empty() {
        let mut statement = Statement::default();
        statement.add(&values(dialect), Value::Texts(&needs.values));
        statement.add(" where coalesce(before, 0) < ?", Value::count(limits::BATCH_LOADED_BYTES as u64));
        statements.push((Part::Values, statement));
    }
    let mut expired =
        Statement::new(format!("select {} from kv_record where expires <= ", columns!(record_head)));
    expired.now(now);
    expired.add(" order by expires limit ?", Value::count(limits::EXPIRED_PER_BATCH as u64));
    statements.push((Part::Expired, expired));
    if needs.next_expiry {
        let mut next = Statement::new("select expires from kv_record where expires > ".to_owned());
        next.now(now);
        next.text.push_str(" order by expires limit 1");
        statements.push((Part::NextExpiry, next));
    }
    if needs.sweeps_locks {
        let mut statement = Statement::new(format!("select {} from kv_lock where true", columns!(lock)));
        statement.add(" and name > ?", Value::Text(swept_to));
        statement.add(" order by name limit ?", Value::count(limits::LOCK_SWEEP_ROWS as u64));
        statements.push((Part::SweptLocks, statement));
    }
    statements
}

/// What is read by statements that need to know the time of the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum LaterPart<'a> {
    Counted(&'a CountedRange),
    Range(&'a LoadedRange),
}

/// What is read behind all other parts.
pub(crate) fn later_parts<'a>(needs: &'a Needs<'a>) -> impl Iterator<Item = LaterPart<'a>> {
    let counted = needs.counted.iter().map(LaterPart::Counted);
    counted.chain(needs.ranges.iter().map(LaterPart::Range))
}

/// Adds a selection of the first records that a delete of a range covers, in key order: those that have not expired at this time.
pub(crate) fn covered<'a>(
    statement: &mut Statement<'a>,
    select: &str,
    range: &'a CountedRange,
    limit: u64,
    now_ms: i64,
) {
    statement.text.push_str(select);
    statement.text.push_str(" from kv_record where true");
    within(statement, &range.keys);
    statement.present(Now::At(now_ms));
    statement.add(" order by \"key\" limit ?", Value::count(limit));
    statement.add(" offset ?", Value::count(range.offset));
}

fn within<'a>(statement: &mut Statement<'a>, keys: &'a KeyRange) {
    statement.add(" and \"key\" >= ?", Value::Text(&keys.from));
    if let Some(to) = &keys.to {
        statement.add(" and \"key\" < ?", Value::Text(to));
    }
}

/// What has been loaded.
pub(crate) struct Loading {
    rows: Rows,
    now_ms: i64,
    schema: i64,
    ends: StreamEnds,
}

/// All that a batch needs.
pub(crate) struct Loaded {
    pub(crate) rows: Rows,
    /// By the clock of the server, in milliseconds since 1970 UTC.
    pub(crate) now_ms: i64,
    /// The number of the newest step of the schema.
    pub(crate) schema: i64,
    /// The first seq that stands in `kv_stream`: when it is before the first one that is kept, it was trimmed.
    pub(crate) oldest: Option<u64>,
}

impl Loading {
    /// Begins with the row of `kv_meta`.
    pub(crate) fn new(meta: Meta) -> Loading {
        let rows = Rows {
            meta,
            records: HashMap::new(),
            expired: Vec::new(),
            next_expiry_ms: None,
            ranged: 0,
            counted: Counted::default(),
            locks: HashMap::new(),
            swept_locks: Vec::new(),
            consumers: HashMap::new(),
            once: HashMap::new(),
        };
        Loading { rows, now_ms: 0, schema: 0, ends: StreamEnds { oldest: None, newest: None } }
    }

    /// Adds a row of a part.
    pub(crate) fn add(&mut self, part: Part, row: &dyn Cells) -> Result<()> {
        let rows = &mut self.rows;
        let (head, fence) = (rows.meta.head, rows.meta.fence);
        match part {
            Part::Standing => {
                let seq = |index| row.integer(index)?.map(damage::count).transpose();
                let number = |index| row.integer(index)?.ok_or_else(|| Damage::new("a number is missing"));
                (self.now_ms, self.schema) = (number(0)?, number(1)?);
                self.ends = StreamEnds { oldest: seq(2)?, newest: seq(3)? };
            }
            Part::Records => rows.records.extend([columns::stored_row(row, head)?]),
            Part::Values => {
                if let Some(record) = rows.records.get_mut(&columns::text(row, 1)?) {
                    record.value = Some(columns::value(row)?);
                }
            }
            Part::NextExpiry => rows.next_expiry_ms = columns::optional_time_ms(row, 0)?,
            Part::Expired => rows.expired.push(columns::stored_row(row, head)?),
            Part::Locks => rows.locks.extend([columns::lock(row, fence)?]),
            Part::SweptLocks => rows.swept_locks.push(columns::lock(row, fence)?),
            Part::Consumers => rows.consumers.extend([columns::consumer(row, head)?]),
            Part::Once => rows.once.extend([columns::once(row)?]),
        }
        Ok(())
    }

    /// The time by the clock of the server, once [`Part::Standing`] was added, in milliseconds since 1970 UTC.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// The statement for a later part, at this time; none when the ranges before it gave more than a mutate may have.
    pub(crate) fn later<'a>(&self, part: LaterPart<'a>, now_ms: i64) -> Option<Statement<'a>> {
        match part {
            LaterPart::Counted(range) => Some(counted(range, now_ms)),
            LaterPart::Range(range) => self.range(range, now_ms),
        }
    }

    fn range<'a>(&self, range: &'a LoadedRange, now_ms: i64) -> Option<Statement<'a>> {
        let left =
            (limits::MUTATE_LOADED_RECORDS + 1).checked_sub(self.rows.ranged).filter(|&left| left > 0)?;
        let mut statement =
            Statement::new(format!("select {} from kv_record where true", columns!(record_head)));
        within(&mut statement, &range.keys);
        statement.present(Now::At(now_ms));
        statement.add(" order by \"key\" limit ?", Value::count(range.limit.min(left)));
        Some(statement)
    }

    /// Adds a row of a later part.
    pub(crate) fn add_later(&mut self, part: LaterPart<'_>, row: &dyn Cells) -> Result<()> {
        if let LaterPart::Counted(_) = part {
            let total = columns::count(row, 0)?;
            let slice_end = row.text(1)?.filter(|_| total > limits::DELETE_SLICE_RECORDS);
            self.rows.counted = Counted { total, slice_end: slice_end.map(str::to_owned) };
            return Ok(());
        }
        let (key, row) = columns::stored_row(row, self.rows.meta.head)?;
        // A record that was loaded with its value keeps it.
        self.rows.records.entry(key).or_insert(row);
        self.rows.ranged += 1;
        Ok(())
    }

    /// All of it, checked together.
    pub(crate) fn finish(self) -> Result<Loaded> {
        let Loading { rows, now_ms, schema, ends } = self;
        ends.check(&rows.meta)?;
        Ok(Loaded { rows, now_ms, schema, oldest: ends.oldest })
    }
}

/// How many records a delete of a range covers, and the last key of the first slice, if there are so many.
fn counted(range: &CountedRange, now_ms: i64) -> Statement<'_> {
    let mut statement = Statement::default();
    let slice = Value::count(limits::DELETE_SLICE_RECORDS);
    statement.add("select count(*), max(case when number = ? then \"key\" end) from (", slice);
    statement.text.push_str("select \"key\", row_number() over (order by \"key\") as number from (");
    covered(&mut statement, "select \"key\"", range, range.limit.unwrap_or(u64::MAX), now_ms);
    statement.text.push_str(") d) c");
    statement
}

/// The statement of [`Part::Standing`].
fn standing(dialect: Dialect) -> String {
    let now_ms = dialect.now_ms();
    format!(
        "select {now_ms}, (select max(number) from kv_migration), (select min(seq) from kv_stream),
            (select max(seq) from kv_stream)"
    )
}

/// The values of the keys that stand for the `?`, each with its key and the bytes of those before it. A key that comes again is
/// counted again.
fn values(dialect: Dialect) -> String {
    let (keys, text) = (dialect.numbered_keys(), dialect.text_of("r.value"));
    format!(
        "select value, \"key\" from (
            select r.value, r.\"key\", sum(octet_length({text}))
                over (order by u.number rows between unbounded preceding and 1 preceding) as before
            from {keys} join kv_record r on r.\"key\" = u.\"key\") v"
    )
}
