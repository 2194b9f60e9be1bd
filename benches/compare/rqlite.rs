//! The daemon on rqlite against single requests, each with one put or get, to the same three nodes.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Place;
use crate::daemon::Daemon;
use crate::load::Load;
use crate::options::Scale;
use crate::report::Report;
use crate::versus::{self, Bounded};
use crate::wire::{Operation, VALUE_BYTES};

const KEYS: u64 = 10_000;

/// The loads, and the least ratios to single requests.
const LOADS: [Bounded; 3] = [
    (Load::ONE, None, None),
    (Load { clients: 64, pipelined: 1 }, Some(3.0), Some(4.0)),
    (Load { clients: 64, pipelined: 16 }, Some(8.0), Some(4.0)),
];

/// Nodes that end with this value.
struct Nodes {
    child: Child,
    url: String,
}

impl Nodes {
    fn start() -> Nodes {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/rqlite");
        let directory = std::env::temp_dir().join(format!("kv-bench-rqlite-{}", std::process::id()));
        let mut run = Command::new(script);
        run.arg("run").arg(directory).arg("3").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = run.spawn().expect(script);
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        assert!(!url.is_empty(), "rqlite did not start: {script} install builds it");
        Nodes { child, url: url.trim().to_owned() }
    }

    /// The addresses of the nodes.
    fn addresses(&self) -> Vec<&str> {
        self.url.trim_start_matches("http://").split(',').collect()
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A connection that is kept.
struct Connection(tokio::io::BufReader<TcpStream>);

impl Connection {
    async fn open(address: &str) -> Connection {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Connection(tokio::io::BufReader::new(stream))
    }

    /// Sends a request, and answers the body.
    async fn post(&mut self, target: &str, body: &str) -> String {
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: rqlite\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).await.unwrap();
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            self.0.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(!body.contains("error"), "{body}");
        body
    }
}

/// A put with its change of the stream, as one request.
fn put(key: &str, value: &str) -> String {
    let value = serde_json::to_string(value).unwrap();
    format!(
        r#"["update plain_meta set head = head + 1",
        ["insert into plain_record select ?, 1, head, 0, 0, ? from plain_meta where true on conflict (key) do update set
            version = plain_record.version + 1, revision = excluded.revision, value = excluded.value", "{key}", {value}],
        ["insert into plain_stream select revision, 'update', 0, key, version, value from plain_record where key = ?",
            "{key}"]]"#
    )
    .replace('\n', " ")
}

const TABLES: &str = r#"["create table plain_meta (head integer)", "insert into plain_meta values (0)",
    "create table plain_record (key text primary key, version integer, revision integer, created integer, updated integer, value text)",
    "create table plain_stream (seq integer primary key, action text, time integer, key text, version integer, value text)"]"#;

fn get(key: &str) -> String {
    format!(
        r#"[["select version, revision, created, updated, value from plain_record where key = ?", "{key}"]]"#
    )
}

const EXECUTE: &str = "/db/execute?transaction";
const QUERY: &str = "/db/query?level=linearizable";

/// Where single requests are sent: to the leader, which carries them out itself.
async fn leader(nodes: &Nodes) -> &str {
    for address in nodes.addresses() {
        let mut connection = Connection::open(address).await;
        connection.post("/db/query?level=linearizable", r#"["select 1"]"#).await;
        let request =
            "GET /status?key=store.raft.state HTTP/1.1\r\nHost: rqlite\r\nConnection: close\r\n\r\n";
        let mut status = TcpStream::connect(address).await.unwrap();
        status.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        status.read_to_string(&mut answer).await.unwrap();
        if answer.contains("Leader") {
            return address;
        }
    }
    panic!("the nodes have no leader");
}

/// Fills the plain tables.
async fn fill(address: &str) {
    let mut connection = Connection::open(address).await;
    connection.post(EXECUTE, &TABLES.replace('\n', " ")).await;
    for key in 0..KEYS / 100 {
        let rows: Vec<String> = (key * 100..(key + 1) * 100)
            .map(|key| format!("('{}', 1, 1, 0, 0, '{}')", key_of(key), value()))
            .collect();
        let insert = format!("insert into plain_record values {}", rows.join(", "));
        connection.post(EXECUTE, &serde_json::to_string(&[insert]).unwrap()).await;
    }
}

/// Single requests per second over so many connections.
fn single(address: &str, operation: Operation, connections: usize, time: Duration) -> f64 {
    let done = AtomicU64::new(0);
    let begun = runtime().block_on(async {
        let mut open = Vec::new();
        for _ in 0..connections {
            open.push(Connection::open(address).await);
        }
        let begun = Instant::now();
        let loops = open.into_iter().enumerate().map(|(index, connection)| {
            repeat(connection, operation, index as u64 * 104_729, begun + time, &done)
        });
        futures_util::future::join_all(loops).await;
        begun
    });
    done.load(Ordering::SeqCst) as f64 / begun.elapsed().as_secs_f64()
}

async fn repeat(
    mut connection: Connection,
    operation: Operation,
    mut number: u64,
    end: Instant,
    done: &AtomicU64,
) {
    let value = value();
    while Instant::now() < end {
        number = (number + 7_919) % KEYS;
        let key = key_of(number);
        match operation {
            Operation::Put => connection.post(EXECUTE, &put(&key, &value)).await,
            Operation::Get => connection.post(QUERY, &get(&key)).await,
        };
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
    let nodes = Nodes::start();
    let address = runtime().block_on(async {
        let address = leader(&nodes).await;
        fill(address).await;
        address
    });
    let store = [("KV_TYPE", "rqlite".to_owned()), ("KV_CONNECTION", nodes.url.clone())];
    let daemon = Daemon::start_on(place, "rqlite", &store, KEYS);
    let rows = versus::rows(&daemon.socket, KEYS, &LOADS, scale, |operation, load| {
        single(address, operation, load.clients, scale.slice)
    });
    report.table(
        "rqlite",
        "On three nodes of rqlite: operations per second by clients (x requests sent at once), against single requests to \
         /db/execute and /db/query over as many connections",
        &rows,
    );
}
