use std::sync::Arc;

use kv::store::{Clock, Code, LocalStore, Put, Store};

use crate::support::{World, address, json, runtime};

cases! {
    a_second_init_creates_nothing_and_loses_nothing,
    the_identity_stays_the_same,
}

async fn a_second_init_creates_nothing_and_loses_nothing(world: &World) {
    world.store.put(Put::new("a", json("1"))).await.unwrap();
    assert!(!world.store.init().await.unwrap());
    assert!(world.store.get("a").await.unwrap().is_some());
}

async fn the_identity_stays_the_same(world: &World) {
    let identity = world.store.identity().await.unwrap();
    assert_eq!((identity.store_id.len(), identity.epoch.len()), (32, 32));
    assert_ne!(identity.store_id, identity.epoch);
    world.store.init().await.unwrap();
    assert_eq!(world.store.identity().await.unwrap(), identity);
}

#[test]
fn before_init_every_operation_says_so_and_creates_nothing() {
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let store = LocalStore::open(&address(directory.path()), Clock::System);
        let failures = [
            store.get("a").await.unwrap_err(),
            store.list(0, None).await.unwrap_err(),
            store.put(Put::new("a", json("1"))).await.unwrap_err(),
            store.stream(0, None).await.unwrap_err(),
            store.stream_seq().await.unwrap_err(),
        ];
        for error in failures {
            assert_eq!(error.code, Code::NotInitialized);
            assert!(error.hint.unwrap().contains("kv init"));
            assert!(!error.maybe);
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    });
}

#[test]
fn of_stores_that_init_at_once_one_says_created_and_all_work() {
    for _ in 0..10 {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let inits: Vec<_> = (0..4)
            .map(|_| {
                let directory = Arc::clone(&directory);
                std::thread::spawn(move || {
                    runtime().block_on(async {
                        let store = LocalStore::open(&address(directory.path()), Clock::System);
                        let created = store.init().await.unwrap();
                        store.put(Put::new("a", json("1"))).await.unwrap();
                        created
                    })
                })
            })
            .collect();
        let created: Vec<bool> = inits.into_iter().map(|init| init.join().unwrap()).collect();
        assert_eq!(created.iter().filter(|&&created| created).count(), 1);
    }
}
