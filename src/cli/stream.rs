//! `kv stream`

use clap::{Args, Subcommand};
use kv::limits;
use kv::protocol::ChangeBody;
use kv::store::{self, Filter, Reply, Result, Store, Write, WriteOperation};

use super::WriteCommand;
use super::arguments::{GuardArguments, ListFormat, number, usage};
use super::output;

#[derive(Debug, Args)]
pub(super) struct Stream {
    #[command(subcommand)]
    command: StreamCommand,
}

#[derive(Debug, Subcommand)]
enum StreamCommand {
    /// Print changes
    #[command(override_usage = "kv stream get [OPTIONS] [SEQ [LIMIT]]")]
    Get {
        /// The first change, and how many are printed at most (default: the first one that is kept, and 1000; a LIMIT of -1 is all)
        #[arg(value_name = "NUMBER", allow_negative_numbers = true)]
        words: Vec<String>,
        /// Only changes of keys that start with this
        #[arg(long, value_name = "PREFIX")]
        prefix: Option<String>,
        /// Only changes of records of this type
        #[arg(long = "of-type", value_name = "TYPE")]
        of_type: Option<String>,
        /// How changes are printed
        #[arg(long, default_value = "json", value_name = "FORMAT")]
        output: ListFormat,
    },
    /// Print the last seq
    Seq,
    /// Remove the oldest changes
    Trim(Trim),
}

#[derive(Debug, Args)]
struct Trim {
    /// The last change to remove; 0 = none
    #[arg(required_unless_present = "all", allow_negative_numbers = true)]
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

    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let (words, filter, format) = match self.command {
            StreamCommand::Seq => return output::print_line(&store.stream_seq().await?.to_string()),
            StreamCommand::Trim(_) => return Ok(()),
            StreamCommand::Get { words, prefix, of_type, output } => {
                (words, Filter { prefix, record_type: of_type, ..Filter::default() }, output)
            }
        };
        let seq = u64::try_from(number("SEQ", words.first(), 0)?)
            .map_err(|_| usage("SEQ is not negative", "for example: kv stream get 1 100"))?;
        let limit = u64::try_from(number("LIMIT", words.get(1), limits::PAGE_RECORDS as i64)?).ok();
        if words.len() > 2 {
            return Err(usage("there are arguments after SEQ and LIMIT", "for example: kv stream get 1 100"));
        }
        let mut request = Some(store::Stream { seq, limit, filter, ..store::Stream::default() });
        // The end of the previous page, and of the stream.
        let (mut next, mut head) = (1, 0);
        let reader = output::print_pages(format, async || {
            let Some(query) = request.take() else { return Ok(None) };
            let page = store.changes(query.clone()).await?;
            request = query.after_page(&page);
            (next, head) = (page.next, page.seq);
            Ok(Some(page.changes.into_iter().map(ChangeBody::from).collect()))
        })
        .await?;
        if reader.is_continue() && next <= head {
            output::note(&format!("there is more: go on with kv stream get {next}"));
        }
        Ok(())
    }
}
