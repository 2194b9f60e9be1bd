//! The store in this process, as a program uses the library without a daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::store::{Address, Clock, EngineKind, JsonText, LocalStore, Mutation, Put, Store as _};
use tokio::runtime::{Builder, Runtime};

use crate::wire::{key, value};

/// Far from each other and from any round number, so that the callers put different keys.
const CALLER_STRIDE: u64 = 104_729;

pub struct InProcess {
    runtime: Runtime,
    store: Option<LocalStore>,
    keys: u64,
}

impl InProcess {
    /// Makes a store at this path and fills it.
    pub fn fill(database: &Path, keys: u64) -> InProcess {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let address = Address::parse(EngineKind::Sqlite, database.to_str().unwrap()).unwrap();
        let store = runtime.block_on(async {
            let store = LocalStore::open(&address, Clock::System);
            store.init().await.unwrap();
            for first in (0..keys).step_by(1_000) {
                let puts = (first..keys.min(first + 1_000)).map(|number| Mutation::Put(put(number)));
                store.mutate_all(puts.collect()).await.unwrap();
            }
            store
        });
        InProcess { runtime, store: Some(store), keys }
    }

    /// Puts per second of so many callers, each of which waits for its answer.
    pub fn puts(&self, callers: usize, time: Duration) -> f64 {
        let store = self.store.as_ref().unwrap();
        let begun = Instant::now();
        let caller = async |index: u64| {
            let mut count = 0;
            while begun.elapsed() < time {
                store.put(put((index * CALLER_STRIDE + count) % self.keys)).await.unwrap();
                count += 1;
            }
            count
        };
        let counts = self.runtime.block_on(join_all((0..callers as u64).map(caller)));
        counts.iter().sum::<u64>() as f64 / begun.elapsed().as_secs_f64()
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        if let Some(store) = self.store.take() {
            self.runtime.block_on(store.close());
        }
    }
}

fn put(number: u64) -> Put {
    Put::new(key(number), JsonText::parse(&value()).unwrap())
}
