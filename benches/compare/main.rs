//! Compares kv with Redis and with SQLite alone, in one run on one machine. `scripts/bench` runs it.
//!
//! - `wire`, `load`, `client`: the client, one thread that costs both servers the same; `versus`: its rounds against a server
//! - `daemon`, `redis`, `bare`, `in_process`: the candidates
//! - `throughput`, `growth`, `scans`, `push`, `commands`, `memory`, `idle`, `postgres`, `rqlite`: the measurements
//! - `process`: what the system tells about a process; `report`: figures, ratios and bounds

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::exit,
    missing_docs,
    unreachable_pub
)]

mod bare;
mod client;
mod commands;
mod daemon;
mod growth;
mod idle;
mod in_process;
mod load;
mod memory;
mod options;
mod postgres;
mod process;
mod push;
mod redis;
mod report;
mod rqlite;
mod scans;
mod throughput;
mod versus;
mod wire;

use std::path::{Path, PathBuf};

use clap::Parser as _;
use tempfile::TempDir;

use options::{Options, Section};
use report::Report;

/// Where everything of a run lies: all data on one file system, and nothing is left.
pub struct Place {
    data: TempDir,
    /// Apart from the data, because the path of a socket is short.
    sockets: TempDir,
}

impl Place {
    fn new(directory: &Path) -> Place {
        std::fs::create_dir_all(directory).unwrap();
        Place { data: TempDir::new_in(directory).unwrap(), sockets: TempDir::new().unwrap() }
    }

    /// Makes a directory of this name for the data of one server, and answers its path.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn directory(&self, name: &str) -> PathBuf {
        let path = self.data.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// The path of the socket of this name.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.sockets.path().join(name)
    }
}

fn main() {
    let options = Options::parse();
    let scale = options.scale();
    let directory = options.directory.clone().unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let place = Place::new(&directory);
    let mut report = Report::new(options.json);
    for note in process::describe_machine(&directory) {
        report.note(note);
    }
    for section in options.sections() {
        // Tables come late, so progress is shown.
        eprintln!("measuring: {section:?}");
        match section {
            Section::Throughput => throughput::run(&place, &scale, &mut report),
            Section::Growth => growth::run(&place, &scale, &mut report),
            Section::Push => push::run(&place, &scale, &mut report),
            Section::Commands => commands::run(&place, &scale, &mut report),
            Section::Memory => memory::run(&place, &scale, &mut report),
            Section::Idle => idle::run(&place, &scale, &mut report),
            Section::Postgres => postgres::run(&place, &scale, &mut report),
            Section::Rqlite => rqlite::run(&place, &scale, &mut report),
        }
    }
    drop(place);
    let below = report.finish();
    if options.check && below > 0 {
        std::process::exit(1);
    }
}
