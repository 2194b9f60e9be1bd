//! Programs that kv runs: `kv watch … -- CMD`, `kv consumer stream … -- CMD` and `kv lock run … -- CMD`.

use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use kv::store::{Code, Error, Result};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::output;
use super::signals::Terminations;

/// The program cannot be run, and it is not there: as a shell tells it.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// A program with its words; the first one names it.
pub(super) fn command(words: &[String]) -> Result<Command> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::new(Code::BadRequest, "there is no command to run"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

/// Starts it, or answers the exit code and tells why not.
pub(super) fn spawn(command: &mut Command) -> std::result::Result<Child, u8> {
    command.spawn().map_err(|error| {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        output::note(&format!("kv: {program} cannot be run: {error}"));
        if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
    })
}

/// Waits for it, and answers its exit code. A signal that asks kv to end is passed on, and answered too.
pub(super) async fn wait(child: &mut Child, terminations: &mut Terminations) -> Result<(u8, Option<Signal>)> {
    let mut told = None;
    loop {
        tokio::select! {
            ended = child.wait() => {
                return ended
                    .map(|status| (exit_code(status), told))
                    .map_err(|error| Error::new(Code::Internal, error.to_string()));
            }
            signal = terminations.recv() => {
                pass_on(child, signal);
                told = Some(signal);
            }
        }
    }
}

/// A terminal sends Ctrl-C to the command too.
fn pass_on(child: &Child, signal: Signal) {
    if signal != Signal::INT {
        tell(child, signal);
    }
}

pub(super) fn tell(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        output::note(&format!("the command cannot be told to end: {error}"));
    }
}

/// The exit code as a shell tells it: 128 and the signal for who was ended by one.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
