//! `kv consumer`

use clap::{Args, Subcommand};
use kv::store::{Code, ConsumerCommit, Error, NameList, Reply, Result, Start, Store, Write, WriteOperation};

use super::arguments::FilterArguments;
use super::consumer_get::Get;
use super::consumer_stream::Stream;
use super::environment::Environment;
use super::format::{self, OutputFormat};
use super::listing::ConsumerAt;
use super::output::{self, ListPrinter};
use super::settings::Settings;
use super::{WriteCommand, exit_code, number, watch};

#[derive(Debug, Subcommand)]
pub(super) enum Consumer {
    /// Print the changes after the position of a consumer
    Get(Get),
    /// Print the position of a consumer, and the session that follows as it
    Status {
        /// Consumer
        name: String,
        /// How the consumer is printed (default: a table on a terminal, otherwise json)
        #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::one_of(format::REPORT))]
        output: Option<OutputFormat>,
    },
    /// Advance the position of a consumer, create the consumer when it does not exist, and print the position
    Commit(Commit),
    /// Remove a consumer
    Delete(Delete),
    /// Print the consumers
    List {
        /// Only consumers whose name starts with this
        #[arg(long, default_value = "", value_name = "PREFIX")]
        prefix: String,
        /// How consumers are printed (default: a table on a terminal, otherwise json)
        #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::one_of(format::NAMES))]
        output: Option<OutputFormat>,
    },
    /// Print the changes after the position and new ones, or run a command for each, and commit them
    Stream(Stream),
}

/// The changes to print, and the start of a new consumer.
#[derive(Debug, Args)]
pub(super) struct ConsumerArguments {
    /// Consumer
    pub(super) name: String,
    /// Where the consumer begins when it does not exist: after this seq (default: with the first change that is kept)
    #[arg(long, alias = "after", value_name = "SEQ|now", value_parser = watch::start)]
    pub(super) from: Option<Start>,
    #[command(flatten)]
    pub(super) filter: FilterArguments,
}

#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Consumer
    name: String,
    /// The last seq that was dealt with
    #[arg(value_parser = number::count)]
    seq: u64,
    #[command(flatten)]
    filter: FilterArguments,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Consumer
    name: String,
}

impl Consumer {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        match self {
            Consumer::Commit(commit) => Some(commit),
            Consumer::Delete(delete) => Some(delete),
            _ => None,
        }
    }

    pub(super) async fn run(self, store: &impl Store, settings: &Settings) -> Result<u8> {
        match self {
            Consumer::Get(get) => get.run(store, settings).await?,
            Consumer::Status { name, output } => match store.consumer_status(&name).await? {
                (head, Some(consumer)) => output::print_one(ConsumerAt { consumer, head }, output)?,
                (_, None) => {
                    return Err(Error::new(Code::NotFound, format!("there is no consumer {name}")));
                }
            },
            Consumer::List { prefix, output } => {
                let mut request = Some(NameList { prefix, after: None });
                let printer = ListPrinter::new(output, settings);
                let printed = printer.print(async || {
                    let Some(list) = request.take() else { return Ok(None) };
                    let page = store.consumers(list.clone()).await?;
                    request = list.after_page(&page);
                    let at = |consumer| ConsumerAt { consumer, head: page.seq };
                    Ok(Some(page.items.into_iter().map(at).collect()))
                });
                let _ = printed.await?;
            }
            Consumer::Stream(stream) => return stream.run(store, Environment::new(settings)?).await,
            Consumer::Commit(_) | Consumer::Delete(_) => {}
        }
        Ok(exit_code::OK)
    }
}

impl WriteCommand for Commit {
    fn write(&self) -> Result<Write> {
        let filter = self.filter.filter(None);
        let commit = ConsumerCommit { name: self.name.clone(), seq: self.seq, holder: None, filter };
        Ok(WriteOperation::ConsumerCommit(commit).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let Reply::Position { position } = reply else { return Ok(()) };
        output::print_line(&position.to_string())
    }

    fn explain(&self, error: Error) -> Error {
        match error.code {
            // A commit takes no "now", which the error of the store speaks of.
            Code::Future => error.hint("kv stream seq prints the last one"),
            _ => error,
        }
    }
}

impl WriteCommand for Delete {
    fn write(&self) -> Result<Write> {
        Ok(WriteOperation::ConsumerDelete { name: self.name.clone() }.into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        if let Reply::Forgotten { deleted: false } = reply {
            output::note("there was no such consumer");
        }
        Ok(())
    }
}
