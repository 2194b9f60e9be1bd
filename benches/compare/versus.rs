//! The daemon on a server against plain requests to the same server, in turn.

use std::path::Path;

use crate::load::{self, Load};
use crate::options::Scale;
use crate::report::{Cell, Row};
use crate::wire::{Operation, Requests, Wire};

/// A load, and the least ratio of kv to the plain requests of its puts and of its gets, where there is one.
pub type Bounded = (Load, Option<f64>, Option<f64>);

/// Measures puts and gets under each load. `plain` answers how many plain requests are done per second.
pub fn rows(
    socket: &Path,
    keys: u64,
    loads: &[Bounded],
    scale: &Scale,
    plain: impl Fn(Operation, Load) -> f64,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for operation in [Operation::Put, Operation::Get] {
        for &(load, puts, gets) in loads {
            let (mut of_kv, mut of_plain, mut p50_us) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..scale.rounds {
                let requests = Requests::spread(Wire::Kv, operation, keys);
                let measured = load::run(socket, &requests, load, scale.slice);
                of_kv.push(measured.per_s);
                p50_us.push(measured.p50_us);
                of_plain.push(plain(operation, load));
            }
            let (name, least) = if operation == Operation::Put { ("put", puts) } else { ("get", gets) };
            let ratio = Cell::ratio(&of_kv, &of_plain);
            rows.push(
                Row::new(format!("{name} {load}"))
                    .cell("kv", Cell::median(of_kv.iter().copied(), 0))
                    .cell("p50 us", Cell::median(p50_us, 0))
                    .cell("single", Cell::median(of_plain.iter().copied(), 0))
                    .cell("kv / single", least.map_or(ratio, |least| ratio.at_least(least))),
            );
        }
    }
    rows
}
