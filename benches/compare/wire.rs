//! Requests as bytes that are made before the clock runs, and the counting of replies.

use std::ops::Range;

/// How many bytes the values have, in both protocols.
pub const VALUE_BYTES: usize = 180;

/// A prime far from any round number: it spreads the keys.
const STRIDE: u64 = 7_919;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    Kv,
    Redis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Put,
    Get,
}

/// A ring of requests.
pub struct Requests {
    pub wire: Wire,
    bytes: Vec<u8>,
    /// Where each request begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Requests {
    pub fn new(wire: Wire, requests: impl IntoIterator<Item = String>) -> Requests {
        let (mut bytes, mut starts) = (Vec::new(), vec![0]);
        for request in requests {
            bytes.extend_from_slice(request.as_bytes());
            starts.push(bytes.len());
        }
        Requests { wire, bytes, starts }
    }

    /// Requests for at most 10,000 keys, spread over the `keys` of a store.
    pub fn spread(wire: Wire, operation: Operation, keys: u64) -> Requests {
        let numbers = (0..keys.min(10_000)).map(|number| number * STRIDE % keys);
        Requests::new(wire, numbers.map(|number| request(wire, operation, number)))
    }

    /// Puts of all keys of a range.
    pub fn puts(wire: Wire, keys: Range<u64>) -> Requests {
        Requests::new(wire, keys.map(|number| request(wire, Operation::Put, number)))
    }

    pub fn len(&self) -> usize {
        self.starts.len() - 1
    }

    /// The bytes of `count` requests from this one on; fewer at the end of the ring.
    pub fn burst(&self, number: usize, count: usize) -> &[u8] {
        let first = number % self.len();
        let end = (first + count).min(self.len());
        &self.bytes[self.starts[first]..self.starts[end]]
    }

    /// How many requests such a burst has.
    pub fn burst_len(&self, number: usize, count: usize) -> usize {
        count.min(self.len() - number % self.len())
    }
}

/// The key of this number.
pub fn key(number: u64) -> String {
    format!("user/{number:07}")
}

/// A value: JSON of [`VALUE_BYTES`].
pub fn value() -> String {
    let head = "{\"name\":\"Alice\",\"pad\":\"";
    format!("{head}{}\"}}", "x".repeat(VALUE_BYTES - head.len() - 2))
}

fn request(wire: Wire, operation: Operation, number: u64) -> String {
    let (key, value) = (key(number), value());
    let (key_bytes, value_bytes) = (key.len(), value.len());
    match (wire, operation) {
        (Wire::Kv, Operation::Put) => format!("{{\"op\":\"put\",\"key\":\"{key}\",\"value\":{value}}}\n"),
        (Wire::Kv, Operation::Get) => format!("{{\"op\":\"get\",\"key\":\"{key}\"}}\n"),
        (Wire::Redis, Operation::Put) => {
            format!("*3\r\n$3\r\nSET\r\n${key_bytes}\r\n{key}\r\n${value_bytes}\r\n{value}\r\n")
        }
        (Wire::Redis, Operation::Get) => format!("*2\r\n$3\r\nGET\r\n${key_bytes}\r\n{key}\r\n"),
    }
}

/// How many whole replies these bytes begin with, and how many bytes those are. A reply that is an error ends the run:
/// it would be measured as a fast one.
pub fn replies(wire: Wire, bytes: &[u8]) -> (usize, usize) {
    let (mut count, mut done) = (0, 0);
    while let Some(length) = reply_length(wire, &bytes[done..]) {
        let reply = &bytes[done..done + length];
        let is_fine = match wire {
            Wire::Kv => reply.starts_with(b"{\"ok\":true"),
            Wire::Redis => reply[0] == b'+' || (reply[0] == b'$' && reply[1] != b'-'),
        };
        assert!(is_fine, "the server answered {}", String::from_utf8_lossy(&reply[..length.min(300)]));
        done += length;
        count += 1;
    }
    (count, done)
}

fn reply_length(wire: Wire, bytes: &[u8]) -> Option<usize> {
    let line = memchr::memchr(b'\n', bytes)? + 1;
    if wire == Wire::Redis && bytes[0] == b'$' && bytes[1] != b'-' {
        let digits = bytes[1..line - 2].iter();
        let length = line + digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0')) + 2;
        return (length <= bytes.len()).then_some(length);
    }
    Some(line)
}
