//! Damaged files: whatever stands in them, each call ends as an answer or as an error that says what to do.
//!
//! `FAULT_CASES=5000 cargo test --locked --release --test it faults` runs for long.

use std::path::Path;
use std::time::Duration;

use kv::Client;
use kv::store::{
    Clock, Code, ConsumerGet, Delete, Error, Filter, List, LocalStore, Mutation, NameList, Put, Request,
    Selector, Store, Stream, Write, WriteOperation,
};

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
    store.consumer_commit("c", 1).await.unwrap();
    store.call(once("once")).await.unwrap();
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
async fn call_everything(what: &str, store: &impl Store) -> usize {
    let typed = Selector::Type("third".to_owned());
    let keys = ["a/1", "a/7", "b/23", "none"];
    let put = |key: &str| Mutation::Put(Put::new(key, json("1")));
    let consumer = || ConsumerGet { name: "c".to_owned(), ..ConsumerGet::default() };
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
        told(what, store.changes(Stream { filter: Filter::prefix("b"), ..Stream::default() }))
            .await
            .is_some(),
        told(what, store.stream_seq()).await.is_some(),
        told(what, store.lock_list("")).await.is_some(),
        told(what, store.lock_status("a")).await.is_some(),
        told(what, store.consumer_status("c")).await.is_some(),
        told(what, store.consumers(NameList::default())).await.is_some(),
        told(what, store.consumer_get(consumer())).await.is_some(),
        told(what, store.consumer_get(ConsumerGet { name: "none".to_owned(), ..consumer() })).await.is_some(),
        told(what, store.identity()).await.is_some(),
        told(what, store.put(Put::new("a/1", json("1")))).await.is_some(),
        told(what, store.call(once("once"))).await.is_some(),
        told(what, store.lock_acquire("a", "owner", Duration::from_secs(60))).await.is_some(),
        told(what, store.consumer_commit("c", 2)).await.is_some(),
        told(what, store.mutate_all(vec![put("a/3"), put("c"), put("b/23")])).await.is_some(),
        told(what, store.delete_prefix("a/2", 0, None)).await.is_some(),
        told(what, store.stream(0, None)).await.is_some(),
    ];
    outcomes.iter().filter(|answered| !**answered).count()
}

/// A write that is applied once, whose outcome is kept.
fn once(id: &str) -> Request {
    let write = Write::from(WriteOperation::Apply(Mutation::Put(Put::new("once", json("1")))));
    Request::Write(Write { once: Some(id.to_owned()), ..write })
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
        ("update kv_meta set head = 1000", "put b --value 1"),
        ("update kv_meta set head = 9223372036854775807", "put b --value 1"),
        ("update kv_meta set first = 0", "consumer get c"),
        ("update kv_meta set first = 0", "consumer commit c 1"),
        ("update kv_meta set first = 3", "stream get"),
        ("update kv_meta set first = 9223372036854775807", "stream trim --all"),
        ("update kv_meta set last_ms = 9223372036854775807", "put b --value 1"),
        ("update kv_meta set fence = -1", "lock acquire l o"),
        ("insert into kv_lock values ('l', 'o', 7, 0, 0)", "lock acquire l o"),
        ("insert into kv_lock values ('l', 'o', 7, 0, 0)", "lock status l"),
        ("insert into kv_consumer (name, position) values ('c', 9)", "consumer status c"),
        ("insert into kv_consumer (name, position) values ('c', 9)", "consumer commit c 1"),
        ("insert into kv_consumer (name, position, holder) values ('c', 0, 'holder')", "consumer list"),
        ("update kv_record set revision = 2", "get a"),
        ("update kv_record set version = 9223372036854775807", "put a --value 1"),
        ("update kv_record set created = 9223372036854775807", "list"),
        ("update kv_stream set tx = 0", "stream get"),
        ("update kv_stream set tx_end = 2", "stream get"),
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

#[test]
fn a_damaged_outcome_of_a_write_that_is_applied_once_is_unknown() {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1 --once x; sqlite3 data.db \"update kv_once set outcome = '{'\"");
    let (code, stderr) = kv.fails("kv put a --value 1 --once x");
    assert!(code == 8 && stderr.contains("is damaged") && stderr.contains("read the key"), "{code} {stderr}");
}

/// Each number that kv keeps, with the table that it stands in. Some tables have a second row, to be damaged by itself.
const NUMBERS: &[(&str, &[&str])] = &[
    ("kv_meta", &["head", "first", "last_ms", "fence", "lock_seq"]),
    ("kv_record", &["version", "revision", "created", "updated", "expires"]),
    ("kv_stream", &["seq", "tx", "tx_end", "time", "version", "revision", "created", "updated", "expires"]),
    ("kv_lock", &["fence", "expires", "refreshes"]),
    ("kv_consumer", &["position", "expires"]),
    ("kv_once", &["time"]),
    ("kv_migration", &["number", "applied"]),
];

const EDGES: &[&str] = &[
    "null",
    "-9223372036854775808",
    "9223372036854775807",
    "9223372036854775806",
    "9007199254740991",
    "-1",
    "0",
    "1000",
    "'x'",
    "x'ff'",
    "1.5",
    "1e300",
];

/// All of them with `FAULT_CASES` of 400 and more; by default as many as a second or two has room for.
#[test]
fn a_number_at_any_edge_is_an_answer_or_damage_and_the_daemon_lives_on() {
    let cases = usize::try_from(number_from_environment("FAULT_CASES", 24)).unwrap();
    let kv = Kv::new();
    let fields: Vec<(&str, &str)> =
        NUMBERS.iter().flat_map(|(table, columns)| columns.iter().map(|column| (*table, *column))).collect();
    runtime().block_on(async {
        let store = LocalStore::open(&address(kv.directory.path()), Clock::System);
        store.init().await.unwrap();
        fill(&store, "a").await;
        fill(&store, "b").await;
        store.close().await;
        // A hostile file can hold null where kv forbids it.
        kv.ok("sqlite3 data.db \"pragma writable_schema = on; \
            update sqlite_schema set sql = replace(sql, ' not null', '') where type = 'table'\"
            cp data.db whole.db");
        let store = LocalStore::open(&address(kv.directory.path()), Clock::System);
        kv.ok("kv daemon start");
        let pid = kv.daemon_pid();
        let client = Client::connect(kv.ok("kv socket").trim().as_ref()).await.unwrap();
        let all = fields.len() * EDGES.len();
        // A step that has no divisor in common with the number of cases reaches all of them.
        let step = (all / cases.min(all)..).find(|step| is_coprime(*step, all)).unwrap();
        let mut harmed = 0;
        for case in 0..cases.min(all) {
            let (table, column) = fields[case * step % all / EDGES.len()];
            let edge = EDGES[case * step % all % EDGES.len()];
            let rows = if case.is_multiple_of(2) { "" } else { " where rowid = (select min(rowid) from t)" };
            let what = format!("{table}.{column} = {edge}{rows}");
            let rows = rows.replace("from t", &format!("from {table}"));
            // Where the number must be unique one row has it; where the table can hold only integers nothing is changed.
            let damaged =
                format!("sqlite3 data.db \"update or ignore {table} set {column} = {edge}{rows}\" || true");
            for through in ["process", "daemon"] {
                kv.ok(&format!("{} && {damaged}", restored()));
                let what = format!("{what}, {through}");
                harmed += match through {
                    "process" => call_everything(&what, &store).await,
                    _ => call_everything(&what, &client).await,
                };
            }
            assert_eq!(kv.daemons(), [pid], "{what}");
        }
        assert!(harmed > cases, "{harmed} calls failed: the damage is too light");
        kv.ok(&restored());
        assert_eq!(
            call_everything("undamaged", &store).await + call_everything("undamaged", &client).await,
            0
        );
        store.close().await;
    });
}

fn is_coprime(number: usize, other: usize) -> bool {
    if other == 0 { number == 1 } else { is_coprime(other, number % other) }
}

/// The command that makes every table what it was.
fn restored() -> String {
    let tables = NUMBERS.iter().map(|(table, _)| *table);
    let statements: String = tables
        .map(|table| format!("delete from {table}; insert into {table} select * from whole.{table};"))
        .collect();
    format!("sqlite3 data.db \"attach 'whole.db' as whole; begin immediate; {statements} commit;\"")
}
