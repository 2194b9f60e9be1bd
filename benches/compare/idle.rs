//! The CPU time of an idle daemon.

use std::time::{Duration, Instant};

use crate::Place;
use crate::client::Client;
use crate::daemon::Daemon;
use crate::options::Scale;
use crate::process;
use crate::report::{Cell, Report, Row};

/// "No CPU": less than checking a clock now and then takes.
const ALONE_MAX_PERCENT: f64 = 0.01;
const FOLLOWED_MAX_PERCENT: f64 = 0.1;

/// Waits until earlier work is finished, and until the daemon has noticed that it is idle (`limits::QUIET_AFTER`).
const SETTLE: Duration = Duration::from_secs(11);

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let alone = Daemon::start(place, "alone", 100);
    let followed = Daemon::start(place, "followed", 100);
    let mut follower = Client::connect(&followed.socket);
    follower.ask("{\"op\":\"subscribe\"}");
    std::thread::sleep(SETTLE);

    let daemons = [&alone, &followed];
    let taken = || daemons.map(|daemon| (process::cpu(daemon.pid()), process::sleeps(daemon.pid())));
    let (begun, before) = (Instant::now(), taken());
    std::thread::sleep(scale.idle);
    let (seconds, after) = (begun.elapsed().as_secs_f64(), taken());
    drop(follower);

    let row = |name, index: usize, max| {
        let percent = 100.0 * (after[index].0 - before[index].0).as_secs_f64() / seconds;
        let wake_ups = (after[index].1 - before[index].1) as f64 / seconds;
        Row::new(name)
            .cell("% of a core", Cell::number(percent, 3).at_most(max))
            .cell("wake-ups per s", Cell::number(wake_ups, 1))
    };
    let rows = [row("nobody connected", 0, ALONE_MAX_PERCENT), row("one follower", 1, FOLLOWED_MAX_PERCENT)];
    report.table("idle", &format!("An idle daemon, over {seconds:.0} s"), &rows);
}
