//! `kv stream`

use std::time::Duration;

use clap::{Args, Subcommand};
use kv::protocol::RetentionFields;
use kv::store::{self, Reply, Request, Result, Retention, Store, Write, WriteOperation, slowest_position};

use super::arguments::GuardArguments;
use super::format::{self, OutputFormat};
use super::output::Column;
use super::settings::Settings;
use super::stream_get::Get;
use super::{WriteCommand, duration, number, output};

#[derive(Debug, Args)]
pub(super) struct Stream {
    #[command(subcommand)]
    command: StreamCommand,
}

#[derive(Debug, Subcommand)]
enum StreamCommand {
    /// Print changes
    Get(Get),
    /// Print the last seq
    Seq,
    /// Remove the oldest changes
    Trim(Trim),
    /// Say how much of the stream is kept from now on, and print it
    Retain(Retain),
}

#[derive(Debug, Args)]
#[command(override_usage = "\
kv stream trim [OPTIONS] SEQ
       kv stream trim [OPTIONS] --all
       kv stream trim [OPTIONS] --before-slowest-consumer")]
struct Trim {
    #[command(flatten)]
    part: PartArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

/// The part of the stream that is removed.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct PartArguments {
    /// The last change to remove; 0 = none
    #[arg(value_parser = number::count)]
    seq: Option<u64>,
    /// Remove every change
    #[arg(long)]
    all: bool,
    /// Remove what every consumer has dealt with
    #[arg(long)]
    before_slowest_consumer: bool,
}

/// How much of the stream is kept. What is given takes the place of the whole rule; it is printed in any case.
#[derive(Debug, Args)]
struct Retain {
    /// Remove changes that are older, as 30d or 12h
    #[arg(long, value_name = "TIME", value_parser = duration::age)]
    age: Option<Duration>,
    /// Remove all but the newest COUNT changes, at least 1
    #[arg(long, value_name = "COUNT", value_parser = number::positive)]
    count: Option<u64>,
    /// Keep a change in any case until every consumer has dealt with it
    #[arg(long)]
    keep_for_consumers: bool,
    /// Keep every change
    #[arg(long, conflicts_with_all = ["age", "count", "keep_for_consumers"])]
    forever: bool,
    /// How the present rule is printed (default: a table on a terminal, otherwise json)
    #[arg(long, value_name = "FORMAT",
        value_parser = OutputFormat::one_of(format::REPORT))]
    output: Option<OutputFormat>,
}

/// The rule of a store as a row for people.
const COLUMNS: &[Column] =
    &[Column::number("AGE"), Column::number("COUNT"), Column::word("KEPT FOR CONSUMERS")];

fn row(Retention { age, count, unread }: Retention) -> Vec<String> {
    let all = || "any".to_owned();
    let age = age.map(|age| duration::shown(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)));
    let count = count.map(|count| count.to_string());
    let unread = if unread { "yes" } else { "no" };
    vec![age.unwrap_or_else(all), count.unwrap_or_else(all), unread.to_owned()]
}

impl WriteCommand for Trim {
    fn write(&self) -> Result<Write> {
        let trim = self.part.seq.map_or(store::Trim::All, store::Trim::UpTo);
        Ok(self.guard.write(WriteOperation::Trim(trim)))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let trimmed = if let Reply::Trimmed { trimmed } = reply { trimmed } else { 0 };
        output::print_line(&trimmed.to_string())
    }
}

impl Trim {
    /// Consumers that begin in the meantime do so with what is kept: a position never goes back.
    async fn before_slowest_consumer(self, store: &impl Store) -> Result<()> {
        let Some(seq) = slowest_position(store).await? else {
            output::note("nothing was removed: there is no consumer");
            return output::print_line("0");
        };
        let trim = self.guard.write(WriteOperation::Trim(store::Trim::UpTo(seq)));
        self.print(store.call(Request::Write(trim)).await?)
    }
}

impl Retain {
    async fn run(self, store: &impl Store) -> Result<()> {
        let Retain { age, count, keep_for_consumers: unread, forever, output } = self;
        if age.is_some() || count.is_some() || unread || forever {
            store.stream_retain(Retention { age, count, unread }).await?;
        }
        let retention = store.stream_retention().await?;
        match output.unwrap_or_else(OutputFormat::of_listing) {
            OutputFormat::Table => output::print_table(COLUMNS, vec![row(retention)]),
            _ => output::print_item(&RetentionFields::from(retention)),
        }
    }
}

impl Stream {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        match &self.command {
            StreamCommand::Trim(trim) if !trim.part.before_slowest_consumer => Some(trim),
            _ => None,
        }
    }

    pub(super) async fn run(self, store: &impl Store, settings: &Settings) -> Result<()> {
        match self.command {
            StreamCommand::Get(get) => get.run(store, settings).await,
            StreamCommand::Seq => output::print_line(&store.stream_seq().await?.to_string()),
            StreamCommand::Trim(trim) => trim.before_slowest_consumer(store).await,
            StreamCommand::Retain(retain) => retain.run(store).await,
        }
    }
}
