//! The costs of requests in a small and in a large store, and of a get beside slow requests.

use std::time::Duration;

use crate::Place;
use crate::daemon::Daemon;
use crate::load::{self, Load};
use crate::options::Scale;
use crate::report::{Cell, Report, Row};
use crate::scans;
use crate::wire::{Operation, Requests, Wire, key};

const KEYS_SMALL: u64 = 10_000;

/// The most by which a flat cost may grow in the large store: one level more of a B-tree, and noise.
const GROWTH_MAX: f64 = 1.5;

/// The clients that count and skip while another one gets.
const SLOW: Load = Load { clients: 8, pipelined: 1 };

/// A get beside them takes at most this long by the median: some turns of a busy machine, and far less than a scan.
const HELD_UP_MAX_US: f64 = 2_000.0;

/// A kind of request: its name, whether its cost is to be flat, and the requests for a store of so many keys.
type Kind = (&'static str, bool, fn(u64) -> Requests);

const KINDS: [Kind; 9] = [
    ("get", true, |keys| Requests::spread(Wire::Kv, Operation::Get, keys)),
    ("put", true, |keys| Requests::spread(Wire::Kv, Operation::Put, keys)),
    ("page of 100, at the start", true, |_| page(0)),
    ("page of 100, in the middle", true, |keys| page(keys / 2)),
    ("page of 100, at the end", true, |keys| page(keys - 101)),
    ("stream page of 100, at the start", true, |_| stream(1)),
    ("stream page of 100, in the middle", true, |keys| stream(keys / 2)),
    ("count of a prefix", false, |_| count()),
    ("page of 100, by its offset", false, offset),
];

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let small = Daemon::start(place, "small", KEYS_SMALL);
    let large = Daemon::start(place, "large", scale.keys_large);
    let rows: Vec<Row> = KINDS.iter().map(|kind| row(kind, &small, &large, scale)).collect();
    let title = format!(
        "Cost of a request with {KEYS_SMALL} and with {} keys, one client, p50 in us",
        scale.keys_large
    );
    report.table("growth", &title, &rows);
    scans::run(&large, scale, report);
    let title =
        format!("A get beside {} clients that count and skip, {} keys, us", SLOW.clients, scale.keys_large);
    report.table("beside", &title, &[beside(&large, scale)]);
}

fn row((name, is_flat, requests): &Kind, small: &Daemon, large: &Daemon, scale: &Scale) -> Row {
    let (of_small, of_large) = (requests(KEYS_SMALL), requests(scale.keys_large));
    let (mut small_us, mut large_us) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        let p50_us = |daemon: &Daemon, requests| {
            load::run(&daemon.socket, requests, Load::ONE, scale.growth_slice).p50_us
        };
        small_us.push(p50_us(small, &of_small));
        large_us.push(p50_us(large, &of_large));
    }
    let ratio = Cell::ratio(&large_us, &small_us);
    Row::new(*name)
        .cell("small", Cell::median(small_us, 0))
        .cell("large", Cell::median(large_us, 0))
        .cell("large / small", if *is_flat { ratio.at_most(GROWTH_MAX) } else { ratio })
}

fn beside(daemon: &Daemon, scale: &Scale) -> Row {
    let gets = Requests::spread(Wire::Kv, Operation::Get, scale.keys_large);
    let slow = Requests::new(Wire::Kv, [count_line(), offset_line(scale.keys_large)]);
    let get = |time| load::run(&daemon.socket, &gets, Load::ONE, time);
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        alone.push(get(scale.growth_slice));
        // The slow ones begin before, and end after.
        let (slice, margin) = (scale.growth_slice, Duration::from_millis(20));
        beside.push(std::thread::scope(|scope| {
            scope.spawn(|| load::run(&daemon.socket, &slow, SLOW, slice + 2 * margin));
            std::thread::sleep(margin);
            get(slice)
        }));
    }
    Row::new("get")
        .cell("alone p50", Cell::median(alone.iter().map(|get| get.p50_us), 0))
        .cell("alone p99", Cell::median(alone.iter().map(|get| get.p99_us), 0))
        .cell("beside p50", Cell::median(beside.iter().map(|get| get.p50_us), 0).at_most(HELD_UP_MAX_US))
        .cell("beside p99", Cell::median(beside.iter().map(|get| get.p99_us), 0))
}

fn page(after: u64) -> Requests {
    one(format!("{{\"op\":\"list\",\"after\":\"{}\",\"limit\":100}}\n", key(after)))
}

fn stream(seq: u64) -> Requests {
    one(format!("{{\"op\":\"stream.get\",\"seq\":{seq},\"limit\":100}}\n"))
}

fn count() -> Requests {
    one(count_line())
}

fn offset(keys: u64) -> Requests {
    one(offset_line(keys))
}

fn count_line() -> String {
    "{\"op\":\"count\",\"prefix\":\"user/\"}\n".to_owned()
}

fn offset_line(keys: u64) -> String {
    format!("{{\"op\":\"list\",\"offset\":{},\"limit\":100}}\n", keys / 2)
}

fn one(line: String) -> Requests {
    Requests::new(Wire::Kv, [line])
}
