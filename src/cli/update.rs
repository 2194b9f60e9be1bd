//! `kv update`: a program makes the new value from the present one.

use std::ffi::OsString;
use std::pin::pin;
use std::process::Stdio;

use clap::Args;
use kv::store::{Code, Error, JsonText, Put, Record, Result, Store};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Child;

use super::arguments::usage;
use super::child::Program;
use super::environment::Environment;
use super::signals::{self, Signals};
use super::{exit_code, input, output};

#[derive(Debug, Args)]
pub(super) struct Update {
    /// Key
    key: String,
    /// Print the new version
    #[arg(long)]
    print_version: bool,
    /// Program that reads the present value from its stdin and writes the new one to its stdout, as JSON
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// How messages call what a program writes.
const OUTPUT: &str = "the output of the command";

/// What a program made of a value.
enum Outcome {
    /// The bytes that it wrote.
    Output(Vec<u8>),
    /// It failed, or a signal ended the work; the exit code of the command.
    Failed(u8),
}

impl Update {
    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        let mut signals = Signals::new()?;
        let mut program = Program::new(self.command, environment).await?;
        loop {
            let present = store.get(&self.key).await?;
            let value = match run_for(&mut program, &mut signals, &self.key, present.as_ref()).await? {
                Outcome::Output(bytes) => read(bytes)?,
                Outcome::Failed(code) => return Ok(code),
            };
            let revision = present.map_or(0, |record| record.revision);
            match store.put(Put::new(&self.key, value).keep_ttl().if_revision(revision)).await {
                // Another writer was faster: its value is the one to start from.
                Err(error) if error.code == Code::VersionMismatch => {}
                Ok(written) if self.print_version => {
                    return output::print_line(&written.version.to_string()).map(|()| exit_code::OK);
                }
                written => return written.map(|_| exit_code::OK),
            }
        }
    }
}

/// Runs the program once. It reads `null` for a record that is not there.
async fn run_for(
    program: &mut Program,
    signals: &mut Signals,
    key: &str,
    present: Option<&Record>,
) -> Result<Outcome> {
    let mut command = program.command();
    command.env("KV_RECORD_KEY", key);
    command.env("KV_RECORD_VERSION", present.map_or(0, |record| record.version).to_string());
    let mut child = program.spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped())).await?;
    let value = present.map_or("null", |record| record.value.get());
    let mut exchange = pin!(exchange(&mut child, format!("{value}\n")));
    let mut written = None;
    let ended = loop {
        tokio::select! {
            ended = program.wait(&mut child, signals) => break ended?,
            bytes = &mut exchange, if written.is_none() => written = Some(bytes?),
        }
    };
    match ended {
        (exit_code::OK, None) => {}
        (exit_code::OK, Some(signal)) => return Ok(Outcome::Failed(signals::exit_code(signal))),
        (code, _) => return Ok(Outcome::Failed(code)),
    }
    if let Some(bytes) = written {
        return Ok(Outcome::Output(bytes));
    }
    // What it has started may still write.
    tokio::select! {
        bytes = exchange => bytes.map(Outcome::Output),
        signal = signals.end() => Ok(Outcome::Failed(signals::exit_code(signal))),
    }
}

/// Gives the program its stdin, and answers what it writes to its stdout.
fn exchange(child: &mut Child, text: String) -> impl Future<Output = Result<Vec<u8>>> + use<> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    async move {
        let feeding = async {
            if let Some(mut stdin) = stdin {
                // The program need not read its stdin.
                let _ = stdin.write_all(text.as_bytes()).await;
            }
        };
        let mut bytes = Vec::new();
        let reading = async {
            let Some(mut stdout) = stdout else { return Ok(0) };
            (&mut stdout).take(input::bytes_read()).read_to_end(&mut bytes).await?;
            // What is too much for a value is read all the same, so that the program comes to its end.
            tokio::io::copy(&mut stdout, &mut tokio::io::sink()).await
        };
        let (_, read) = tokio::join!(feeding, reading);
        read.map_err(|error| Error::new(Code::Internal, format!("{OUTPUT}: {error}")))?;
        Ok(bytes)
    }
}

/// The value that a program wrote.
fn read(bytes: Vec<u8>) -> Result<JsonText> {
    let hint = "the command writes the new value to its stdout, as JSON; nothing was stored";
    let text = input::text(bytes, OUTPUT).map_err(|error| error.hint(hint))?;
    JsonText::parse(&text).map_err(|error| usage(&format!("{OUTPUT}: {error}"), hint))
}
