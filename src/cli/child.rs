//! Programs that kv runs: `kv watch … -- CMD` and `kv lock run … -- CMD`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use kv::store::{Code, Error, Result};
use tokio::process::{Child, Command};

/// A program with its words; the first one names it.
pub(super) fn command(words: &[String]) -> Result<Command> {
    let (program, arguments) =
        words.split_first().ok_or_else(|| Error::new(Code::BadRequest, "there is no command to run"))?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}

pub(super) fn spawn(command: &mut Command) -> Result<Child> {
    command.spawn().map_err(|error| {
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        Error::new(Code::BadRequest, format!("{program} cannot be run: {error}"))
    })
}

/// The exit code as a shell tells it: 128 and the signal for who was ended by one.
pub(super) fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
