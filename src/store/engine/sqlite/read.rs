//! Reads: each is one snapshot, which includes the position of the store.

use std::sync::Arc;

use rusqlite::Connection;

use super::cache::Cache;
use super::database::Database;
use super::error::in_use;
use super::retire::Opened;
use super::statement::{self, Prepared, Trouble, each_row, first_row};
use super::{Sqlite, aside};
use crate::limits;
use crate::store::damage::Damage;
use crate::store::engine::migrations::not_initialized;
use crate::store::engine::query::Reading;
use crate::store::engine::sql::{self, Dialect, Statement, Value};
use crate::store::engine::{Point, SharedRecord, Snapshot};
use crate::store::error::{Error, Result};
use crate::store::position::Position;

/// A connection to read from.
pub(super) struct Source<'a> {
    pub(super) connection: &'a Connection,
    /// The number of this opening of the store within the process.
    pub(super) opened: u64,
}

/// The result of a read, without the time.
type Read<T> = statement::Result<(Position, T)>;

impl Sqlite {
    /// Reads on this thread; none when that would have to wait.
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
        // The file may have been written over in the meantime.
        match (found, self.goes_on(&database)) {
            (Some(found), Some(true)) => self.snapshot(found).map(Some),
            _ => Ok(None),
        }
    }

    /// Reads on a thread that may block.
    pub(super) async fn read_aside<T: Send + 'static>(
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

    /// Passes when the rows that were just read belong to the store that was opened.
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

/// The error for a memory store that was not initialized.
pub(super) fn no_memory_store() -> Error {
    not_initialized("this memory store is not initialized".to_owned())
}

impl Source<'_> {
    /// The records under these keys. Those in `cache` are not read again. A loop over one prepared statement is faster
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
        self.at_one_instant(|position| {
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

    /// Runs a query.
    pub(super) fn answer(&self, reading: &mut Reading) -> Read<()> {
        let Reading { question, rows, .. } = reading;
        self.at_one_instant(|position| {
            rows.clear();
            let Statement { text, values } = question.statement(Dialect::Sqlite);
            each_row(self.connection, &text, &values, |row| Ok(rows.add(row, position)?))?;
            Ok(rows.finish(position)?)
        })
    }

    /// Runs statements in one transaction, and reads the position of the store in it.
    fn at_one_instant<T>(&self, read: impl FnOnce(&Position) -> statement::Result<T>) -> Read<T> {
        statement::execute(self.connection, "begin", &[])?;
        let outcome = self.position().and_then(|position| {
            let found = read(&position)?;
            Ok((position, found))
        });
        // A transaction that only reads has nothing to lose, however it ends.
        statement::execute(self.connection, "commit", &[])?;
        outcome
    }

    fn position(&self) -> statement::Result<Position> {
        const TEXT: &str = concat!("select ", sql::columns!(position), " from kv_meta");
        let found = first_row(self.connection, TEXT, &[], |row| sql::position(row, self.opened))?;
        found.ok_or_else(|| Trouble::Damage(Damage::new("kv_meta is empty")))
    }
}
