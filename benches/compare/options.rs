//! The options of the command line, and how much is measured.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Compares kv with Redis and with SQLite alone, and tells how its costs grow
#[derive(Debug, Parser)]
#[command(bin_name = "scripts/bench")]
pub struct Options {
    /// What is measured; everything by default
    sections: Vec<Section>,
    /// Short measures, in less than a minute: for a first look, with more noise
    #[arg(long, conflicts_with = "long")]
    quick: bool,
    /// Costs are measured at 1,000,000 keys, not at 100,000
    #[arg(long)]
    long: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 when something is out of its bounds
    #[arg(long)]
    pub check: bool,
    /// Where the data lies while it is measured, on the file system that matters; by default in target
    #[arg(long)]
    pub directory: Option<PathBuf>,
    /// The option that cargo passes to every benchmark
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Section {
    /// Puts and gets against Redis and SQLite
    Throughput,
    /// Costs in a small and in a large store, and scans against SQLite
    Growth,
    /// From a put to its event
    Push,
    /// Whole commands against redis-cli
    Commands,
    /// Resident memory of the daemon
    Memory,
    /// CPU of an idle daemon
    Idle,
    /// Puts and gets on PostgreSQL against single statements
    Postgres,
    /// Puts and gets on rqlite against single requests
    Rqlite,
}

/// How much is measured.
#[derive(Debug)]
pub struct Scale {
    /// How often everything is measured in turn: a ratio is the median over the rounds.
    pub rounds: usize,
    /// How long one load runs in one round.
    pub slice: Duration,
    /// How long one kind of request runs in one round of the section on growth.
    pub growth_slice: Duration,
    /// The keys of the large store.
    pub keys_large: u64,
    /// How often a command is run in one round.
    pub commands: usize,
    /// How long an idle daemon is watched.
    pub idle: Duration,
    /// The puts that are pushed.
    pub pushes: usize,
    /// How long a daemon has to give memory back.
    pub settle: Duration,
}

impl Options {
    /// The sections that were asked for, in the order of the report.
    pub fn sections(&self) -> impl Iterator<Item = Section> {
        let all = Section::value_variants().iter().copied();
        all.filter(|section| self.sections.is_empty() || self.sections.contains(section))
    }

    pub fn scale(&self) -> Scale {
        if self.quick {
            return Scale {
                rounds: 5,
                slice: Duration::from_millis(100),
                growth_slice: Duration::from_millis(30),
                keys_large: 40_000,
                commands: 5,
                idle: Duration::from_secs(2),
                pushes: 100,
                settle: Duration::from_millis(300),
            };
        }
        Scale {
            rounds: 5,
            slice: Duration::from_millis(800),
            growth_slice: Duration::from_millis(250),
            keys_large: if self.long { 1_000_000 } else { 100_000 },
            commands: 20,
            idle: Duration::from_secs(10),
            pushes: 500,
            settle: Duration::from_secs(5),
        }
    }
}
