//! Damaged files: whatever stands in them, each call ends as an answer or as an error that says what to do.
//!
//! `FAULT_CASES=5000 cargo test --locked --release --test it faults` runs for long.

use std::path::Path;
use std::time::Duration;

use kv::store::{Clock, Code, Delete, Error, List, LocalStore, Mutation, Put, Selector, Store, Stream};

use crate::support::{Kv, Random, address, json, number_from_environment, runtime};

/// The database and its log.
#[derive(Clone)]
struct Files {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Files {
    fn read(directory: &Path) -> Files {
        Files {
            database: std::fs::read(directory.join("data.db")).unwrap(),
            log: std::fs::read(directory.join("data.db-wal")).unwrap_or_default(),
        }
    }

    /// The store in these files; the index of the log is made anew from it.
    fn open(&self, directory: &Path) -> LocalStore {
        let _ = std::fs::remove_file(directory.join("data.db-shm"));
        std::fs::write(directory.join("data.db"), &self.database).unwrap();
        std::fs::write(directory.join("data.db-wal"), &self.log).unwrap();
        LocalStore::open(&address(directory), Clock::System)
    }
}

/// A store with every kind of row, once closed and once with half of it in the log.
async fn samples(directory: &Path) -> [Files; 2] {
    let open = || LocalStore::open(&address(directory), Clock::System);
    let store = open();
    store.init().await.unwrap();
    fill(&store, "a").await;
    store.close().await;
    let closed = Files::read(directory);
    let store = open();
    fill(&store, "b").await;
    let with_log = Files::read(directory);
    store.close().await;
    assert!(closed.log.is_empty() && with_log.log.len() > 20_000);
    [closed, with_log]
}

async fn fill(store: &LocalStore, prefix: &str) {
    for number in 0..24 {
        let value = json(&format!("\"{}\"", "x".repeat(1 + number * number * 10)));
        let put = Put::new(format!("{prefix}/{number}"), value);
        store.put(if number % 3 == 0 { put.of_type("third") } else { put }).await.unwrap();
    }
    store.delete(Delete::keys([format!("{prefix}/7")])).await.unwrap();
    store.lock_acquire(prefix, "owner", Duration::from_secs(60)).await.unwrap();
}

/// Damages one place of one file.
fn damage(files: &mut Files, random: &mut Random) -> String {
    let name = if files.log.is_empty() || random.below(2) == 0 { "database" } else { "log" };
    let bytes = if name == "log" { &mut files.log } else { &mut files.database };
    let at = random.below(bytes.len());
    match random.below(6) {
        // Most of what SQLite trusts stands at the beginning of a page.
        0..=2 => {
            let at =
                if random.below(2) == 0 { at } else { (at / 4_096 * 4_096 + at % 128).min(bytes.len() - 1) };
            bytes[at] ^= 1 << random.below(8);
            format!("{name}: a bit of byte {at} flipped")
        }
        3 => {
            bytes.truncate(at);
            format!("{name}: cut off at {at}")
        }
        4 => {
            let page = at / 4_096 * 4_096;
            let end = bytes.len().min(page + 4_096);
            bytes[page..end].fill(0);
            format!("{name}: the page at {page} zeroed")
        }
        _ => {
            bytes.truncate(at);
            bytes.extend((0..8_192).map(|_| u8::try_from(random.below(256)).unwrap()));
            format!("{name}: random from {at} on")
        }
    }
}

/// Waits for a call no longer than a hung one should be waited for, and checks how it failed, if it did.
async fn told<T>(what: &str, call: impl Future<Output = Result<T, Error>>) -> Option<T> {
    let outcome = tokio::time::timeout(Duration::from_secs(5), call).await;
    match outcome.unwrap_or_else(|_| panic!("{what}: no answer in 5 s")) {
        Ok(answer) => Some(answer),
        // A call that panicked is `internal` or without a hint.
        Err(error) => {
            let expected =
                [Code::Unavailable, Code::Unsupported, Code::NotInitialized, Code::ReadOnly, Code::Busy];
            assert!(expected.contains(&error.code) && error.hint.is_some(), "{what}: {error:?}");
            None
        }
    }
}

/// Makes every kind of call, and answers how many failed.
async fn call_everything(what: &str, store: &LocalStore) -> usize {
    let typed = Selector::Type("third".to_owned());
    let keys = ["a/1", "a/7", "b/23", "none"];
    let put = |key: &str| Mutation::Put(Put::new(key, json("1")));
    let outcomes = [
        told(what, store.get("a/1")).await.is_some(),
        told(what, store.get("b/23")).await.is_some(),
        told(what, store.get_batch(&keys)).await.is_some(),
        told(what, store.list(0, None)).await.is_some(),
        told(what, store.page(List { reverse: true, ..List::default() })).await.is_some(),
        told(what, store.keys(List::default())).await.is_some(),
        told(what, store.get_type("third", 0, None)).await.is_some(),
        told(what, store.count()).await.is_some(),
        told(what, store.count_of(typed)).await.is_some(),
        told(what, store.stream(0, None)).await.is_some(),
        told(what, store.changes(Stream { prefix: Some("b".to_owned()), ..Stream::default() }))
            .await
            .is_some(),
        told(what, store.stream_seq()).await.is_some(),
        told(what, store.lock_list("")).await.is_some(),
        told(what, store.identity()).await.is_some(),
        told(what, store.put(Put::new("a/1", json("1")))).await.is_some(),
        told(what, store.mutate_all(vec![put("a/3"), put("c"), put("b/23")])).await.is_some(),
        told(what, store.delete_prefix("a/2", 0, None)).await.is_some(),
        told(what, store.stream(0, None)).await.is_some(),
    ];
    outcomes.iter().filter(|answered| !**answered).count()
}

#[test]
fn damaged_files_end_each_call_as_an_answer_or_as_an_error_that_says_what_to_do() {
    let cases = number_from_environment("FAULT_CASES", 200);
    let directory = tempfile::tempdir().unwrap();
    runtime().block_on(async {
        let samples = samples(directory.path()).await;
        let mut harmed = 0;
        for case in 0..cases {
            let mut random = Random(u64::from(case));
            let mut files = samples[random.below(2)].clone();
            let what = format!("case {case}, {}", damage(&mut files, &mut random));
            let store = files.open(directory.path());
            harmed += u32::from(call_everything(&what, &store).await > 0);
            store.close().await;
        }
        for sample in samples {
            let store = sample.open(directory.path());
            assert_eq!(call_everything("undamaged", &store).await, 0);
            store.close().await;
        }
        assert!(harmed > cases / 10, "{harmed} of {cases} cases had an effect: the damage is too light");
    });
}

#[test]
fn rows_that_kv_did_not_write_are_damage_and_the_hint_is_a_backup() {
    for (statement, command) in [
        ("update kv_meta set head = 0", "put b --value 1"),
        ("update kv_meta set head = -1", "stream seq"),
        ("delete from kv_meta", "get a"),
        ("delete from kv_meta", "put b --value 1"),
        ("drop table kv_record", "list"),
        ("drop table kv_lock", "lock status l"),
        ("update kv_record set version = 'x'", "get a"),
        ("update kv_record set version = 'x'", "put a --value 1"),
        ("update kv_record set value = '{'", "get a"),
        ("update kv_record set value = x'ff'", "list"),
        ("update kv_stream set action = 'x'", "stream get"),
        ("delete from kv_stream", "stream get"),
    ] {
        let kv = Kv::new();
        kv.ok(&format!("kv init; kv put a --value 1; kv daemon stop; sqlite3 data.db \"{statement}\""));
        let (code, stderr) = kv.fails(&format!("kv --daemon=never {command}"));
        assert!(code == 6 && stderr.contains("is damaged"), "{statement}: {code} {stderr}");
        assert!(stderr.contains("restore a backup"), "{statement}: {stderr}");
    }
}
