//! `kv watch`

use std::process::Stdio;

use clap::{Args, ValueEnum};
use kv::store::{Change, Event, Result, Start, Store, Subscribe};
use tokio::io::AsyncWriteExt as _;

use super::arguments::usage;
use super::output::{self, ChangeView};
use super::{child, exit_code};

pub(super) const VARIABLES: &str = "\
COMMAND is run once for each change, one after the other. It reads the change as one line of JSON from its stdin, and
finds KV_CHANGE_SEQ, _TX, _TX_END, _ACTION, _TIME, _KEY, _VERSION, _REVISION and _TYPE in its environment. When it
fails, this command ends with its exit code.";

/// Prints changes as they are committed.
#[derive(Debug, Args)]
#[command(after_help = VARIABLES)]
pub(super) struct Watch {
    /// Only changes of keys that start with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only changes of records of this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Begin behind this seq, the last one seen; 0 = with the first change
    #[arg(long, value_name = "SEQ|now", default_value = "now", value_parser = start)]
    after: Start,
    #[command(flatten)]
    printing: Printing,
}

/// What is done with each change.
#[derive(Debug, Args)]
pub(super) struct Printing {
    /// How changes are printed
    #[arg(long, default_value = "ndjson", value_name = "FORMAT", conflicts_with = "command")]
    output: WatchFormat,
    /// A program to run for each change, instead of printing it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WatchFormat {
    /// One change per line
    Ndjson,
    /// Indented, for people
    Json,
}

/// Reads a position in the stream.
pub(super) fn start(text: &str) -> std::result::Result<Start, String> {
    match text {
        "now" => Ok(Start::Now),
        _ => text.parse().map(Start::After).map_err(|_| "a position is a seq or \"now\"".to_owned()),
    }
}

impl Watch {
    pub(super) async fn run(self, store: &impl Store) -> Result<u8> {
        let Watch { prefix, of_type, after, printing } = self;
        let wanted = Subscribe { start: Some(after), prefix, record_type: of_type, ..Subscribe::default() };
        let mut subscription = store.subscribe(wanted).await?;
        loop {
            let event = tokio::select! {
                event = subscription.next() => event?,
                () = output::reader_is_gone() => return Ok(exit_code::OK),
            };
            if let Event::Change(change) = event
                && let Some(code) = printing.deal_with(&change).await?
            {
                return Ok(code);
            }
        }
    }
}

impl Printing {
    pub(super) fn runs_a_command(&self) -> bool {
        !self.command.is_empty()
    }

    /// Prints a change, or runs the command for it; answers the exit code when that is the end.
    pub(super) async fn deal_with(&self, change: &Change) -> Result<Option<u8>> {
        if self.runs_a_command() {
            let code = self.run_command(change).await?;
            return Ok((code != exit_code::OK).then_some(code));
        }
        let view = ChangeView::from(change);
        let text = match self.output {
            WatchFormat::Ndjson => output::to_line(&view)?,
            WatchFormat::Json => output::to_document(&view)?,
        };
        // A reader that has seen enough is no failure.
        let reader = output::print_bytes(format!("{text}\n").as_bytes())?;
        Ok(reader.is_break().then_some(exit_code::OK))
    }

    async fn run_command(&self, change: &Change) -> Result<u8> {
        let mut command = child::command(&self.command)?;
        for (name, value) in [
            ("SEQ", change.seq.to_string()),
            ("TX", change.tx.to_string()),
            ("TX_END", change.tx_end.to_string()),
            ("ACTION", change.action.as_str().to_owned()),
            ("TIME", change.time.to_string()),
            ("KEY", change.record.key.clone()),
            ("VERSION", change.record.version.to_string()),
            ("REVISION", change.record.revision.to_string()),
            ("TYPE", change.record.record_type.clone().unwrap_or_default()),
        ] {
            command.env(format!("KV_CHANGE_{name}"), value);
        }
        let mut child = child::spawn(command.stdin(Stdio::piped()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let line = output::to_line(&ChangeView::from(change))?;
            // A program need not read it.
            let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
        }
        let ended = child.wait().await;
        ended.map(child::exit_code).map_err(|error| usage(&error.to_string(), "see kv watch --help"))
    }
}
