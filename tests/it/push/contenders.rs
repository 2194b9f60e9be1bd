//! Holders of a lock that are paused for longer than they hold it: a stale write with a fence is never applied.
//!
//! `GRANTS=50000 cargo test --locked --release --test it push::contenders` is the long form.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use kv::Client;
use kv::store::{Clock, Code, Guarded, LocalStore, LockAcquire, Put, Store};

use super::socket;
use crate::support::{Kv, Random, address, json, number_from_environment, runtime};

/// Half of them through the daemon, half as another process on the same file would.
const CONTENDERS: u64 = 8;

#[derive(Default)]
struct Counts {
    grants: Cell<u32>,
    written: Cell<u64>,
    fenced: Cell<u32>,
}

async fn contend(store: Rc<dyn Store>, number: u64, grants: u32, counts: Rc<Counts>) {
    let mut random = Random(number);
    while counts.grants.get() < grants {
        let owner = format!("{number}/{}", random.0);
        let acquire = LockAcquire::new("counter", &owner, Duration::from_millis(50));
        let grant = store.lock_acquire_within(acquire, Duration::from_secs(60)).await.unwrap();
        counts.grants.set(counts.grants.get() + 1);
        let fenced = Guarded::new(&*store).fence("counter", grant.fence);
        let read: Option<u64> = store.get("count").await.unwrap().map(|record| record.value_as().unwrap());
        // Some holders are done at once, some sleep over their lease, and do not know it.
        let pause = [0, 0, 0, 0, 30, 60, 120][random.below(7)];
        tokio::time::sleep(Duration::from_millis(pause)).await;
        match fenced.put(Put::new("count", json(&(read.unwrap_or(0) + 1).to_string()))).await {
            Ok(_) => counts.written.set(counts.written.get() + 1),
            Err(error) if error.code == Code::Fenced => counts.fenced.set(counts.fenced.get() + 1),
            Err(error) => panic!("{error}"),
        }
        // A contender that has lost the lock has nothing to release.
        let _ = store.lock_release("counter", &owner).await;
    }
}

#[test]
fn a_stale_fenced_write_is_never_applied() {
    let grants = number_from_environment("GRANTS", 150);
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    runtime().block_on(tokio::task::LocalSet::new().run_until(async {
        let local: Rc<dyn Store> = Rc::new(LocalStore::open(&address(kv.directory.path()), Clock::System));
        let counts = Rc::new(Counts::default());
        let mut contenders = Vec::new();
        for number in 0..CONTENDERS {
            let store: Rc<dyn Store> = match number % 2 {
                0 => Rc::new(Client::connect(socket.as_ref()).await.unwrap()),
                _ => Rc::clone(&local),
            };
            contenders.push(tokio::task::spawn_local(contend(store, number, grants, Rc::clone(&counts))));
        }
        for contender in contenders {
            contender.await.unwrap();
        }
        // An increment that was computed from an old value would be missing in the sum.
        let count: u64 = local.get("count").await.unwrap().unwrap().value_as().unwrap();
        assert_eq!(count, counts.written.get());
        assert!(counts.fenced.get() > 0, "nobody slept over a lease");
    }));
}
