//! `kv watch`

use std::process::Stdio;

use clap::{Args, ValueEnum};
use kv::store::{Change, Event, Result, Start, Store, Subscribe};
use tokio::io::AsyncWriteExt as _;

use super::arguments::usage;
use super::output::{self, ChangeView};
use super::{child, exit_code};

const VARIABLES: &str = "\
COMMAND is run once for each change, one after the other. It reads the change as one line of JSON from its stdin, and
finds KV_CHANGE_SEQ, _TX, _TX_END, _ACTION, _TIME, _KEY, _VERSION, _REVISION and _TYPE in its environment. When it
fails, the watch ends with its exit code.";

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
        let mut subscription = store
            .subscribe(Subscribe {
                start: self.after.clone(),
                prefix: self.prefix.clone(),
                record_type: self.of_type.clone(),
                epoch: None,
            })
            .await?;
        loop {
            let Event::Change(change) = subscription.next().await? else { continue };
            if self.command.is_empty() {
                if self.print(&change)?.is_break() {
                    return Ok(exit_code::OK);
                }
            } else {
                let code = self.run_command(&change).await?;
                if code != exit_code::OK {
                    return Ok(code);
                }
            }
        }
    }

    /// Tells whether somebody still reads.
    fn print(&self, change: &Change) -> Result<std::ops::ControlFlow<()>> {
        let view = ChangeView::from(change);
        let text = match self.output {
            WatchFormat::Ndjson => output::to_line(&view)?,
            WatchFormat::Json => output::to_document(&view)?,
        };
        output::print_bytes(format!("{text}\n").as_bytes())
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
