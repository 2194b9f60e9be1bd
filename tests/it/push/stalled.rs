//! Subscribers that never read cost the daemon no memory and the writer no time.
//!
//! `STALLED_RECORDS=1000000 cargo test --locked --release --test it push::stalled -- --nocapture` is the long form, which
//! tells how fast the writer was too.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use kv::Client;
use kv::store::{Mutation, Put, Store as _, Subscribe};

use super::socket;
use crate::support::{Kv, json, number_from_environment, peak_bytes, runtime};

const SUBSCRIBERS: usize = 100;

/// Puts records of 1 KiB by several clients, and answers how many per second.
fn write(socket: &str, records: u32) -> f64 {
    const CLIENTS: u32 = 4;
    const AT_ONCE: u32 = 50;
    let begun = Instant::now();
    runtime().block_on(async {
        join_all((0..CLIENTS).map(async |client| {
            let store = Client::connect(socket.as_ref()).await.unwrap();
            let value = json(&format!("\"{}\"", "x".repeat(1_024)));
            for batch in 0..records / CLIENTS / AT_ONCE {
                let key = |number| format!("{client}/{}", (batch * AT_ONCE + number) % 10_000);
                let puts = (0..AT_ONCE).map(|number| Mutation::Put(Put::new(key(number), value.clone())));
                store.mutate_all(puts.collect()).await.unwrap();
            }
        }))
        .await;
    });
    f64::from(records) / begun.elapsed().as_secs_f64()
}

#[test]
#[allow(clippy::print_stderr, reason = "the long form reports its figures")]
fn subscribers_that_never_read_cost_nothing() {
    let records = number_from_environment("STALLED_RECORDS", 10_000);
    let kv = Kv::new();
    kv.ok("kv init");
    let (pid, socket) = (kv.daemon_pid(), socket(&kv));
    let alone = write(&socket, records);
    let before = peak_bytes(pid);
    let stalled: Vec<UnixStream> = (0..SUBSCRIBERS)
        .map(|number| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            // Half of them are far behind already.
            let after = if number % 2 == 0 { "0" } else { "\"now\"" };
            writeln!(stream, "{{\"op\":\"subscribe\",\"after\":{after}}}").unwrap();
            stream
        })
        .collect();
    let watched = write(&socket, records);
    let grown = peak_bytes(pid).saturating_sub(before);
    assert!(grown < 32 * 1_024 * 1_024, "the daemon grew by {grown} bytes");

    // A subscription that is read gets everything meanwhile.
    runtime().block_on(async {
        let store = Client::connect(socket.as_ref()).await.unwrap();
        let head = store.stream_seq().await.unwrap();
        let mut subscription = store.subscribe(Subscribe::after(head - 5_000)).await.unwrap();
        let mut seq = head - 5_000;
        while seq < head {
            let next = tokio::time::timeout(Duration::from_secs(10), subscription.next());
            if let kv::store::Event::Change(change) = next.await.unwrap().unwrap() {
                assert_eq!(change.seq, seq + 1);
                seq = change.seq;
            }
        }
    });
    drop(stalled);
    // A store that has grown is slower by itself, so the figure stands between two others.
    let again = write(&socket, records);
    let slower = 100.0 * (1.0 - watched / ((alone + again) / 2.0));
    eprintln!(
        "{records} records of 1 KiB: {alone:.0} per s alone, {watched:.0} with {SUBSCRIBERS} subscribers that never \
         read, {again:.0} alone again: {slower:.1} % slower; the daemon grew by {} KiB",
        grown / 1_024
    );
}
