//! SQLite alone: the statements of a put and a get in a loop, in this process, without a socket or a second thread.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags, params};

use crate::wire::{key, value};

const HEAD: &str = "select head from kv_meta";
const VERSION: &str = "select version, created from kv_record where \"key\" = ?";
const INSERT_CHANGE: &str = "insert into kv_stream
    (seq, tx, tx_end, action, time, \"key\", version, revision, type, created, updated, value)
    values (?, ?, 1, ?, ?, ?, ?, ?, null, ?, ?, ?)";
const UPSERT_RECORD: &str =
    "insert into kv_record (\"key\", version, revision, type, created, updated, value)
    values (?, ?, ?, null, ?, ?, ?)
    on conflict (\"key\") do update set version = excluded.version, revision = excluded.revision,
        type = excluded.type, created = excluded.created, updated = excluded.updated, value = excluded.value";
const UPDATE_META: &str = "update kv_meta set head = ?, last_ms = ?";
const RECORD: &str =
    "select version, revision, type, created, updated, value from kv_record where \"key\" = ?";
const PAGE: &str = "select \"key\", version, revision, type, created, updated, value from kv_record
    where \"key\" > ? order by \"key\" limit ?";
const STREAM: &str =
    "select seq, tx, tx_end, action, time, \"key\", version, revision, type, created, updated, value
    from kv_stream where seq >= ? order by seq limit ?";

const NOW_MS: i64 = 1_700_000_000_000;
const KEY_STRIDE: u64 = 7_919;

pub struct Bare {
    connection: Connection,
    keys: u64,
    next: u64,
}

impl Bare {
    /// Opens a store that `kv init` has made, and fills it.
    pub fn fill(database: &Path, keys: u64) -> Bare {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut bare = Bare::open(database, flags, keys);
        while bare.next < keys {
            bare.put_batch(1_000);
        }
        bare
    }

    /// Opens a store of a daemon, to read it.
    pub fn reader(database: &Path, keys: u64) -> Bare {
        Bare::open(database, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX, keys)
    }

    fn open(database: &Path, flags: OpenFlags, keys: u64) -> Bare {
        let connection = Connection::open_with_flags(database, flags).unwrap();
        connection.pragma_update(None, "synchronous", "full").unwrap();
        let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2), "the promise of kv");
        connection.execute_batch("pragma trusted_schema = off; pragma cell_size_check = on").unwrap();
        Bare { connection, keys, next: 0 }
    }

    /// Puts per second, so many in each transaction.
    pub fn puts(&mut self, batch: usize, time: Duration) -> f64 {
        rate(time, || self.put_batch(batch))
    }

    /// Gets per second, so many in each snapshot.
    pub fn gets(&mut self, batch: usize, time: Duration) -> f64 {
        rate(time, || self.get_batch(batch))
    }

    /// The time of one page of records behind a key, in microseconds.
    pub fn page_us(&self, after: &str, limit: u64, time: Duration) -> f64 {
        self.rows_us(PAGE, after, limit, time)
    }

    /// The time of one page of the stream, in microseconds.
    pub fn stream_us(&self, seq: u64, limit: u64, time: Duration) -> f64 {
        self.rows_us(STREAM, seq as i64, limit, time)
    }

    fn rows_us(&self, text: &str, from: impl rusqlite::ToSql + Copy, limit: u64, time: Duration) -> f64 {
        let mut select = self.connection.prepare_cached(text).unwrap();
        let columns = select.column_count();
        1e6 / rate(time, || {
            let mut rows = select.query(params![from, limit as i64]).unwrap();
            let mut count = 0;
            while let Some(row) = rows.next().unwrap() {
                for index in 0..columns {
                    std::hint::black_box(row.get_ref(index).unwrap());
                }
                count += 1;
            }
            assert_eq!(count, limit);
            1
        })
    }

    fn put_batch(&mut self, batch: usize) -> usize {
        self.run("begin immediate");
        let mut head: i64 =
            self.connection.prepare_cached(HEAD).unwrap().query_row([], |row| row.get(0)).unwrap();
        let mut version = self.connection.prepare_cached(VERSION).unwrap();
        let mut insert_change = self.connection.prepare_cached(INSERT_CHANGE).unwrap();
        let mut upsert_record = self.connection.prepare_cached(UPSERT_RECORD).unwrap();
        let value = value();
        for number in self.next..self.next + batch as u64 {
            let key = key(number * KEY_STRIDE % self.keys);
            let mut rows = version.query([&key]).unwrap();
            let (before, created): (i64, i64) = match rows.next().unwrap() {
                Some(row) => (row.get(0).unwrap(), row.get(1).unwrap()),
                None => (0, NOW_MS),
            };
            drop(rows);
            let action = if before == 0 { "create" } else { "update" };
            let version = before + 1;
            head += 1;
            let change = params![head, head, action, NOW_MS, key, version, head, created, NOW_MS, value];
            insert_change.execute(change).unwrap();
            upsert_record.execute(params![key, version, head, created, NOW_MS, value]).unwrap();
        }
        drop((version, insert_change, upsert_record));
        self.connection.prepare_cached(UPDATE_META).unwrap().execute(params![head, NOW_MS]).unwrap();
        self.run("commit");
        self.next += batch as u64;
        batch
    }

    fn get_batch(&mut self, batch: usize) -> usize {
        self.run("begin");
        let head: i64 =
            self.connection.prepare_cached(HEAD).unwrap().query_row([], |row| row.get(0)).unwrap();
        std::hint::black_box(head);
        let mut record = self.connection.prepare_cached(RECORD).unwrap();
        for number in self.next..self.next + batch as u64 {
            let key = key(number * KEY_STRIDE % self.keys);
            let found = record.query_row([&key], |row| {
                for index in 0..6 {
                    std::hint::black_box(row.get_ref(index)?);
                }
                Ok(())
            });
            found.unwrap();
        }
        drop(record);
        self.run("commit");
        self.next += batch as u64;
        batch
    }

    fn run(&self, text: &str) {
        self.connection.prepare_cached(text).unwrap().execute([]).unwrap();
    }
}

/// How often per second something was done that answers how often it did it.
fn rate(time: Duration, mut operations: impl FnMut() -> usize) -> f64 {
    let begun = Instant::now();
    let mut count = 0;
    while begun.elapsed() < time {
        count += operations();
    }
    count as f64 / begun.elapsed().as_secs_f64()
}
