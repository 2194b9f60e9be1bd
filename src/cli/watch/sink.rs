//! The output of changes: lines, or a program that is run for each of them.

use std::ffi::OsString;
use std::process::Stdio;

use clap::{Args, ValueEnum};
use kv::protocol::{ChangeBody, RecordBody};
use kv::store::{Change, Record, Result, Timestamp};
use rustix::process::Signal;
use serde::Serialize;
use tokio::io::AsyncWriteExt as _;

use super::super::child::Program;
use super::super::environment::Environment;
use super::super::listing::{SECONDS, local};
use super::super::signals::{self, Signals};
use super::super::{exit_code, number, output};
use super::tell_late;

/// The output of changes.
#[derive(Debug, Args)]
pub(in crate::cli) struct SinkArguments {
    /// How changes are printed (default: text on a terminal, otherwise ndjson)
    #[arg(long, value_name = "FORMAT", conflicts_with = "command")]
    output: Option<WatchFormat>,
    /// End after this many changes
    #[arg(long, value_name = "COUNT", value_parser = number::positive)]
    limit: Option<u64>,
    /// A program to run for each change, instead of printing it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WatchFormat {
    /// One change per line
    Ndjson,
    /// Indented, for people
    Json,
    /// One line for people, cut to the width of the terminal
    Text,
}

/// A change, or a record that was there before.
pub(in crate::cli) enum Delivery {
    Change(Change),
    Present(Record),
}

/// A record that was there before the first change, in the form of a change.
#[derive(Serialize)]
struct PresentBody {
    /// The seq of the last change of the record, which is its revision.
    seq: u64,
    action: &'static str,
    time: Timestamp,
    record: RecordBody,
}

/// A delivery as it is printed.
#[derive(Serialize)]
#[serde(untagged)]
enum DeliveryBody {
    Change(ChangeBody),
    Present(PresentBody),
}

/// The action of a record that was there before.
const PRESENT: &str = "present";

impl From<Delivery> for DeliveryBody {
    fn from(delivery: Delivery) -> DeliveryBody {
        match delivery {
            Delivery::Change(change) => DeliveryBody::Change(change.into()),
            Delivery::Present(record) => DeliveryBody::Present(PresentBody {
                seq: record.revision,
                action: PRESENT,
                time: record.updated,
                record: record.into(),
            }),
        }
    }
}

impl From<Change> for Delivery {
    fn from(change: Change) -> Delivery {
        Delivery::Change(change)
    }
}

impl Delivery {
    /// The line that people see.
    fn line(&self) -> String {
        let (record, action, time) = match self {
            Delivery::Change(change) => (&change.record, change.action.as_str(), change.time),
            Delivery::Present(record) => (record, PRESENT, record.updated),
        };
        let (time, version) = (local(time, SECONDS), record.version);
        output::fitted(&format!("{time}  {action:7}  {}  v{version}  {}", record.key, record.value.get()))
    }

    /// The variables that a program finds, without their prefix.
    fn variables(&self) -> Vec<(&'static str, String)> {
        let (record, seq, action, time) = match self {
            Delivery::Change(change) => (&change.record, change.seq, change.action.as_str(), change.time),
            Delivery::Present(record) => (record, record.revision, PRESENT, record.updated),
        };
        let mut variables = vec![
            ("SEQ", seq.to_string()),
            ("ACTION", action.to_owned()),
            ("TIME", time.to_string()),
            ("KEY", record.key.clone()),
            ("VERSION", record.version.to_string()),
            ("REVISION", record.revision.to_string()),
            ("TYPE", record.record_type.clone().unwrap_or_default()),
        ];
        if let Delivery::Change(change) = self {
            variables.extend([("TX", change.tx.to_string()), ("TX_END", change.tx_end.to_string())]);
        }
        variables
    }
}

/// The outcome of a change.
pub(in crate::cli) enum Outcome {
    /// It was processed.
    Next,
    /// It was processed, and it is the last one: a signal asks to end.
    Last(Signal),
    /// It was not processed; the command ends with this exit code, perhaps because of a signal.
    Failed(u8, Option<Signal>),
}

/// The output of changes, one after the other.
pub(in crate::cli) struct Sink {
    format: WatchFormat,
    limit: Option<u64>,
    /// The program to run for each change, instead of printing it.
    program: Option<Program>,
    pub(in crate::cli) signals: Signals,
}

impl Sink {
    /// Begins to handle signals.
    ///
    /// # Errors
    /// `unavailable` when the system does not allow another process.
    pub(in crate::cli) async fn new(printing: SinkArguments, environment: Environment) -> Result<Sink> {
        let SinkArguments { output: format, limit, command } = printing;
        let terminal = if output::is_terminal() { WatchFormat::Text } else { WatchFormat::Ndjson };
        let format = format.unwrap_or(terminal);
        let signals = Signals::new()?;
        let program = if command.is_empty() { None } else { Some(Program::new(command, environment).await?) };
        Ok(Sink { format, limit, program, signals })
    }

    /// Whether this number of changes reaches the limit of the user.
    pub(in crate::cli) fn is_enough(&self, done: u64) -> bool {
        self.limit.is_some_and(|limit| done >= limit)
    }

    /// The exit code when the time is over after this number of changes. The user is told when there should be more.
    pub(super) fn late(&self, done: u64) -> u8 {
        let changes = |limit| output::counted(limit, "change", "changes");
        self.limit.map_or(exit_code::OK, |limit| {
            tell_late(&format!("{done} of {} came within the time", changes(limit)))
        })
    }

    /// Whether the output has no reader any more.
    pub(in crate::cli) fn has_lost_its_reader(&self) -> bool {
        self.program.is_none() && output::is_reader_gone()
    }

    /// While there is no change, waits for what ends the command: a signal, or the end of the reader of its output.
    /// Answers the exit code.
    pub(in crate::cli) async fn ended(&mut self) -> u8 {
        let prints = self.program.is_none();
        tokio::select! {
            signal = self.signals.end() => signals::exit_code(signal),
            // Programs have stdout to themselves.
            () = output::reader_is_gone(), if prints => exit_code::OK,
        }
    }

    /// Prints a change, or runs the program for it.
    pub(in crate::cli) async fn deal_with(&mut self, delivery: impl Into<Delivery>) -> Result<Outcome> {
        let delivery = delivery.into();
        if let Some(program) = &mut self.program {
            return run_for(program, delivery, &mut self.signals).await;
        }
        let text = match self.format {
            WatchFormat::Ndjson => output::to_line(&DeliveryBody::from(delivery))?,
            WatchFormat::Json => output::to_document(&DeliveryBody::from(delivery))?,
            WatchFormat::Text => delivery.line(),
        };
        tokio::select! {
            biased;
            reader = output::print_aside(format!("{text}\n").into_bytes()) => {
                // A reader that has seen enough is not an error.
                Ok(if reader?.is_break() { Outcome::Failed(exit_code::OK, None) } else { Outcome::Next })
            }
            signal = self.signals.end() => Ok(Outcome::Failed(signals::exit_code(signal), Some(signal))),
        }
    }
}

async fn run_for(program: &mut Program, delivery: Delivery, signals: &mut Signals) -> Result<Outcome> {
    let mut command = program.command();
    for (name, value) in delivery.variables() {
        command.env(format!("KV_CHANGE_{name}"), value);
    }
    let line = output::to_line(&DeliveryBody::from(delivery))?;
    let mut child = program.spawn(command.stdin(Stdio::piped())).await?;
    let stdin = child.stdin.take();
    let feeding = async {
        if let Some(mut stdin) = stdin {
            // The program need not read its stdin.
            let _ = stdin.write_all(format!("{line}\n").as_bytes()).await;
        }
        std::future::pending().await
    };
    let ended = tokio::select! {
        ended = program.wait(&mut child, signals) => ended?,
        never = feeding => never,
    };
    Ok(match ended {
        (exit_code::OK, None) => Outcome::Next,
        (exit_code::OK, Some(signal)) => Outcome::Last(signal),
        (code, told) => Outcome::Failed(code, told),
    })
}
