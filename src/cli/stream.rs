//! `kv stream`

use clap::{Args, Subcommand};
use kv::store::{self, Reply, Result, Store, Write, WriteOperation};

use super::WriteCommand;
use super::arguments::GuardArguments;
use super::settings::Settings;
use super::stream_get::Get;
use super::{number, output};

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
}

#[derive(Debug, Args)]
struct Trim {
    /// The last change to remove; 0 = none
    #[arg(required_unless_present = "all", value_parser = number::count)]
    seq: Option<u64>,
    /// Remove every change
    #[arg(long, conflicts_with = "seq")]
    all: bool,
    #[command(flatten)]
    guard: GuardArguments,
}

impl WriteCommand for Trim {
    fn write(&self) -> Result<Write> {
        let trim = self.seq.map_or(store::Trim::All, store::Trim::UpTo);
        Ok(self.guard.write(WriteOperation::Trim(trim)))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let trimmed = if let Reply::Trimmed { trimmed } = reply { trimmed } else { 0 };
        output::print_line(&trimmed.to_string())
    }
}

impl Stream {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        if let StreamCommand::Trim(trim) = &self.command { Some(trim) } else { None }
    }

    pub(super) async fn run(self, store: &impl Store, settings: &Settings) -> Result<()> {
        match self.command {
            StreamCommand::Get(get) => get.run(store, settings).await,
            StreamCommand::Seq => output::print_line(&store.stream_seq().await?.to_string()),
            StreamCommand::Trim(_) => Ok(()),
        }
    }
}
