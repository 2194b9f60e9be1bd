//! The daemon on PostgreSQL against single statements over a plain pool of connections, on the same server.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls, Statement};

use crate::Place;
use crate::daemon::Daemon;
use crate::load::Load;
use crate::options::Scale;
use crate::report::Report;
use crate::versus::{self, Bounded};
use crate::wire::{Operation, VALUE_BYTES};

const KEYS: u64 = 10_000;

/// How many connections a pool has.
const POOL: usize = 16;

/// The loads, and the least ratios to the pool.
const LOADS: [Bounded; 3] = [
    (Load::ONE, None, None),
    (Load { clients: 64, pipelined: 1 }, Some(6.0), None),
    (Load { clients: 64, pipelined: 16 }, None, None),
];

/// A put with its change of the stream, by one statement.
const PUT: &str = "with meta as (update plain.kv_meta set head = head + 1 returning head),
    put as (
        insert into plain.kv_record (\"key\", version, revision, created, updated, value)
        select $1, 1, head, 0, 0, $2::text::json from meta
        on conflict (\"key\") do update set version = plain.kv_record.version + 1, revision = excluded.revision,
            updated = excluded.updated, value = excluded.value
        returning \"key\", version, revision, created, updated, value)
    insert into plain.kv_stream (seq, tx, tx_end, action, time, \"key\", version, revision, created, updated, value)
    select revision, revision, 1, 'update', 0, \"key\", version, revision, created, updated, value from put";

const GET: &str =
    "select version, revision, type, created, updated, value::text from plain.kv_record where \"key\" = $1";

/// A server that ends with this value.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start() -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/postgres");
        let directory = std::env::temp_dir().join(format!("kv-bench-{}", std::process::id()));
        let mut run = Command::new(script);
        run.arg("run").arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().expect(script);
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "PostgreSQL did not start: {script} install brings it");
        Server { child, url: url.trim().to_owned() }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A database of the server.
fn database(server: &Server, name: &str) -> String {
    let runtime = runtime();
    runtime.block_on(async {
        let client = connect(&server.url).await;
        client.batch_execute(&format!("create database {name} template template0")).await.unwrap();
    });
    server.url.replace("/postgres?", &format!("/{name}?"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Connections that each run one statement after the other.
struct Pool {
    url: String,
}

impl Pool {
    /// The tables of kv in a schema of their own, with so many keys.
    fn fill(url: String, keys: u64) -> Pool {
        let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations/postgres");
        let mut files: Vec<_> =
            std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        runtime().block_on(async {
            let client = connect(&url).await;
            client.batch_execute("create schema plain; set search_path = plain").await.unwrap();
            for file in files {
                client.batch_execute(&std::fs::read_to_string(file).unwrap()).await.unwrap();
            }
            let meta = "insert into kv_meta (one, store_id, epoch, head, first, last_ms) values (1, '', '', 0, 1, 0)";
            client.batch_execute(meta).await.unwrap();
            let put = client.prepare(PUT).await.unwrap();
            client.batch_execute("set synchronous_commit = off").await.unwrap();
            for key in 0..keys {
                client.execute(&put, &[&key_of(key), &value()]).await.unwrap();
            }
        });
        Pool { url }
    }

    /// Statements per second over so many connections.
    fn run(&self, operation: Operation, connections: usize, time: Duration) -> f64 {
        let done = AtomicU64::new(0);
        let begun = runtime().block_on(async {
            let mut clients = Vec::new();
            for _ in 0..connections {
                let client = connect(&self.url).await;
                let text = if operation == Operation::Put { PUT } else { GET };
                let statement = client.prepare(text).await.unwrap();
                clients.push((client, statement));
            }
            let begun = Instant::now();
            let loops = clients.iter().enumerate().map(|(index, (client, statement))| {
                repeat(client, statement, operation, index as u64 * 104_729, begun + time, &done)
            });
            futures_util::future::join_all(loops).await;
            begun
        });
        done.load(Ordering::SeqCst) as f64 / begun.elapsed().as_secs_f64()
    }
}

async fn repeat(
    client: &Client,
    statement: &Statement,
    operation: Operation,
    mut number: u64,
    end: Instant,
    done: &AtomicU64,
) {
    let value = value();
    while Instant::now() < end {
        number = (number + 7_919) % KEYS;
        match operation {
            Operation::Put => drop(client.execute(statement, &[&key_of(number), &value]).await.unwrap()),
            Operation::Get => drop(client.query_one(statement, &[&key_of(number)]).await.unwrap()),
        }
        done.fetch_add(1, Ordering::Relaxed);
    }
}

fn key_of(number: u64) -> String {
    format!("key/{number:08}")
}

fn value() -> String {
    format!("\"{}\"", "v".repeat(VALUE_BYTES))
}

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let server = Server::start();
    let pool = Pool::fill(database(&server, "plain"), KEYS);
    let store = [("KV_TYPE", "postgres".to_owned()), ("KV_CONNECTION", database(&server, "kv"))];
    let daemon = Daemon::start_on(place, "postgres", &store, KEYS);
    let rows = versus::rows(&daemon.socket, KEYS, &LOADS, scale, |operation, load| {
        pool.run(operation, load.clients.min(POOL), scale.slice)
    });
    report.table(
        "postgres",
        "On PostgreSQL: operations per second by clients (x requests sent at once), against single statements over as many \
         connections, at most 16",
        &rows,
    );
}
