//! Puts and gets of kv against Redis and SQLite alone.

use std::time::Duration;

use kv::limits;

use crate::Place;
use crate::bare::Bare;
use crate::daemon::{self, Daemon};
use crate::in_process::InProcess;
use crate::load::{self, Load, Measured};
use crate::options::Scale;
use crate::redis::Redis;
use crate::report::{Cell, Report, Row};
use crate::wire::{Operation, Requests, Wire};

const KEYS: u64 = 10_000;

/// The loads, and the least ratio to Redis of puts and gets.
const LOADS: [(Load, f64, f64); 3] = [
    (Load::ONE, 0.65, 0.65),
    (Load { clients: 64, pipelined: 1 }, 0.65, 0.75),
    (Load { clients: 64, pipelined: 16 }, 0.3, 0.3),
];

/// The least ratio of puts in process to SQLite alone.
const IN_PROCESS_MIN: f64 = 0.7;

/// What one load gave in each round.
struct Case {
    operation: Operation,
    load: Load,
    least: f64,
    kv: Vec<Measured>,
    redis: Vec<Measured>,
    bare: Vec<f64>,
    /// Of puts only.
    in_process: Vec<f64>,
}

struct Servers {
    daemon: Daemon,
    redis: Redis,
    bare: Bare,
    in_process: InProcess,
}

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let mut servers = Servers {
        daemon: Daemon::start(place, "throughput", KEYS),
        redis: Redis::start(place, "redis", KEYS),
        bare: bare(place),
        in_process: InProcess::fill(&place.directory("in-process").join("data.db"), KEYS),
    };
    let mut cases: Vec<Case> = LOADS
        .iter()
        .flat_map(|&(load, put, get)| {
            [(Operation::Put, put), (Operation::Get, get)].map(|(operation, least)| Case {
                operation,
                load,
                least,
                kv: Vec::new(),
                redis: Vec::new(),
                bare: Vec::new(),
                in_process: Vec::new(),
            })
        })
        .collect();
    cases.sort_by_key(|case| case.operation == Operation::Get);
    for _ in 0..scale.rounds {
        for case in &mut cases {
            servers.measure(case, scale.slice);
        }
    }
    report.table(
        "throughput",
        "Operations per second by clients (x requests sent at once); the aim with 1 and with 64 is kv / redis = 1",
        &cases.iter().map(row).collect::<Vec<_>>(),
    );
    let puts = cases.iter().filter(|case| case.operation == Operation::Put);
    report.table(
        "in_process",
        "Puts per second in this process, by callers at once",
        &puts.map(in_process_row).collect::<Vec<_>>(),
    );
}

fn bare(place: &Place) -> Bare {
    let directory = place.directory("bare");
    daemon::init(&directory, &place.socket("bare"));
    Bare::fill(&directory.join("data.db"), KEYS)
}

impl Servers {
    fn measure(&mut self, case: &mut Case, slice: Duration) {
        let &mut Case { operation, load, .. } = case;
        let over_socket =
            |wire, socket| load::run(socket, &Requests::spread(wire, operation, KEYS), load, slice);
        case.kv.push(over_socket(Wire::Kv, &self.daemon.socket));
        case.redis.push(over_socket(Wire::Redis, &self.redis.socket));
        // SQLite alone gathers what would be under way, within the bound of a batch of kv.
        let batch = load.in_flight().min(limits::BATCH_REQUESTS);
        match operation {
            Operation::Get => case.bare.push(self.bare.gets(batch, slice)),
            Operation::Put => {
                case.bare.push(self.bare.puts(batch, slice));
                case.in_process.push(self.in_process.puts(load.in_flight(), slice));
            }
        }
    }
}

fn rates(measured: &[Measured]) -> Vec<f64> {
    measured.iter().map(|measured| measured.per_s).collect()
}

fn row(case: &Case) -> Row {
    let name = if case.operation == Operation::Put { "put" } else { "get" };
    let (of_kv, of_redis) = (rates(&case.kv), rates(&case.redis));
    let of = |measured: &[Measured], figure: fn(&Measured) -> f64, decimals| {
        Cell::median(measured.iter().map(figure), decimals)
    };
    let client = |measured| of(measured, |measured| 100.0 * measured.client_share, 0);
    Row::new(format!("{name} {}", case.load))
        .cell("kv", Cell::median(of_kv.iter().copied(), 0))
        .cell("p50 us", of(&case.kv, |measured| measured.p50_us, 0))
        .cell("p99 us", of(&case.kv, |measured| measured.p99_us, 0))
        .cell("client %", client(&case.kv))
        .cell("redis", Cell::median(of_redis.iter().copied(), 0))
        .cell("its client %", client(&case.redis))
        .cell("kv / redis", Cell::ratio(&of_kv, &of_redis).at_least(case.least))
        .cell("bare", Cell::median(case.bare.iter().copied(), 0))
        .cell("kv / bare", Cell::ratio(&of_kv, &case.bare))
}

fn in_process_row(case: &Case) -> Row {
    Row::new(format!("put {}", case.load.in_flight()))
        .cell("in process", Cell::median(case.in_process.iter().copied(), 0))
        .cell("bare", Cell::median(case.bare.iter().copied(), 0))
        .cell("in process / bare", Cell::ratio(&case.in_process, &case.bare).at_least(IN_PROCESS_MIN))
}
