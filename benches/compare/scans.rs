//! Pages of records and of the stream, against SQLite alone on the same file.

use crate::bare::Bare;
use crate::daemon::Daemon;
use crate::load::{self, Load};
use crate::options::Scale;
use crate::report::{Cell, Report, Row};
use crate::wire::{Requests, Wire, key};

/// A page of 1,000 records takes at most this long, whatever the size of the store.
const PAGE_MAX_US: f64 = 2_000.0;

/// A page of 100 changes takes at most this long.
const STREAM_MAX_US: f64 = 360.0;

pub fn run(daemon: &Daemon, scale: &Scale, report: &mut Report) {
    let bare = Bare::reader(&daemon.database(), scale.keys_large);
    let (middle, slice) = (scale.keys_large / 2, scale.growth_slice);
    let list = format!("{{\"op\":\"list\",\"after\":\"{}\",\"limit\":1000}}\n", key(middle));
    let stream = format!("{{\"op\":\"stream.get\",\"seq\":{middle},\"limit\":100}}\n");
    let rows = [
        row("page of 1,000 records", daemon, list, (1_000, PAGE_MAX_US), scale, || {
            bare.page_us(&key(middle), 1_000, slice)
        }),
        row("stream page of 100", daemon, stream, (100, STREAM_MAX_US), scale, || {
            bare.stream_us(middle, 100, slice)
        }),
    ];
    report.table("scans", &format!("Scans of a store of {} keys, one client", scale.keys_large), &rows);
}

fn row(
    name: &str,
    daemon: &Daemon,
    line: String,
    (records, max_us): (u64, f64),
    scale: &Scale,
    bare: impl Fn() -> f64,
) -> Row {
    let requests = Requests::new(Wire::Kv, [line]);
    let (mut kv_us, mut bare_us) = (Vec::new(), Vec::new());
    for _ in 0..scale.rounds {
        kv_us.push(load::run(&daemon.socket, &requests, Load::ONE, scale.growth_slice).p50_us);
        bare_us.push(bare());
    }
    let per_s = |times_us: &[f64]| Cell::median(times_us.iter().map(|us| records as f64 * 1e6 / us), 0);
    Row::new(name)
        .cell("kv records/s", per_s(&kv_us))
        .cell("bare records/s", per_s(&bare_us))
        .cell("kv / bare", Cell::ratio(&bare_us, &kv_us))
        .cell("kv p50 us", Cell::median(kv_us, 0).at_most(max_us))
}
