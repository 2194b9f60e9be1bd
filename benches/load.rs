//! A load generator: clients put and get through the real daemon, each waiting for its reply, or with 16 requests in
//! flight; and whole commands, warm and cold.

#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use kv::Client;
use kv::store::{JsonText, Put, Store};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

const KEYS: u64 = 10_000;
const SECONDS: u64 = 3;

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let kv = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kv"));
        command
            .current_dir(directory.path())
            .arg("--socket")
            .arg(directory.path().join("kv.sock"))
            .args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    assert!(kv(&["init"]).status().unwrap().success());
    let socket = directory.path().join("kv.sock");
    println!("{:<34}{:>10}{:>12}{:>12}{:>12}", "through the daemon", "per s", "p50 us", "p99 us", "p99.9 us");
    for (clients, pipelined) in [(1, 1), (64, 1), (64, 16)] {
        for is_put in [true, false] {
            let name = format!("{} {clients} clients x {pipelined}", if is_put { "put" } else { "get" });
            report(&name, SECONDS as f64, &load(&socket, clients, pipelined, is_put));
        }
    }

    println!(
        "\n{:<34}{:>10}{:>12}{:>12}{:>12}",
        "pushed, behind the put's reply", "per s", "p50 us", "p99 us", "p99.9 us"
    );
    for subscribers in [1, 1_000] {
        let (seconds, times) = pushes(&socket, subscribers);
        report(&format!("{subscribers} subscribers"), seconds, &times);
    }

    println!("\n{:<34}{:>10}{:>12}{:>12}{:>12}", "whole commands", "per s", "p50 us", "p99 us", "p99.9 us");
    kv(&["put", "warm", "--value", "1"]).status().unwrap();
    let (seconds, times) = commands(200, || (), || kv(&["get", "key", "warm"]));
    report("kv get key, warm", seconds, &times);
    let stop = || assert!(kv(&["daemon", "stop"]).status().unwrap().success());
    let (seconds, times) = commands(20, stop, || kv(&["get", "key", "warm"]));
    report("kv get key, starts the daemon", seconds, &times);
    stop();
}

fn load(socket: &Path, clients: u64, pipelined: u64, is_put: bool) -> Histogram<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let deadline = Instant::now() + Duration::from_secs(SECONDS);
        let mut workers = Vec::new();
        for client in 0..clients {
            let connection = std::sync::Arc::new(Client::connect(socket).await.unwrap());
            for lane in 0..pipelined {
                let connection = std::sync::Arc::clone(&connection);
                workers.push(tokio::spawn(work(
                    connection,
                    client * 7_919 + lane * 104_729,
                    deadline,
                    is_put,
                )));
            }
        }
        let mut all = Histogram::new(3).unwrap();
        for worker in workers {
            all.add(worker.await.unwrap()).unwrap();
        }
        all
    })
}

async fn work(
    store: impl std::ops::Deref<Target = Client>,
    seed: u64,
    deadline: Instant,
    is_put: bool,
) -> Histogram<u64> {
    let value =
        JsonText::parse(r#"{"name":"Alice","email":"alice@example.com","age":30,"tags":["a","b"]}"#).unwrap();
    let mut times = Histogram::new(3).unwrap();
    for number in seed.. {
        let begun = Instant::now();
        if begun >= deadline {
            break;
        }
        let key = format!("user/{}", number % KEYS);
        if is_put {
            store.put(Put::new(key, value.clone())).await.unwrap();
        } else {
            store.get(&key).await.unwrap();
        }
        times.record(u64::try_from(begun.elapsed().as_micros()).unwrap()).unwrap();
    }
    times
}

/// How long after the reply to a put its change comes, to each of the subscribers. One that comes before the reply counts
/// as 1 us.
fn pushes(socket: &Path, subscribers: usize) -> (f64, Histogram<u64>) {
    const PUTS: usize = 200;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Client::connect(socket).await.unwrap();
        let mut readers = Vec::new();
        for _ in 0..subscribers {
            let mut stream = UnixStream::connect(socket).await.unwrap();
            stream.write_all(b"{\"op\":\"subscribe\"}\n").await.unwrap();
            let mut lines = BufReader::new(stream).lines();
            lines.next_line().await.unwrap();
            readers.push(tokio::spawn(async move {
                let mut arrived = Vec::new();
                while arrived.len() < PUTS {
                    lines.next_line().await.unwrap();
                    arrived.push(Instant::now());
                }
                arrived
            }));
        }
        let begun = Instant::now();
        let mut replied = Vec::new();
        for _ in 0..PUTS {
            store.put(Put::new("pushed", JsonText::of(&1).unwrap())).await.unwrap();
            replied.push(Instant::now());
            tokio::time::sleep(Duration::from_millis(if subscribers > 1 { 40 } else { 2 })).await;
        }
        let mut times = Histogram::new(3).unwrap();
        for reader in readers {
            for (arrived, replied) in reader.await.unwrap().into_iter().zip(&replied) {
                let late = arrived.saturating_duration_since(*replied).as_micros();
                times.record(u64::try_from(late).unwrap().max(1)).unwrap();
            }
        }
        (begun.elapsed().as_secs_f64(), times)
    })
}

fn commands(count: u32, before: impl Fn(), command: impl Fn() -> Command) -> (f64, Histogram<u64>) {
    let mut times = Histogram::new(3).unwrap();
    let mut total = Duration::ZERO;
    for _ in 0..count {
        before();
        let begun = Instant::now();
        assert!(command().status().unwrap().success());
        total += begun.elapsed();
        times.record(u64::try_from(begun.elapsed().as_micros()).unwrap()).unwrap();
    }
    (total.as_secs_f64(), times)
}

fn report(name: &str, seconds: f64, times: &Histogram<u64>) {
    println!(
        "{name:<34}{:>10.0}{:>12}{:>12}{:>12}",
        times.len() as f64 / seconds,
        times.value_at_quantile(0.5),
        times.value_at_quantile(0.99),
        times.value_at_quantile(0.999)
    );
}
