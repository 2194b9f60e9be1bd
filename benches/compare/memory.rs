//! Resident memory of the daemon, and how much of it returns to the system.

use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::Place;
use crate::client::Client;
use crate::daemon::Daemon;
use crate::load::{self, Load};
use crate::options::Scale;
use crate::process;
use crate::report::{Cell, Report, Row};
use crate::wire::{Operation, Requests, Wire};

const KEYS: u64 = 10_000;
const CONNECTIONS: usize = 10_000;
const LOAD: Load = Load { clients: 64, pipelined: 16 };
const PAGES: Load = Load { clients: 64, pipelined: 1 };

const FRESH_MAX_MIB: f64 = 9.0;
const AFTER_LOAD_MAX_MIB: f64 = 20.0;

/// How long the daemon has to accept all connections.
const ACCEPT_MAX: Duration = Duration::from_secs(30);

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let fresh = Daemon::start(place, "fresh", 0);
    let mut rows = vec![row("fresh", process::resident_mib(fresh.pid()), FRESH_MAX_MIB)];

    // The daemon serves fewer connections where the limit on open files is low, and keeps some files for itself.
    let connections = CONNECTIONS.min(process::descriptors().saturating_sub(200));
    let before = process::resident_mib(fresh.pid());
    let held = connect(&fresh, connections);
    let while_connected = process::resident_mib(fresh.pid());
    let per_connection = (while_connected - before) * 1_024.0 / connections as f64;
    rows.push(
        Row::new(format!("with {connections} idle connections"))
            .cell("MiB", Cell::number(while_connected, 1))
            .cell("KiB each", Cell::number(per_connection, 1)),
    );
    drop(held);
    rows.push(row("after they have gone", settled(&fresh, scale), AFTER_LOAD_MAX_MIB));
    drop(fresh);

    let loaded = Daemon::start(place, "loaded", KEYS);
    let put = Requests::spread(Wire::Kv, Operation::Put, KEYS);
    let get = Requests::spread(Wire::Kv, Operation::Get, KEYS);
    let pages = Requests::new(Wire::Kv, ["{\"op\":\"list\",\"limit\":1000}\n".to_owned()]);
    for (name, requests, load) in [
        (format!("after puts by {LOAD}"), put, LOAD),
        (format!("after gets by {LOAD}"), get, LOAD),
        (format!("after pages of 1,000 by {PAGES}"), pages, PAGES),
    ] {
        load::run(&loaded.socket, &requests, load, 2 * scale.slice);
        let at_once = process::resident_mib(loaded.pid());
        let settled = settled(&loaded, scale);
        rows.push(row(&name, settled, AFTER_LOAD_MAX_MIB).cell("at its end", Cell::number(at_once, 1)));
    }
    report.table("memory", "Resident memory of the daemon", &rows);
}

fn row(name: &str, mib: f64, max: f64) -> Row {
    Row::new(name).cell("MiB", Cell::number(mib, 1).at_most(max))
}

/// Connections that the daemon has accepted.
fn connect(daemon: &Daemon, count: usize) -> Vec<UnixStream> {
    let held = (0..count).map(|_| UnixStream::connect(&daemon.socket).unwrap()).collect();
    let mut client = Client::connect(&daemon.socket);
    let deadline = Instant::now() + ACCEPT_MAX;
    while client.ask("{\"op\":\"status\"}")["connections"].as_u64() < Some(count as u64) {
        assert!(Instant::now() < deadline, "the daemon does not accept {count} connections");
        std::thread::sleep(Duration::from_millis(20));
    }
    held
}

/// The least memory that the daemon has within the time to give it back.
fn settled(daemon: &Daemon, scale: &Scale) -> f64 {
    let deadline = Instant::now() + scale.settle;
    let mut least = f64::MAX;
    while least > AFTER_LOAD_MAX_MIB && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
        least = least.min(process::resident_mib(daemon.pid()));
    }
    least
}
