//! Reads: each is one snapshot, with the position of the store in it.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Connection, Row};

use super::cache::Cache;
use super::database::Database;
use super::error::in_use;
use super::retire::Opened;
use super::statement::{self, Prepared, Trouble, each_row, first_row, number};
use super::{Sqlite, aside};
use crate::limits;
use crate::store::damage::{self, Damage};
use crate::store::engine::migrations::not_initialized;
use crate::store::engine::sql::{self, Statement, Value, Wanted};
use crate::store::engine::{Holdable, Point, SharedRecord, Snapshot};
use crate::store::error::{Error, Result};
use crate::store::page::{ListQuery, NameQuery, PageRows, PageSize, StreamQuery, weight_bytes};
use crate::store::plan::{ConsumerRow, LockRow};
use crate::store::position::Position;
use crate::store::record::{Change, Record};
use crate::store::reply::Identity;

/// A connection to read from.
pub(super) struct Source<'a> {
    connection: &'a Connection,
    /// Counts the openings of the store in this process.
    opened: u64,
}

/// What was read, without the time.
type Read<T> = statement::Result<(Position, T)>;

impl Sqlite {
    /// Reads on this thread; none where that would have to wait.
    pub(super) fn read_at_once<T>(
        &self,
        read: impl FnOnce(&Source<'_>, &mut Cache) -> Read<T>,
    ) -> Result<Option<Snapshot<T>>> {
        let Some(database) = self.current()? else { return Ok(None) };
        let Some(readers) = &database.readers else { return Ok(None) };
        let found = readers.at_once(|connection, cache| {
            let source = Source { connection, opened: database.opened };
            read(&source, cache)
        });
        // Whether the file was written over meanwhile.
        match (found, self.goes_on(&database)) {
            (Some(found), Some(true)) => self.snapshot(found).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads on a thread that may be held up.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Source<'_>) -> Read<T> + Send + 'static,
    ) -> Result<Snapshot<T>> {
        let database = self.database().await?;
        let Some(readers) = &database.readers else {
            let found = self.with_opened(move |_, opened| read_in_memory(opened, read)).await?;
            return self.snapshot(found?);
        };
        let turn = Arc::clone(&readers.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(limits::SQLITE_BUSY_TIMEOUT, turn).await else {
            return Err(in_use(&self.core.place));
        };
        let (found, database) = aside(move || {
            let _turn = turn;
            let found = database.readers.as_ref().map(|readers| {
                readers.aside(|connection| read(&Source { connection, opened: database.opened }))
            });
            (found, database)
        })
        .await?;
        self.check_continuity(database).await?;
        self.snapshot(found.unwrap_or_else(|| Err(Damage::new("the store has no readers").into())))
    }

    /// Passes when what was just read is of the store that was opened.
    async fn check_continuity(&self, database: Arc<Database>) -> Result<()> {
        let goes_on = match self.goes_on(&database) {
            Some(goes_on) => goes_on,
            None => {
                let opened = database.opened;
                drop(database);
                self.with_opened(move |_, open| open.goes_on(opened)).await?
            }
        };
        if goes_on { Ok(()) } else { Err(in_use(&self.core.place)) }
    }

    fn snapshot<T>(&self, found: Read<T>) -> Result<Snapshot<T>> {
        let (position, rows) = found.map_err(|trouble| trouble.describe(&self.core.place))?;
        Ok(Snapshot { position, now_ms: self.core.clock.now_ms(), rows })
    }
}

fn read_in_memory<T>(opened: &Opened, read: impl FnOnce(&Source<'_>) -> Read<T>) -> Result<Read<T>> {
    let open = opened.present().ok_or_else(no_memory_store)?;
    Ok(read(&Source { connection: &open.writer, opened: open.database.opened }))
}

/// The error for a memory store that nobody has made.
pub(super) fn no_memory_store() -> Error {
    not_initialized("this memory store is not initialized".to_owned())
}

impl Source<'_> {
    /// What stands under these keys. What is kept in `cache` is not read again. A loop over one prepared statement is faster
    /// than a join with an array of keys.
    pub(super) fn point(
        &self,
        keys: &[impl AsRef<str>],
        inline_bytes_max: usize,
        mut cache: Option<&mut Cache>,
    ) -> Read<Vec<Point>> {
        const TEXT: &str = concat!(
            "select ",
            sql::columns!(record_head),
            ", case when octet_length(value) <= ?2 then value end from kv_record where \"key\" = ?1"
        );
        self.at_one_instant(|position, _| {
            if let Some(cache) = &mut cache {
                cache.follow(self.connection, position)?;
            }
            let inline_bytes_max = Value::count(inline_bytes_max as u64);
            let mut select = Prepared::new(self.connection, TEXT)?;
            let mut point = |key: &str| {
                if let Some(kept) = cache.as_mut().and_then(|cache| cache.get(key)) {
                    return Ok(kept);
                }
                let found = select.first_row(&[Value::Text(key), inline_bytes_max], |row| {
                    Ok(sql::record(row, position.head)?.map(SharedRecord::new))
                })?;
                if let (Some(cache), Some(Some(record))) = (&mut cache, &found) {
                    cache.keep(record);
                }
                Ok(found.map_or(Point::Absent, |record| record.map_or(Point::Large, Point::Record)))
            };
            keys.iter().map(|key| point(key.as_ref())).collect()
        })
    }

    pub(super) fn records(&self, query: &ListQuery) -> Read<PageRows<Record>> {
        self.at_one_instant(|position, _| {
            self.page(&sql::list(query, Wanted::Records), query.size, |row| {
                let record =
                    sql::record(row, position.head)?.ok_or_else(|| Damage::new("a value is null"))?;
                let bytes = weight_bytes(&record);
                Ok((record, bytes))
            })
        })
    }

    pub(super) fn keys(&self, query: &ListQuery) -> Read<PageRows<String>> {
        self.at_one_instant(|_, _| {
            self.page(&sql::list(query, Wanted::Keys), query.size, |row| {
                let key = sql::key(row)?;
                let bytes = key.len();
                Ok((key, bytes))
            })
        })
    }

    pub(super) fn count(&self, query: &ListQuery) -> Read<u64> {
        self.at_one_instant(|_, _| {
            let Statement { text, values } = sql::count(query);
            Ok(damage::count(number(self.connection, &text, &values)?)?)
        })
    }

    pub(super) fn changes(&self, query: &StreamQuery) -> Read<PageRows<Change>> {
        self.at_one_instant(|position, _| {
            let found = self.page(&sql::stream(query, position), query.size, |row| {
                let change = sql::change(row, position.head)?;
                let bytes = weight_bytes(&change.record);
                Ok((change, bytes))
            })?;
            query.check_dense(position, &found)?;
            Ok(found)
        })
    }

    pub(super) fn locks(&self, query: &NameQuery) -> Read<PageRows<(String, LockRow)>> {
        self.at_one_instant(|_, _| {
            let fence = damage::count(number(self.connection, "select fence from kv_meta", &[])?)?;
            let statement = sql::names(sql::columns!(lock), "kv_lock", query);
            self.page(&statement, query.size, |row| Ok((sql::lock(row, fence)?, 0)))
        })
    }

    pub(super) fn consumers(&self, query: &NameQuery) -> Read<PageRows<(String, ConsumerRow)>> {
        self.at_one_instant(|position, _| {
            let statement = sql::names(sql::columns!(consumer), "kv_consumer", query);
            self.page(&statement, query.size, |row| Ok((sql::consumer(row, position.head)?, 0)))
        })
    }

    pub(super) fn expiries(&self, names: &[Holdable]) -> Read<HashMap<Holdable, i64>> {
        self.at_one_instant(|_, _| {
            let mut expiries = HashMap::with_capacity(names.len());
            for what in names {
                let (text, name) = match what {
                    Holdable::Lock(name) => ("select expires from kv_lock where name = ?", name),
                    Holdable::Consumer(name) => ("select expires from kv_consumer where name = ?", name),
                };
                let expires =
                    first_row(self.connection, text, &[Value::Text(name)], |row| sql::optional_time_ms(row))?;
                if let Some(expires_ms) = expires.flatten() {
                    expiries.insert(what.clone(), expires_ms);
                }
            }
            Ok(expiries)
        })
    }

    pub(super) fn identity(&self) -> Read<Identity> {
        self.at_one_instant(|position, store_id| {
            Ok(Identity { store_id: store_id.to_owned(), epoch: position.epoch.clone() })
        })
    }

    /// Runs statements in one transaction, with where the store stands in it and the id of the store.
    fn at_one_instant<T>(&self, read: impl FnOnce(&Position, &str) -> statement::Result<T>) -> Read<T> {
        statement::execute(self.connection, "begin", &[])?;
        let outcome = self.position().and_then(|(position, store_id)| {
            let found = read(&position, &store_id)?;
            Ok((position, found))
        });
        // A transaction that only reads has nothing to lose, whichever way it ends.
        statement::execute(self.connection, "commit", &[])?;
        outcome
    }

    fn position(&self) -> statement::Result<(Position, String)> {
        const TEXT: &str = concat!("select ", sql::columns!(position), " from kv_meta");
        let found = first_row(self.connection, TEXT, &[], |row| sql::position(row, self.opened))?;
        found.ok_or_else(|| Trouble::Damage(Damage::new("kv_meta is empty")))
    }

    /// Rows as far as they fit a page. Each is weighed when it is there, so a page holds one row more at most.
    fn page<T>(
        &self,
        Statement { text, values }: &Statement<'_>,
        size: PageSize,
        mut make: impl FnMut(&Row<'_>) -> damage::Result<(T, usize)>,
    ) -> statement::Result<PageRows<T>> {
        let mut page = PageRows::default();
        each_row(self.connection, text, values, |row| {
            if !page.has_room(size) {
                return Ok(false);
            }
            let (row, bytes) = make(row)?;
            page.push(row, bytes);
            Ok(true)
        })?;
        Ok(page)
    }
}
