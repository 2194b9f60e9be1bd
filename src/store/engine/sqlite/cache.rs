//! A cache of the records that were read last.
//!
//! The cached records are valid for one head of the stream. Each read asks the database for its head in the same
//! snapshot, so a commit of any process is seen at once. When the head has grown, the stream itself tells which records
//! have changed.
//!
//! A record is kept when it is read the second time within a while. So a scan of a large store key by key costs no more
//! than without the cache, and evicts nothing.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

use rusqlite::Connection;

use super::statement::{Result, each_row};
use crate::limits;
use crate::store::engine::sql::{self, Value};
use crate::store::engine::{Point, SharedRecord};
use crate::store::position::Position;

/// Records of one open store as they are at one head of its stream.
#[derive(Default)]
pub(super) struct Cache {
    epoch: String,
    head: u64,
    records: HashMap<String, Arc<SharedRecord>>,
    bytes: usize,
    /// Keys that were read once: one part of the hash of a key is stored in the slot that another part of it gives.
    read_once: Vec<u32>,
    hasher: RandomState,
    /// Reads since the last [`Cache::age`]: those of a cached record, and those of a record for which there was no
    /// room.
    hits: u64,
    refusals: u64,
}

impl Cache {
    /// Updates the cache to a position that was read in the present transaction of the connection.
    pub(super) fn follow(&mut self, connection: &Connection, position: &Position) -> Result<()> {
        if self.head == position.head && self.epoch == position.epoch {
            return Ok(());
        }
        let changes = position.head.saturating_sub(self.head);
        let is_told = self.epoch == position.epoch
            && self.head <= position.head
            && position.first <= self.head + 1
            && changes <= limits::CACHE_CHANGES;
        if !is_told {
            self.clear();
        } else if !self.records.is_empty() {
            let changed = "select \"key\" from kv_stream where seq > ? order by seq limit ?";
            let values = [Value::count(self.head), Value::count(changes)];
            let mut told = 0;
            let forgotten = each_row(connection, changed, &values, |row| {
                if let Some(record) = self.records.remove(&sql::key(row)?) {
                    self.bytes -= weight_bytes(&record);
                }
                told += 1;
                Ok(true)
            });
            if forgotten.is_err() || told != changes {
                self.clear();
            }
            forgotten?;
        }
        self.head = position.head;
        if self.epoch != position.epoch {
            self.epoch.clone_from(&position.epoch);
        }
        Ok(())
    }

    /// The record of this key, if it is cached.
    pub(super) fn get(&mut self, key: &str) -> Option<Point> {
        let record = self.records.get(key)?;
        self.hits += 1;
        Some(Point::Record(Arc::clone(record)))
    }

    /// Caches a record that was read at the head, if it was read before and there is room.
    pub(super) fn keep(&mut self, record: &Arc<SharedRecord>) {
        if self.read_once.is_empty() {
            self.read_once = vec![0; limits::CACHE_READ_ONCE];
        }
        let hash = self.hasher.hash_one(&record.record.key);
        let (place, mark) = (hash as usize % limits::CACHE_READ_ONCE, (hash >> 32) as u32);
        if std::mem::replace(&mut self.read_once[place], mark) != mark {
            return;
        }
        if self.bytes > limits::CACHE_BYTES {
            self.refusals += 1;
            return;
        }
        self.bytes += weight_bytes(record);
        self.records.insert(record.record.key.clone(), Arc::clone(record));
    }

    /// Clears the cache unless, since the last call, more reads were of cached records than of records for which there was
    /// no room. To be called from time to time.
    pub(super) fn age(&mut self) {
        let (hits, refusals) = (std::mem::take(&mut self.hits), std::mem::take(&mut self.refusals));
        if hits <= refusals {
            self.clear();
        }
    }

    fn clear(&mut self) {
        (self.records, self.bytes) = (HashMap::new(), 0);
        self.read_once = Vec::new();
    }
}

/// The bytes that a record counts for, with the line that is made of it.
fn weight_bytes(SharedRecord { record, .. }: &SharedRecord) -> usize {
    2 * (record.key.len() + record.value.get().len()) + limits::CACHED_RECORD_BYTES
}

#[cfg(test)]
mod tests {
    use crate::store::{
        Address, Clock, Delete, EngineKind, JsonText, LocalStore, Mutation, Put, Store, Trim,
    };

    /// A second store on the same file counts as another process.
    #[tokio::test]
    async fn a_commit_of_another_process_is_seen_by_the_next_read_whatever_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("data.db").display().to_string();
        let open = || LocalStore::open(&Address::parse(EngineKind::Sqlite, &path).unwrap(), Clock::System);
        let (reader, other) = (open(), open());
        other.init().await.unwrap();
        let put = |key: &str, value: u64| Put::new(key, JsonText::of(&value).unwrap());
        for value in 0..200 {
            other.put(put("a", value)).await.unwrap();
            // Read once, read again, and cached.
            for _ in 0..4 {
                let record = reader.get("a").await.unwrap().unwrap();
                assert_eq!((record.value.get(), record.version), (value.to_string().as_str(), value + 1));
            }
        }
        // More changes than are followed; the one that matters is not the last.
        let many = |first: u64| {
            let puts =
                (first..first + 1_000).map(move |number| Mutation::Put(put(&format!("b/{number}"), 1)));
            puts.collect::<Vec<_>>()
        };
        other.put(put("a", 1_000)).await.unwrap();
        for first in 0..5 {
            other.mutate_all(many(first * 1_000)).await.unwrap();
        }
        assert_eq!(reader.get("a").await.unwrap().unwrap().value.get(), "1000");
        for _ in 0..3 {
            reader.get("a").await.unwrap().unwrap();
        }
        // The change that tells of it is trimmed before the cache follows.
        other.put(put("a", 1_001)).await.unwrap();
        other.put(put("b", 1)).await.unwrap();
        other.stream_trim(Trim::All).await.unwrap();
        assert_eq!(reader.get("a").await.unwrap().unwrap().value.get(), "1001");
        for _ in 0..3 {
            reader.get("a").await.unwrap().unwrap();
        }
        other.delete(Delete::keys(["a"])).await.unwrap();
        assert_eq!(reader.get("a").await.unwrap(), None);
        other.put(put("a", 7)).await.unwrap();
        assert_eq!(reader.get("a").await.unwrap().unwrap().version, 1);
        reader.close().await;
        other.close().await;
    }
}
