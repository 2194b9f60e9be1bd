//! The load: clients that each wait for the replies to what they sent, in one thread and one poll loop.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::UnixStream;
use mio::{Events, Interest, Poll, Token};

use crate::process;
use crate::wire::{Requests, replies};

/// A server that says nothing for this long is broken.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Far from each other and from any round number, so that the clients ask for different keys.
const CLIENT_STRIDE: usize = 104_729;

#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub clients: usize,
    /// The requests that a client sends at once.
    pub pipelined: usize,
}

impl Load {
    pub const ONE: Load = Load { clients: 1, pipelined: 1 };

    pub fn in_flight(self) -> usize {
        self.clients * self.pipelined
    }
}

impl std::fmt::Display for Load {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Load { clients, pipelined: 1 } => write!(f, "{clients}"),
            Load { clients, pipelined } => write!(f, "{clients} x {pipelined}"),
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Measured {
    pub per_s: f64,
    /// From what a client sends to its last reply.
    pub p50_us: f64,
    pub p99_us: f64,
    /// CPU time of the client, in parts of a core.
    pub client_share: f64,
}

struct Client {
    stream: UnixStream,
    number: usize,
    missing: usize,
    sent: Instant,
    buffer: Vec<u8>,
    filled: usize,
}

/// Lets the clients of a load send requests for this long.
pub fn run(socket: &Path, requests: &Requests, load: Load, time: Duration) -> Measured {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(256);
    let begun = Instant::now();
    let mut clients: Vec<Client> =
        (0..load.clients).map(|index| Client::connect(socket, index, &poll, begun)).collect();

    let (cpu, begun) = (process::cpu_of_this_thread(), Instant::now());
    let mut times_us = Histogram::<u64>::new(3).unwrap();
    let (mut operations, mut busy) = (0, load.clients);
    for client in &mut clients {
        client.send(requests, load.pipelined);
    }
    while busy > 0 {
        poll.poll(&mut events, Some(SILENCE_MAX)).unwrap();
        assert!(!events.is_empty(), "{} says nothing for {SILENCE_MAX:?}", socket.display());
        for event in &events {
            let client = &mut clients[event.token().0];
            operations += client.receive(requests);
            if client.missing == 0 {
                let now = Instant::now();
                times_us.record((now - client.sent).as_micros() as u64).unwrap();
                if now - begun < time {
                    client.send(requests, load.pipelined);
                } else {
                    busy -= 1;
                }
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Measured {
        per_s: operations as f64 / seconds,
        p50_us: times_us.value_at_quantile(0.5) as f64,
        p99_us: times_us.value_at_quantile(0.99) as f64,
        client_share: (process::cpu_of_this_thread() - cpu).as_secs_f64() / seconds,
    }
}

impl Client {
    fn connect(socket: &Path, index: usize, poll: &Poll, now: Instant) -> Client {
        // Connected in the blocking way: then a full backlog is waited for.
        let stream = std::os::unix::net::UnixStream::connect(socket).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = UnixStream::from_std(stream);
        poll.registry().register(&mut stream, Token(index), Interest::READABLE).unwrap();
        let buffer = vec![0; 64 * 1_024];
        Client { stream, number: index * CLIENT_STRIDE, missing: 0, sent: now, buffer, filled: 0 }
    }

    /// All earlier replies are here, so the socket has room for a burst.
    fn send(&mut self, requests: &Requests, count: usize) {
        self.missing = requests.burst_len(self.number, count);
        self.sent = Instant::now();
        self.stream.write_all(requests.burst(self.number, count)).unwrap();
        self.number += self.missing;
    }

    /// Takes what is there, and answers how many replies that completed.
    fn receive(&mut self, requests: &Requests) -> usize {
        let mut received = 0;
        loop {
            if self.filled == self.buffer.len() {
                self.buffer.resize(2 * self.filled, 0);
            }
            let room = self.buffer.len() - self.filled;
            let count = match self.stream.read(&mut self.buffer[self.filled..]) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            };
            self.filled += count;
            let (count_of_replies, done) = replies(requests.wire, &self.buffer[..self.filled]);
            self.buffer.copy_within(done..self.filled, 0);
            self.filled -= done;
            received += count_of_replies;
            // Less than asked for: the socket is empty, and the next event tells when it no longer is.
            if count < room {
                break;
            }
        }
        self.missing -= received;
        received
    }
}
