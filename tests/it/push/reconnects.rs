//! Every change comes exactly once and in order, however often the connection or the daemon ends.
//!
//! `RECONNECTS=2000 cargo test --locked --release --test it push::reconnects` is the long form.

use std::time::Duration;

use kv::Client;
use kv::store::{Put, Store as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{seqs, socket};
use crate::support::{Kv, Random, json, number_from_environment, runtime, wait_until};

/// A client that hangs up after any number of bytes, also in the middle of a line, and goes on behind the last whole one.
#[test]
fn a_client_that_hangs_up_anywhere_misses_and_doubles_nothing() {
    let reconnects = number_from_environment("RECONNECTS", 100);
    let kv = Kv::new();
    kv.ok("kv init");
    let socket = socket(&kv);
    runtime().block_on(async {
        let store = Client::connect(socket.as_ref()).await.unwrap();
        let mut random = Random(7);
        let mut seen = Vec::new();
        for _ in 0..reconnects {
            let mut stream = UnixStream::connect(&socket).await.unwrap();
            let after = seen.last().copied().unwrap_or(0);
            let request = format!("{{\"op\":\"subscribe\",\"after\":{after}}}\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            for _ in 0..5 {
                store.put(Put::new("a", json("\"some text\""))).await.unwrap();
            }
            let mut bytes = vec![0; 1 + random.below(3_000)];
            let mut length = 0;
            let patience = Duration::from_millis(50);
            while length < bytes.len()
                && let Ok(Ok(count @ 1..)) =
                    tokio::time::timeout(patience, stream.read(&mut bytes[length..])).await
            {
                length += count;
            }
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let events = whole.lines().skip(1).map(|line| serde_json::from_str::<Value>(line).unwrap());
            seen.extend(events.map(|event| event["seq"].as_u64().unwrap()));
        }
        assert!(seen.len() > 100, "{}", seen.len());
        assert_eq!(seen, (1..=seen.len() as u64).collect::<Vec<u64>>());
    });
}

/// While the daemon is stopped and killed.
#[test]
fn kv_watch_goes_on_with_the_next_daemon_behind_what_it_printed() {
    let kv = Kv::new();
    kv.ok("kv init");
    let mut watch = kv.command("kv");
    let printed = kv.directory.path().join("printed");
    let output = std::fs::File::create(&printed).unwrap();
    let mut watch = watch.args(["watch", "--after", "0"]).stdout(output).spawn().unwrap();
    let rounds = number_from_environment("RECONNECTS", 100) / 10;
    for round in 0..rounds {
        kv.ok(&format!(
            "for i in 1 2 3 4 5; do kv put $i --value {round} --once {round}/$i || exit 1; done & writer=$!; \
             sleep 0.0{}; {}; wait $writer",
            round % 7,
            if round % 2 == 0 { "kv daemon stop" } else { "kill -9 $(kv daemon status | jq .pid)" }
        ));
    }
    let head: u64 = kv.ok("kv stream seq").trim().parse().unwrap();
    assert_eq!(head, u64::from(rounds) * 5, "once is once");
    let whole = || std::fs::read_to_string(&printed).unwrap();
    wait_until("all of it", || whole().lines().count() as u64 >= head && whole().ends_with('\n'));
    assert_eq!(seqs(&whole()), (1..=head).collect::<Vec<u64>>());
    watch.kill().unwrap();
    watch.wait().unwrap();
}
