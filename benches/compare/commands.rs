//! Whole commands, from the start of the process to its end.

use std::process::Command;
use std::time::Instant;

use crate::Place;
use crate::daemon::{self, Daemon, kv};
use crate::options::Scale;
use crate::redis::Redis;
use crate::report::{Cell, Report, Row};

pub fn run(place: &Place, scale: &Scale, report: &mut Report) {
    let daemon = Daemon::start(place, "commands", 100);
    let redis = Redis::start(place, "redis-commands", 100);
    let row = |name, of_kv: &[&str], of_redis: &[&str]| {
        let (mut kv_ms, mut redis_ms) = (Vec::new(), Vec::new());
        for _ in 0..scale.rounds {
            kv_ms.push(median_ms(scale.commands, || daemon.command(of_kv)));
            redis_ms.push(median_ms(scale.commands, || redis.command(of_redis)));
        }
        Row::new(name)
            .cell("kv", Cell::median(kv_ms.iter().copied(), 2))
            .cell("redis-cli", Cell::median(redis_ms.iter().copied(), 2))
            .cell("kv / redis-cli", Cell::ratio(&kv_ms, &redis_ms))
    };
    let rows = [
        row("get", &["get", "key", "user/0000001"], &["get", "user/0000001"]),
        row("put", &["put", "user/0000001", "--value", "1"], &["set", "user/0000001", "1"]),
        Row::new("get, starts the daemon").cell("kv", Cell::median(cold_ms(place, scale), 2)),
    ];
    report.table("commands", "Whole commands, ms", &rows);
}

/// The times of commands that find no daemon.
fn cold_ms(place: &Place, scale: &Scale) -> Vec<f64> {
    let (directory, socket) = (place.directory("cold"), place.socket("cold"));
    let command = |words: &[&str]| kv(&directory, &socket, words);
    daemon::init(&directory, &socket);
    time_ms(command(&["--daemon=never", "put", "cold", "--value", "1"]));
    let cold = |_| {
        let time = time_ms(command(&["get", "key", "cold"]));
        time_ms(command(&["daemon", "stop"]));
        time
    };
    (0..scale.rounds).map(cold).collect()
}

fn median_ms(count: usize, command: impl Fn() -> Command) -> f64 {
    let mut times: Vec<f64> = (0..count).map(|_| time_ms(command())).collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn time_ms(mut command: Command) -> f64 {
    let begun = Instant::now();
    let status = command.status().unwrap();
    let time = begun.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    time.as_secs_f64() * 1e3
}
