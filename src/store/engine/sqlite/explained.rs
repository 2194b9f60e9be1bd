//! Tests of what each statement of the engine costs, by SQLite's query plans.

use std::collections::BTreeSet;

use rusqlite::Connection;

use super::{migrate, statement};
use crate::store::engine::explained::run_every_statement;
use crate::store::engine::migrations;
use crate::store::{Address, Clock, EngineKind, LocalStore};

/// The plans of these have no bound: they count all records and those that have expired, or list the changes that a delete has just appended to the
/// stream.
const IS_UNBOUNDED: &[&str] =
    &["select (select count(*) from kv_record", "(select \"key\" from kv_stream where seq >= ?)"];

/// These sort rows that have a bound: those of a page, and those of the keys of a batch.
const IS_SORTED: &[&str] = &[") p join kv_", "json_each(?)) u join kv_record"];

/// Whether a scan is one of `kv_meta`, which has one row, or of the few steps of the schema, of the arguments, or of the
/// result of a part of the statement that has a limit.
fn is_small(step: &str) -> bool {
    let what = step.trim_start_matches("SCAN ");
    ["kv_meta", "kv_migration", "b", "c", "d", "n", "p", "v", "CONSTANT ROW"].contains(&what)
        || what.starts_with('(')
        || what.starts_with("json_each ")
}

/// Asserts that none of these statements sorts, or looks through a table, without a bound. `fill` is run on the tables first.
/// Answers how many were looked at.
pub(in crate::store::engine) fn assert_bounded(statements: &BTreeSet<String>, fill: &str) -> usize {
    let connection = Connection::open_in_memory().unwrap();
    let steps: Vec<_> = migrations::SQLITE.iter().collect();
    connection.execute_batch(migrations::SQLITE_TABLE).unwrap();
    migrate::run(&connection, &steps, 0).unwrap();
    connection.execute_batch(fill).unwrap();
    let is_explained = |text: &&String| {
        // The schema is small, and has no index.
        !text.contains("sqlite_schema")
            && ["select", "insert", "update", "delete"].iter().any(|verb| text.starts_with(verb))
    };
    let (mut explained, mut found) = (0, Vec::new());
    for text in statements.iter().filter(is_explained) {
        let mut plan = connection.prepare(&format!("explain query plan {text}")).unwrap();
        let nulls = vec![rusqlite::types::Null; plan.parameter_count()];
        let steps = plan.query_map(rusqlite::params_from_iter(nulls), |row| row.get(3)).unwrap();
        let steps: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        for step in &steps {
            let sorts = step.contains("TEMP B-TREE") && !IS_SORTED.iter().any(|part| text.contains(part));
            let scans = step.starts_with("SCAN") && !is_small(step);
            let searches = step.starts_with("SEARCH") && step.contains(['<', '>']);
            let is_unbounded =
                searches && !text.contains("limit ") && !IS_UNBOUNDED.iter().any(|part| text.contains(part));
            let is_count = scans && IS_UNBOUNDED.iter().any(|part| text.starts_with(part));
            if sorts || (scans && !is_count) || is_unbounded {
                found.push(format!("{step} in {text}\n{steps:#?}"));
            }
        }
        explained += 1;
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    explained
}

/// A statement that sorts, or looks through a table without a limit, is fast in every test and slow in every store.
#[tokio::test]
async fn no_statement_sorts_or_scans_without_a_bound() {
    let store = LocalStore::open(&Address::parse(EngineKind::Sqlite, ":memory:").unwrap(), Clock::System);
    run_every_statement(&store).await;
    store.close().await;
    // They include the statements of other tests in this process.
    let explained = assert_bounded(&statement::tests::run(), "");
    assert!(explained > 40, "{explained} statements");
}
