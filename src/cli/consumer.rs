//! `kv consumer`

use clap::{Args, Subcommand};
use kv::limits;
use kv::protocol::{ChangeBody, ConsumerStatusBody};
use kv::store::{
    Code, ConsumerCommit, ConsumerGet, Error, NameList, Reply, Result, Start, Store, Write, WriteOperation,
};

use super::arguments::{FilterArguments, ListFormat, number};
use super::consumer_stream::Stream;
use super::environment::Environment;
use super::output::{self, NamedBody};
use super::{WriteCommand, exit_code, watch};

#[derive(Debug, Subcommand)]
pub(super) enum Consumer {
    /// Print the changes after the position of a consumer
    Get(Get),
    /// Print the position of a consumer, and the session that follows as it
    Status {
        /// Consumer
        name: String,
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
        /// How consumers are printed
        #[arg(long, default_value = "json", value_name = "FORMAT")]
        output: ListFormat,
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
    seq: u64,
    #[command(flatten)]
    filter: FilterArguments,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Consumer
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    wanted: ConsumerArguments,
    /// At most this many changes (default: 1000; -1 = as many as one page holds)
    #[arg(allow_negative_numbers = true)]
    limit: Option<String>,
    /// How changes are printed
    #[arg(long, default_value = "json", value_name = "FORMAT")]
    output: ListFormat,
}

impl Consumer {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        match self {
            Consumer::Commit(commit) => Some(commit),
            Consumer::Delete(delete) => Some(delete),
            _ => None,
        }
    }

    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        match self {
            Consumer::Get(get) => get.run(store).await?,
            Consumer::Status { name } => match store.consumer_status(&name).await? {
                (head, Some(consumer)) => output::print_item(&status(consumer, head))?,
                (_, None) => {
                    return Err(Error::new(Code::NotFound, format!("there is no consumer {name}")));
                }
            },
            Consumer::List { prefix, output } => {
                let mut request = Some(NameList { prefix, after: None });
                let printed = output::print_pages(output, async || {
                    let Some(list) = request.take() else { return Ok(None) };
                    let page = store.consumers(list.clone()).await?;
                    request = list.after_page(&page);
                    Ok(Some(page.items.into_iter().map(|consumer| status(consumer, page.seq)).collect()))
                });
                let _ = printed.await?;
            }
            Consumer::Stream(stream) => return stream.run(store, environment).await,
            Consumer::Commit(_) | Consumer::Delete(_) => {}
        }
        Ok(exit_code::OK)
    }
}

fn status(consumer: kv::store::Consumer, head: u64) -> NamedBody<ConsumerStatusBody> {
    let name = consumer.name.clone();
    NamedBody { name, body: ConsumerStatusBody::new(consumer, head) }
}

impl WriteCommand for Commit {
    fn write(&self) -> Result<Write> {
        let filter = self.filter.clone().filter(None);
        let commit = ConsumerCommit { name: self.name.clone(), seq: self.seq, holder: None, filter };
        Ok(WriteOperation::ConsumerCommit(commit).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let Reply::Position { position } = reply else { return Ok(()) };
        output::print_line(&position.to_string())
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

impl Get {
    async fn run(self, store: &impl Store) -> Result<()> {
        let limit = number("LIMIT", self.limit.as_ref(), limits::PAGE_RECORDS as i64)?;
        let ConsumerArguments { name, from, filter } = self.wanted;
        let get = ConsumerGet {
            name: name.clone(),
            start: from,
            limit: u64::try_from(limit).ok(),
            filter: filter.filter(None),
        };
        let (changes, position) = store.consumer_get(get).await?;
        let bodies: Vec<_> = changes.changes.into_iter().map(ChangeBody::from).collect();
        output::print_items(&bodies, self.output)?;
        let done = changes.next - 1;
        if done > position {
            output::note(&format!("when they are dealt with: kv consumer commit {name} {done}"));
        }
        Ok(())
    }
}
