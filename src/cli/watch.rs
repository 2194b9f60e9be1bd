//! `kv watch`

use std::ffi::OsString;
use std::process::Stdio;

use clap::{Args, ValueEnum};
use kv::protocol::ChangeBody;
use kv::store::{Change, Event, Result, Start, Store, Subscribe};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;

use super::child::Program;
use super::environment::Environment;
use super::exit_code;
use super::output;
use super::signals::{self, Signals};

/// Prints changes as they are committed.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Only changes of keys that start with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only changes of records of this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Begin after this seq, the last one seen; 0 = with the first change
    #[arg(long, value_name = "SEQ|now", default_value = "now", value_parser = start)]
    after: Start,
    #[command(flatten)]
    printing: SinkArguments,
}

/// The output of changes.
#[derive(Debug, Args)]
pub(super) struct SinkArguments {
    /// How changes are printed
    #[arg(long, default_value = "ndjson", value_name = "FORMAT", conflicts_with = "command")]
    output: WatchFormat,
    /// End after this many changes
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
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
}

/// Reads a position in the stream.
pub(super) fn start(text: &str) -> std::result::Result<Start, String> {
    match text {
        "now" => Ok(Start::Now),
        _ => text.parse().map(Start::After).map_err(|_| "a position is a seq or \"now\"".to_owned()),
    }
}

impl Watch {
    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        let Watch { prefix, of_type, after, printing } = self;
        let seen = if let Start::After(seq) = after { Some(seq) } else { None };
        let wanted = Subscribe { start: Some(after), prefix, record_type: of_type, ..Subscribe::default() };
        let mut sink = Sink::new(printing, environment).await?;
        let mut subscription = tokio::select! {
            begun = store.subscribe(wanted) => begun?,
            signal = sink.signals.end() => return Ok(signals::exit_code(signal)),
        };
        if output::is_terminal() {
            output::note(&format!("watching from seq {}", seen.unwrap_or(subscription.seq()) + 1));
        }
        for done in 1.. {
            let change = loop {
                tokio::select! {
                    event = subscription.next() => {
                        if let Event::Change(change) = event? {
                            break change;
                        }
                    }
                    code = sink.ended() => return Ok(code),
                }
            };
            match sink.deal_with(change).await? {
                Outcome::Next if !sink.is_enough(done) => {}
                Outcome::Next => return Ok(exit_code::OK),
                Outcome::Last(signal) => return Ok(signals::exit_code(signal)),
                Outcome::Failed(code, _) => return Ok(code),
            }
        }
        Ok(exit_code::OK)
    }
}

/// The outcome of a change.
pub(super) enum Outcome {
    /// It was processed.
    Next,
    /// It was processed, and it is the last one: a signal asks to end.
    Last(Signal),
    /// It was not processed; the command ends with this exit code, perhaps because of a signal.
    Failed(u8, Option<Signal>),
}

/// The output of changes, one after the other.
pub(super) struct Sink {
    format: WatchFormat,
    limit: Option<u64>,
    /// The program to run for each change, instead of printing it.
    program: Option<Program>,
    pub(super) signals: Signals,
}

impl Sink {
    /// Begins to handle signals.
    ///
    /// # Errors
    /// `unavailable` when the system does not allow another process.
    pub(super) async fn new(printing: SinkArguments, environment: Environment) -> Result<Sink> {
        let SinkArguments { output: format, limit, command } = printing;
        let signals = Signals::new()?;
        let program = if command.is_empty() { None } else { Some(Program::new(command, environment).await?) };
        Ok(Sink { format, limit, program, signals })
    }

    /// Whether this number of changes reaches the limit of the user.
    pub(super) fn is_enough(&self, done: u64) -> bool {
        self.limit.is_some_and(|limit| done >= limit)
    }

    /// Whether the output has no reader any more.
    pub(super) fn has_lost_its_reader(&self) -> bool {
        self.program.is_none() && output::is_reader_gone()
    }

    /// While there is no change, waits for what ends the command: a signal, or the end of the reader of its output.
    /// Answers the exit code.
    pub(super) async fn ended(&mut self) -> u8 {
        let prints = self.program.is_none();
        tokio::select! {
            signal = self.signals.end() => signals::exit_code(signal),
            // Programs have stdout to themselves.
            () = output::reader_is_gone(), if prints => exit_code::OK,
        }
    }

    /// Prints a change, or runs the program for it.
    pub(super) async fn deal_with(&mut self, change: Change) -> Result<Outcome> {
        if let Some(program) = &mut self.program {
            return run_for(program, change, &mut self.signals).await;
        }
        let body = ChangeBody::from(change);
        let text = match self.format {
            WatchFormat::Ndjson => output::to_line(&body)?,
            WatchFormat::Json => output::to_document(&body)?,
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

async fn run_for(program: &mut Program, change: Change, signals: &mut Signals) -> Result<Outcome> {
    let mut command = program.command();
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
    let line = output::to_line(&ChangeBody::from(change))?;
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
