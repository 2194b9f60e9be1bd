//! What each statement of the engine costs, as PostgreSQL plans it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tokio_postgres::{Client, NoTls};

use super::statement::tests::prepared;
use crate::store::engine::explained::run_every_statement;
use crate::store::{Address, Clock, EngineKind, LocalStore};

/// A database of its own on a server of the tests, which goes with this.
struct Server {
    /// Ends when its standard input is closed.
    process: Option<Child>,
    url: String,
}

impl Server {
    /// None when the tests of PostgreSQL are to be skipped.
    fn start() -> Option<Server> {
        if std::env::var_os("KV_TEST_POSTGRES").is_some() {
            return None;
        }
        if let Ok(url) = std::env::var("KV_TEST_POSTGRES_URL") {
            return Some(Server { process: None, url });
        }
        let directory = std::env::temp_dir().join(format!("kv-postgres-{}", uuid::Uuid::new_v4().simple()));
        let mut process = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/postgres"))
            .arg("run")
            .arg(directory)
            .env("KV_TEST_POSTGRES_FSYNC", "off")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "PostgreSQL did not start, and said why on standard error");
        Some(Server { process: Some(process), url: url.trim_end().to_owned() })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            drop(process.stdin.take());
            let _ = process.wait();
        }
    }
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Tables as a store in use has them.
const FILL: &str = "
    set search_path = kv;
    delete from kv_record; delete from kv_stream; delete from kv_lock; delete from kv_consumer; delete from kv_once;
    insert into kv_record select 'k' || i, 1, i, case when i % 3 > 0 then 'type' || i % 7 end, 0, 0, case when i % 5 = 0 then i end, '{}'
        from generate_series(1, 20000) i;
    insert into kv_stream select i, i, 1, 'create', 0, 'k' || i, 1, i, null, 0, 0, '{}' from generate_series(1, 20000) i;
    insert into kv_lock (name, owner, fence, expires) select 'l' || i, 'o', i, 0 from generate_series(1, 20000) i;
    insert into kv_consumer select 'c' || i, i from generate_series(1, 20000) i;
    insert into kv_once select 'o' || i, '', '', i from generate_series(1, 20000) i;
    insert into kv_batch select 'b' || i, i from generate_series(1, 20000) i;
    analyze;
    set plan_cache_mode = force_generic_plan";

/// What is asked for has no bound in these: how many records there are.
const COUNTS: &str = "select (select count(*) from kv_record";

/// Whether a node of a plan, or one below it, limits how many rows it gives.
fn is_bounded(node: &Value) -> bool {
    node["Node Type"] == "Limit" || children(node).any(is_bounded)
}

fn children(node: &Value) -> impl Iterator<Item = &Value> {
    node["Plans"].as_array().into_iter().flatten()
}

/// What is wrong with a node, or one below it.
fn faults(node: &Value, faults: &mut Vec<String>) {
    let kind = node["Node Type"].as_str().unwrap();
    let table = node["Relation Name"].as_str().unwrap_or_default();
    if kind == "Seq Scan" && !["kv_meta", "kv_migration"].contains(&table) {
        faults.push(format!("a scan of {table}"));
    }
    if kind.ends_with("Sort") && !children(node).all(is_bounded) {
        faults.push(format!("a sort by {}", node["Sort Key"]));
    }
    children(node).for_each(|node| self::faults(node, faults));
}

/// A statement that sorts, or looks through a table without a limit, is fast in every test and slow in every store.
#[tokio::test(flavor = "multi_thread")]
async fn no_statement_sorts_or_scans_without_a_bound() {
    let Some(server) = Server::start() else {
        let _ = writeln!(std::io::stderr(), "SKIPPED for want of PostgreSQL: the plans of its statements");
        return;
    };
    let creator = connect(&server.url).await;
    let name = format!("kv_test_{}", uuid::Uuid::new_v4().simple());
    creator.batch_execute(&format!("create database {name} template template0")).await.unwrap();
    let url = server.url.replacen("/postgres?", &format!("/{name}?"), 1);
    let address = Address::parse(EngineKind::Postgres, &url).unwrap();
    let store = LocalStore::open(&address, Clock::System);
    run_every_statement(&store).await;
    store.close().await;

    let client = connect(&url).await;
    client.batch_execute(FILL).await.unwrap();
    let (mut explained, mut found) = (0, Vec::new());
    for text in prepared() {
        let count = text.matches('$').count();
        let arguments =
            if count == 0 { String::new() } else { format!("({})", vec!["null"; count].join(", ")) };
        client.batch_execute(&format!("prepare kv_explained as {text}")).await.unwrap();
        let plan =
            client.simple_query(&format!("explain (format json) execute kv_explained{arguments}")).await;
        let plan: String = plan
            .unwrap()
            .iter()
            .filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            })
            .collect();
        client.batch_execute("deallocate kv_explained").await.unwrap();
        let plan: Value = serde_json::from_str(&plan).unwrap();
        let mut faults = Vec::new();
        self::faults(&plan[0]["Plan"], &mut faults);
        let is_count = text.starts_with(COUNTS) && faults == ["a scan of kv_record"];
        if !faults.is_empty() && !is_count {
            found.push(format!("{}\n    in {text}\n{plan:#}", faults.join(", ")));
        }
        explained += 1;
    }
    drop(client);
    creator.batch_execute(&format!("drop database {name} with (force)")).await.unwrap();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(explained > 40, "{explained} statements");
}
