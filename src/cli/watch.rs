//! `kv watch`

use std::process::Stdio;

use clap::{Args, ValueEnum};
use kv::store::{Change, Event, Result, Start, Store, Subscribe};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;

use super::output::{self, ChangeView};
use super::signals::{self, Terminations};
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
    /// End after so many changes
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
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
        let mut terminations = signals::terminations()?;
        let mut subscription = tokio::select! {
            begun = store.subscribe(wanted) => begun?,
            signal = terminations.recv() => return Ok(signals::exit_code(signal)),
        };
        for done in 1.. {
            let change = loop {
                tokio::select! {
                    event = subscription.next() => {
                        if let Event::Change(change) = event? {
                            break change;
                        }
                    }
                    signal = terminations.recv() => return Ok(signals::exit_code(signal)),
                    () = printing.lost_its_reader() => return Ok(exit_code::OK),
                }
            };
            match printing.deal_with(&change, &mut terminations).await? {
                Done::Next if !printing.is_enough(done) => {}
                Done::Next => return Ok(exit_code::OK),
                Done::Last(signal) => return Ok(signals::exit_code(signal)),
                Done::Failed(code, _) => return Ok(code),
            }
        }
        Ok(exit_code::OK)
    }
}

/// What became of a change.
pub(super) enum Done {
    /// It was dealt with.
    Next,
    /// It was dealt with, and it is the last one: a signal asks to end.
    Last(Signal),
    /// It was not dealt with, which ends with this exit code; perhaps because of a signal.
    Failed(u8, Option<Signal>),
}

impl Printing {
    /// Whether so many changes are as many as were asked for.
    pub(super) fn is_enough(&self, done: u64) -> bool {
        self.limit.is_some_and(|limit| done >= limit)
    }

    /// Whether what is printed goes nowhere.
    pub(super) fn has_lost_its_reader(&self) -> bool {
        !self.runs_a_command() && output::is_reader_gone()
    }

    /// Waits for that; a command has a stdout of its own.
    pub(super) async fn lost_its_reader(&self) {
        if self.runs_a_command() {
            std::future::pending().await
        } else {
            output::reader_is_gone().await;
        }
    }

    pub(super) fn runs_a_command(&self) -> bool {
        !self.command.is_empty()
    }

    /// Prints a change, or runs the command for it.
    pub(super) async fn deal_with(&self, change: &Change, terminations: &mut Terminations) -> Result<Done> {
        if self.runs_a_command() {
            return self.run_command(change, terminations).await;
        }
        let view = ChangeView::from(change);
        let text = match self.output {
            WatchFormat::Ndjson => output::to_line(&view)?,
            WatchFormat::Json => output::to_document(&view)?,
        };
        tokio::select! {
            biased;
            reader = output::print_aside(format!("{text}\n").into_bytes()) => {
                // A reader that has seen enough is no failure.
                Ok(if reader?.is_break() { Done::Failed(exit_code::OK, None) } else { Done::Next })
            }
            signal = terminations.recv() => Ok(Done::Failed(signals::exit_code(signal), Some(signal))),
        }
    }

    async fn run_command(&self, change: &Change, terminations: &mut Terminations) -> Result<Done> {
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
        let mut child = match child::spawn(command.stdin(Stdio::piped())) {
            Ok(child) => child,
            Err(code) => return Ok(Done::Failed(code, None)),
        };
        let line = output::to_line(&ChangeView::from(change))?;
        let stdin = child.stdin.take();
        let feeding = async {
            if let Some(mut stdin) = stdin {
                // A program need not read it.
                let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
            }
            std::future::pending().await
        };
        let ended = tokio::select! {
            ended = child::wait(&mut child, terminations) => ended?,
            never = feeding => never,
        };
        Ok(match ended {
            (exit_code::OK, None) => Done::Next,
            (exit_code::OK, Some(signal)) => Done::Last(signal),
            (code, told) => Done::Failed(code, told),
        })
    }
}
