//! One connection that waits for each reply, for requests that are not measured.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::wire::{Requests, Wire, replies};

/// The puts that are under way at once while a store is filled.
const FILL_BURST: usize = 1_000;

/// How long a server has to accept after its start, also where other programs take the machine.
const START_MAX: Duration = Duration::from_secs(30);

/// A connection.
pub struct Client {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Client {
    pub fn connect(socket: &Path) -> Client {
        Client { stream: UnixStream::connect(socket).unwrap(), buffer: Vec::new() }
    }

    /// Sends requests, and waits for `count` replies.
    fn exchange(&mut self, wire: Wire, requests: &[u8], count: usize) {
        self.stream.write_all(requests).unwrap();
        let mut missing = count;
        let mut piece = [0; 64 * 1_024];
        while missing > 0 {
            let length = self.stream.read(&mut piece).unwrap();
            assert!(length > 0, "the server closed the connection");
            self.buffer.extend_from_slice(&piece[..length]);
            let (received, done) = replies(wire, &self.buffer);
            self.buffer.drain(..done);
            missing -= received;
        }
    }

    /// Sends one request of kv, without the newline, and answers the reply.
    pub fn ask(&mut self, request: &str) -> Value {
        self.stream.write_all(format!("{request}\n").as_bytes()).unwrap();
        let mut line = String::new();
        BufReader::new(&self.stream).read_line(&mut line).unwrap();
        assert!(line.starts_with("{\"ok\":true"), "the daemon answered {line:?} to {request}");
        serde_json::from_str(&line).unwrap()
    }

    /// The socket, for events.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }
}

/// Puts the keys 0 to `keys`.
pub fn fill(wire: Wire, socket: &Path, keys: u64) {
    let mut client = Client::connect(socket);
    for first in (0..keys).step_by(FILL_BURST) {
        let requests = Requests::puts(wire, first..keys.min(first + FILL_BURST as u64));
        client.exchange(wire, requests.burst(0, requests.len()), requests.len());
    }
}

/// Waits until a server that was just started accepts.
pub fn wait_for(socket: &Path) {
    let deadline = Instant::now() + START_MAX;
    while UnixStream::connect(socket).is_err() {
        assert!(Instant::now() < deadline, "nothing listens at {}", socket.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}
