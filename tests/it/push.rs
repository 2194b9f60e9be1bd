//! The events of the daemon, by the real binary: none is lost, none comes twice, and no client delays others.

mod consumers;
mod contenders;
mod delivery;
mod expiry;
mod following;
mod reconnects;
mod rounds;
mod stalled;
mod waiters;
mod watch;

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use crate::support::Kv;

/// Lines over a socket, as a simple client sends them.
struct Wire {
    lines: Lines<BufReader<OwnedReadHalf>>,
    writer: OwnedWriteHalf,
}

impl Wire {
    async fn connect(socket: &str) -> Wire {
        let (reader, writer) = UnixStream::connect(socket).await.unwrap().into_split();
        Wire { lines: BufReader::new(reader).lines(), writer }
    }

    async fn send(&mut self, line: &str) {
        self.writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The next line, which must come soon; none at the end.
    async fn next(&mut self) -> Option<Value> {
        let line = tokio::time::timeout(Duration::from_secs(10), self.lines.next_line());
        let line = line.await.expect("no line came").unwrap()?;
        Some(serde_json::from_str(&line).unwrap())
    }

    /// Sends a request and answers its reply.
    async fn ask(&mut self, line: &str) -> Value {
        self.send(line).await;
        self.next().await.unwrap()
    }
}

fn socket(kv: &Kv) -> String {
    kv.ok("kv socket").trim().to_owned()
}

/// The seqs of printed changes.
fn seqs(printed: &str) -> Vec<u64> {
    let seq = |line: &str| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap();
    printed.lines().map(seq).collect()
}
