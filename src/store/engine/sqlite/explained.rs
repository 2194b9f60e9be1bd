//! Tests of what each statement of the engine costs, by SQLite's query plans.

use std::time::Duration;

use rusqlite::Connection;

use super::{migrate, statement};
use crate::limits;
use crate::store::engine::migrations;
use crate::store::request::*;
use crate::store::{Address, Clock, EngineKind, JsonText, LocalStore, Start, Store as _};

fn json(text: &str) -> JsonText {
    JsonText::parse(text).unwrap()
}

/// One request of each kind, and of each form that its statements can take.
fn requests() -> Vec<Request> {
    let (name, owner) = ("n".to_owned(), "o".to_owned());
    let selectors = || {
        let range = Selector::Range { from: "a".to_owned(), to: "z".to_owned() };
        [Selector::All, Selector::Prefix("a".to_owned()), range, Selector::Type("T".to_owned())]
    };
    let once = |operation: WriteOperation| Write {
        operation,
        once: Some("i".to_owned()),
        fence: Some(Fence { lock: "n".to_owned(), token: 1 }),
    };
    let delete_part = Delete { offset: 1, limit: Some(2), ..Delete::prefix("a") };
    let mut writes: Vec<Write> = vec![
        WriteOperation::LockAcquire(LockAcquire {
            name: name.clone(),
            owner: owner.clone(),
            duration_ms: 1_000,
            fence: None,
        })
        .into(),
        once(WriteOperation::Apply(Mutation::Put(Put::new("a", json("{}")).of_type("T")))),
        Mutation::Put(Put::new("b", json("{}"))).into(),
        Mutation::Patch(Patch::merge("a", json("{}"))).into(),
        Mutation::Delete(Delete::keys(["b", "c"])).into(),
        WriteOperation::Mutate(vec![
            Mutation::Put(Put::new("m", json("1"))),
            Mutation::Delete(Delete::prefix("m")),
            Mutation::Delete(Delete::all()),
        ])
        .into(),
        Mutation::Put(Put::new("a", json("{}"))).into(),
        Mutation::Put(Put::new("ab", json("{}"))).into(),
        Mutation::Delete(delete_part).into(),
        Mutation::Delete(Delete::all()).into(),
        WriteOperation::Trim(Trim::UpTo(2)).into(),
        WriteOperation::ConsumerCommit(ConsumerCommit { name: name.clone(), seq: 3, holder: None }).into(),
        WriteOperation::ConsumerDelete { name: name.clone() }.into(),
        WriteOperation::LockRelease(LockRelease { name: name.clone(), owner, fence: None, refreshes: None })
            .into(),
    ];
    let mut requests: Vec<Request> = writes.drain(..).map(Request::Write).collect();
    let mut reads = vec![
        Read::Get { key: "a".to_owned() },
        Read::GetBatch { keys: vec!["a".to_owned(), "b".to_owned()] },
        Read::StreamSeq,
        Read::Identity,
        Read::LockStatus { name: name.clone() },
        Read::ConsumerStatus { name: name.clone() },
        Read::ConsumerGet(ConsumerGet { name, start: Some(Start::Now), ..ConsumerGet::default() }),
    ];
    for selector in selectors() {
        for (reverse, keys_only) in [(false, false), (true, false), (false, true), (true, true)] {
            let list = List { selector: selector.clone(), reverse, keys_only, ..List::default() };
            reads.push(Read::List(List { after: Some("b".to_owned()), ..list.clone() }));
            reads.push(Read::List(List { offset: 3, limit: Some(2), ..list }));
        }
        reads.push(Read::Count(selector));
    }
    for prefix in ["", "a"] {
        let prefix = prefix.to_owned();
        for after in [None, Some("b".to_owned())] {
            reads.push(Read::LockList(NameList { prefix: prefix.clone(), after: after.clone() }));
            reads.push(Read::ConsumerList(NameList { prefix: prefix.clone(), after }));
        }
        for record_type in [None, Some("T".to_owned())] {
            let prefix = Some(prefix.clone()).filter(|prefix| !prefix.is_empty());
            reads.push(Read::Stream(Stream { prefix, record_type, ..Stream::default() }));
        }
    }
    requests.extend(reads.into_iter().map(Request::Read));
    requests
}

/// The plans of these have no bound: they count all records, or list the changes that a delete has just appended to the
/// stream.
const IS_UNBOUNDED: &[&str] =
    &["select count(*) from kv_record", "(select \"key\" from kv_stream where seq >= ?)"];

/// Whether a scan is one of `kv_meta`, which has one row, of the arguments, or of the result of a part of the statement
/// that has a limit.
fn is_small(step: &str) -> bool {
    let what = step.trim_start_matches("SCAN ");
    ["kv_meta", "d", "CONSTANT ROW"].contains(&what)
        || what.starts_with('(')
        || what.starts_with("json_each ")
}

/// A statement that sorts, or looks through a table without a limit, is fast in every test and slow in every store.
#[tokio::test]
async fn no_statement_sorts_or_scans_without_a_bound() {
    let store = LocalStore::open(&Address::parse(EngineKind::Sqlite, ":memory:").unwrap(), Clock::System);
    store.init().await.unwrap();
    // More than a delete removes in one slice.
    let keys: Vec<String> =
        (0..2 * limits::DELETE_SLICE_RECORDS).map(|number| format!("a{number}")).collect();
    for keys in keys.chunks(limits::MUTATIONS_PER_REQUEST) {
        let puts = keys.iter().map(|key| Mutation::Put(Put::new(key, json("1")))).collect();
        store.mutate_all(puts).await.unwrap();
    }
    for request in requests() {
        // Some are refused after their statements have run.
        let _ = store.call(request).await;
    }
    let acquire = |owner: &str| LockAcquire {
        name: "n".to_owned(),
        owner: owner.to_owned(),
        duration_ms: 60_000,
        fence: None,
    };
    store.lock_acquire_within(acquire("a"), Duration::ZERO).await.unwrap();
    store.lock_acquire_within(acquire("b"), Duration::from_millis(100)).await.unwrap_err();
    store.close().await;

    let connection = Connection::open_in_memory().unwrap();
    let steps: Vec<_> = migrations::SQLITE.iter().collect();
    connection.execute_batch(migrations::SQLITE_TABLE).unwrap();
    migrate::run(&connection, &steps, 0).unwrap();
    let is_explained = |text: &&String| {
        // The schema is small, and has no index.
        !text.contains("sqlite_schema")
            && ["select", "insert", "update", "delete"].iter().any(|verb| text.starts_with(verb))
    };
    // They include the statements of other tests in this process.
    let statements = statement::tests::run();
    let mut explained = 0;
    for text in statements.iter().filter(is_explained) {
        let mut plan = connection.prepare(&format!("explain query plan {text}")).unwrap();
        let nulls = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        for step in &steps {
            let sorts = step.contains("TEMP B-TREE");
            let scans = step.starts_with("SCAN") && !is_small(step);
            let searches = step.starts_with("SEARCH") && step.contains(['<', '>']);
            let is_unbounded =
                searches && !text.contains("limit ") && !IS_UNBOUNDED.iter().any(|part| text.contains(part));
            let is_count = scans && IS_UNBOUNDED.iter().any(|part| text.starts_with(part));
            assert!(!sorts && (!scans || is_count) && !is_unbounded, "{step} in {text}\n{steps:#?}");
        }
        explained += 1;
    }
    assert!(explained > 40, "{explained} statements");
}
