//! Reads: each is one statement, and so one snapshot, with the head of the stream in it.

use std::collections::HashMap;
use std::ops::Bound;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteRow;

use super::column::{self, Damage, column, count, flag, json, optional_text, time_ms};
use super::database::Database;
use super::error::{describe, in_use};
use super::load::{consumer, lock};
use super::named::{CONSUMERS, LOCKS, Named};
use super::run::{Arguments, Stopped, run};
use crate::limits;
use crate::store::engine::page::{Bounds, ListQuery, StreamQuery};
use crate::store::engine::{Candidates, Found, Got, Holdable};
use crate::store::error::Result;
use crate::store::plan::{ConsumerRow, LockRow};
use crate::store::record::{Action, Change, Record};
use crate::store::reply::Identity;
use crate::store::time::Timestamp;

impl Database {
    pub(super) async fn get(&self, keys: &[&str]) -> Result<Got> {
        let text = "select m.head, r.\"key\", r.version, r.revision, r.type, r.created, r.updated,
                case when octet_length(r.value) <= ? then r.value end
            from kv_meta m
                left join (json_each(?) k join kv_record r on r.\"key\" = k.value) on true";
        let keys = serde_json::to_string(keys).unwrap_or_default();
        let arguments = Arguments::default().integer(limits::INLINE_VALUE_BYTES as u64).text(keys);
        self.read(text, arguments, |rows| {
            let seq = head(rows)?;
            let mut records = HashMap::with_capacity(rows.len());
            for row in rows {
                let Some(key) = optional_text(row, 1)? else { continue };
                let found = match optional_text(row, 7)? {
                    Some(_) => Found::Inline(record(row, 1, seq)?),
                    None => Found::Large,
                };
                records.insert(key, found);
            }
            Ok(Got { seq, records })
        })
        .await
    }

    pub(super) async fn get_one(&self, key: &str) -> Result<(u64, Option<Record>)> {
        let text = "select m.head, r.\"key\", r.version, r.revision, r.type, r.created, r.updated, r.value
            from kv_meta m left join kv_record r on r.\"key\" = ?";
        self.read(text, Arguments::default().text(key), |rows| {
            let seq = head(rows)?;
            Ok((seq, optional_text(&rows[0], 1)?.map(|_| record(&rows[0], 1, seq)).transpose()?))
        })
        .await
    }

    pub(super) async fn list(&self, query: &ListQuery) -> Result<Candidates<Record>> {
        let order = if query.reverse { "desc" } else { "asc" };
        let (candidates, arguments) = candidates(query, "octet_length(\"key\") + octet_length(value)");
        let text = format!(
            "with candidate as materialized ({candidates}), fitting as ({})
            select m.head, (select count(*) from candidate),
                r.\"key\", r.version, r.revision, r.type, r.created, r.updated, r.value
            from kv_meta m left join (fitting f join kv_record r on r.\"key\" = f.id) on true",
            fitting(order)
        );
        let arguments = arguments.integer(limits::PAGE_BYTES as u64);
        self.read(&text, arguments, |rows| candidates_of(rows, |row, head| record(row, 2, head))).await
    }

    pub(super) async fn keys(&self, query: &ListQuery) -> Result<Candidates<String>> {
        let order = if query.reverse { "desc" } else { "asc" };
        let (candidates, arguments) = candidates(query, "octet_length(\"key\")");
        let text = format!(
            "with candidate as materialized ({candidates}), fitting as ({})
            select m.head, (select count(*) from candidate), f.id
            from kv_meta m left join fitting f on true",
            fitting(order)
        );
        let arguments = arguments.integer(limits::PAGE_BYTES as u64);
        self.read(&text, arguments, |rows| candidates_of(rows, |row, _| column(row, 2))).await
    }

    pub(super) async fn count(&self, query: &ListQuery) -> Result<(u64, u64)> {
        let (filter, arguments) = selection(query, "\"key\"");
        let text = format!("select head, (select count(*) from kv_record where {filter}) from kv_meta");
        self.read(&text, arguments, |rows| Ok((head(rows)?, count(&rows[0], 1)?))).await
    }

    pub(super) async fn stream(&self, query: &StreamQuery) -> Result<(Bounds, Candidates<Change>)> {
        let (text, arguments, is_filtered) = stream_page(query);
        self.read(&text, arguments, |rows| {
            let bounds = bounds(rows, 14, self.opened)?;
            let mut found = candidates_of(rows, change)?;
            found.fitting.sort_unstable_by_key(|change| change.seq);
            if !is_filtered {
                check_dense(query, &bounds, &found)?;
            }
            Ok((bounds, found))
        })
        .await
    }

    pub(super) async fn locks(&self, query: &ListQuery) -> Result<Candidates<(String, LockRow)>> {
        self.named(query, LOCKS, "m.fence", |row| lock(row, 3, count(row, 1)?)).await
    }

    pub(super) async fn consumers(&self, query: &ListQuery) -> Result<Candidates<(String, ConsumerRow)>> {
        self.named(query, CONSUMERS, "m.head", |row| consumer(row, 3, count(row, 1)?)).await
    }

    pub(super) async fn expiries(&self, names: &[Holdable]) -> Result<HashMap<Holdable, i64>> {
        let text = "select 0, t.name, t.expires from json_each(?) k join kv_lock t on t.name = k.value
            union all
            select 1, t.name, t.expires from json_each(?) k join kv_consumer t on t.name = k.value
            where t.expires is not null";
        let (mut locks, mut consumers) = (Vec::new(), Vec::new());
        for name in names {
            match name {
                Holdable::Lock(name) => locks.push(name),
                Holdable::Consumer(name) => consumers.push(name),
            }
        }
        self.read(text, Arguments::default().json(&locks).json(&consumers), |rows| {
            let expiry = |row: &SqliteRow| {
                let name = column(row, 1)?;
                let what = if count(row, 0)? == 0 { Holdable::Lock(name) } else { Holdable::Consumer(name) };
                Ok((what, time_ms(row, 2)?))
            };
            rows.iter().map(expiry).collect()
        })
        .await
    }

    /// Rows of a table that has names, each with what of `kv_meta` it is checked by in front of the name.
    async fn named<T>(
        &self,
        query: &ListQuery,
        named: Named,
        checked_by: &str,
        make: impl Fn(&SqliteRow) -> column::Result<T>,
    ) -> Result<Candidates<(String, T)>> {
        let (filter, arguments) = selection(query, "t.name");
        let text = format!(
            "select m.head, {checked_by}, t.* from kv_meta m left join (
                select {} from {} t where {filter} order by t.name limit ?) t on true",
            named.selected(),
            named.table
        );
        self.read(&text, arguments.integer(query.candidates), |rows| {
            let mut found = Vec::with_capacity(rows.len());
            for row in rows {
                if let Some(name) = optional_text(row, 2)? {
                    found.push((name, make(row)?));
                }
            }
            Ok(Candidates { seq: head(rows)?, looked_at: found.len() as u64, fitting: found })
        })
        .await
    }

    pub(super) async fn meta(&self) -> Result<(Bounds, Identity)> {
        let text = "select head, epoch, first, lock_seq, store_id from kv_meta";
        self.read(text, Arguments::default(), |rows| {
            let bounds = bounds(rows, 1, self.opened)?;
            let identity = Identity { store_id: column(&rows[0], 4)?, epoch: bounds.epoch.clone() };
            Ok((bounds, identity))
        })
        .await
    }

    /// Whether another connection has committed since the last look.
    ///
    /// `data_version` is compared on a connection that is kept, because it counts what the others did since that one
    /// began to look (<https://www.sqlite.org/pragma.html#pragma_data_version>).
    pub(super) async fn look(&self) -> Result<bool> {
        // Nobody else has a store that is in memory.
        if self.readers.is_none() {
            return Ok(false);
        }
        let mut lookout = self.lookout.lock().await;
        let described = |error: &sqlx::Error| describe(error, &self.place);
        let (connection, seen) = match &mut *lookout {
            Some((connection, seen)) => (connection, seen),
            None => {
                let connection = self.reader.connect().await.map_err(|error| described(&error))?;
                let (connection, seen) = lookout.insert((connection, None));
                (connection, seen)
            }
        };
        match sqlx::query_scalar::<_, i64>("pragma data_version").fetch_one(connection).await {
            Ok(version) => Ok(seen.replace(version) != Some(version)),
            Err(error) => {
                // The next look begins with a connection that is sound, and sees all that happened meanwhile.
                *lookout = None;
                Err(described(&error))
            }
        }
    }

    /// Runs a statement and makes of its rows what was asked for.
    async fn read<T>(
        &self,
        text: &str,
        arguments: Arguments,
        make: impl FnOnce(&[SqliteRow]) -> column::Result<T>,
    ) -> Result<T> {
        let statements = match &self.readers {
            Some(readers) => {
                let mut reader = readers.acquire().await.map_err(|error| describe(&error, &self.place))?;
                run(&mut reader, text, arguments).await
            }
            None => run(&mut *self.writer.lock().await, text, arguments).await,
        };
        if !self.is_sound().await {
            return Err(in_use(&self.place));
        }
        let mut statements = statements.map_err(|Stopped { error, .. }| describe(&error, &self.place))?;
        let rows = statements.pop().map(|statement| statement.rows).unwrap_or_default();
        make(&rows).map_err(|damage| damage.describe(&self.place))
    }
}

/// A page of the stream, and whether it is filtered. The first seq is asked for by itself: as a join SQLite would look
/// through the whole stream.
fn stream_page(query: &StreamQuery) -> (String, Arguments, bool) {
    let mut arguments = Arguments::default().integer(query.from).integer(query.from).integer(query.scan);
    let mut filter = String::new();
    if !query.keys.from.is_empty() {
        filter.push_str(" and s.\"key\" >= ?");
        arguments = arguments.text(query.keys.from.as_str());
    }
    if let Some(to) = &query.keys.to {
        filter.push_str(" and s.\"key\" < ?");
        arguments = arguments.text(to.as_str());
    }
    if let Some(record_type) = &query.record_type {
        filter.push_str(" and s.type = ?");
        arguments = arguments.text(record_type.as_str());
    }
    let text = format!(
        "with candidate as materialized (
            select s.seq as id, octet_length(s.\"key\") + octet_length(s.value) as bytes
            from kv_stream s
            where s.seq >= max((select first from kv_meta), ?)
                and s.seq < max((select first from kv_meta), ?) + ? {filter}
            order by s.seq limit ?),
        fitting as ({})
        select m.head, (select count(*) from candidate), s.\"key\", s.version, s.revision, s.type, s.created,
            s.updated, s.value, s.seq, s.tx, s.tx_end, s.action, s.time, m.epoch, m.first, m.lock_seq
        from kv_meta m left join (fitting f join kv_stream s on s.seq = f.id) on true",
        fitting("asc")
    );
    (text, arguments.integer(query.candidates).integer(query.bytes as u64), !filter.is_empty())
}

/// The condition that selects what a listing covers.
fn selection(query: &ListQuery, column: &str) -> (String, Arguments) {
    let mut arguments = Arguments::default();
    let mut filter = String::from("true");
    let bounds = [(&query.lower, ">=", ">"), (&query.upper, "<=", "<")];
    for (bound, included, excluded) in bounds {
        let (operator, key) = match bound {
            Bound::Included(key) => (included, key),
            Bound::Excluded(key) => (excluded, key),
            Bound::Unbounded => continue,
        };
        filter.push_str(&format!(" and {column} {operator} ?"));
        arguments = arguments.text(key.as_str());
    }
    if let Some(record_type) = &query.record_type {
        filter.push_str(" and type = ?");
        arguments = arguments.text(record_type.as_str());
    }
    (filter, arguments)
}

/// The keys of a listing with what each counts for, as far as a page can hold them.
fn candidates(query: &ListQuery, bytes: &str) -> (String, Arguments) {
    let (filter, arguments) = selection(query, "\"key\"");
    let order = if query.reverse { "desc" } else { "asc" };
    let text = format!(
        "select \"key\" as id, {bytes} as bytes from kv_record where {filter} order by \"key\" {order} limit ? offset ?"
    );
    (text, arguments.integer(query.candidates).integer(query.offset))
}

/// The candidates before the page is full: sizes are known without loading values, so a page never holds more in
/// memory than it answers.
fn fitting(order: &str) -> String {
    format!(
        "select id from (
            select id, coalesce(sum(bytes) over (
                order by id {order} rows between unbounded preceding and 1 preceding), 0) as before from candidate)
        where before < ?"
    )
}

fn candidates_of<T>(
    rows: &[SqliteRow],
    item: impl Fn(&SqliteRow, u64) -> column::Result<T>,
) -> column::Result<Candidates<T>> {
    let (head, looked_at) = (head(rows)?, count(&rows[0], 1)?);
    let mut fitting = Vec::with_capacity(rows.len());
    for row in rows {
        if optional_text(row, 2)?.is_some() {
            fitting.push(item(row, head)?);
        }
    }
    Ok(Candidates { seq: head, fitting, looked_at })
}

fn head(rows: &[SqliteRow]) -> column::Result<u64> {
    count(rows.first().ok_or_else(|| Damage::new("kv_meta is empty"))?, 0)
}

/// `kv_meta` from the epoch on; its head stands first.
fn bounds(rows: &[SqliteRow], first: usize, opened: u64) -> column::Result<Bounds> {
    let head = head(rows)?;
    let row = &rows[0];
    let (epoch, first, lock_seq) = (column(row, first)?, count(row, first + 1)?, count(row, first + 2)?);
    Bounds { epoch, opened, head, first, lock_seq }.checked()
}

fn record(row: &SqliteRow, first: usize, head: u64) -> column::Result<Record> {
    let record = Record {
        key: column(row, first)?,
        version: count(row, first + 1)?,
        revision: count(row, first + 2)?,
        record_type: optional_text(row, first + 3)?,
        created: Timestamp::from_unix_ms(time_ms(row, first + 4)?),
        updated: Timestamp::from_unix_ms(time_ms(row, first + 5)?),
        value: json(row, first + 6)?,
    };
    record.checked(head)
}

/// A reader must never pass over a change in silence, so a hole in the stream is damage.
fn check_dense(query: &StreamQuery, bounds: &Bounds, found: &Candidates<Change>) -> column::Result<()> {
    let start = query.from.max(bounds.first);
    let there = (bounds.head + 1).saturating_sub(start).min(query.candidates).min(query.scan);
    if found.looked_at == there && found.fitting.iter().zip(start..).all(|(change, seq)| change.seq == seq) {
        return Ok(());
    }
    Err(Damage::new("the stream has a hole"))
}

fn change(row: &SqliteRow, head: u64) -> column::Result<Change> {
    let action: String = column(row, 12)?;
    let seq = count(row, 9)?;
    let change = Change {
        // Its record is one of the time of the change.
        record: record(row, 2, seq)?,
        seq,
        tx: count(row, 10)?,
        tx_end: flag(row, 11)?,
        action: Action::from_name(&action)
            .ok_or_else(|| Damage::new(format!("the stream has the action {action:?}")))?,
        time: Timestamp::from_unix_ms(time_ms(row, 13)?),
    };
    change.checked(head)
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, SqliteConnection};

    use super::*;
    use crate::store::engine::migrations;
    use crate::store::request::Stream;

    /// A stream grows for ever, so no page of it may cost more for what was there before.
    #[tokio::test]
    async fn a_page_of_the_stream_is_found_by_its_seq() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        for step in migrations::SQLITE {
            run(&mut connection, step.sql, Arguments::default()).await.unwrap();
        }
        let filtered =
            Stream { prefix: Some("a".to_owned()), record_type: Some("T".to_owned()), ..Stream::default() };
        for stream in [Stream::default(), filtered] {
            let (text, arguments, _) = stream_page(&StreamQuery::of(&stream));
            let plan = run(&mut connection, format!("explain query plan {text}"), arguments).await.unwrap();
            let steps: Vec<String> = plan[0].rows.iter().map(|row| column(row, 3).unwrap()).collect();
            let searched = steps.iter().filter(|step| step.starts_with("SEARCH s USING INTEGER PRIMARY KEY"));
            assert_eq!(searched.count(), 2, "{steps:#?}");
            assert!(!steps.iter().any(|step| step.starts_with("SCAN s")), "{steps:#?}");
        }
    }
}
