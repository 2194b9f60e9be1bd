//! A pager, which shows long output on a terminal, as that of git(1) does.

use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use kv::environment::variable;
use kv::store::{Code, Error, Result};
use rustix::process::Signal;

use super::redirect;
use crate::cli::signals;

/// What less(1) is told unless the user tells it otherwise: to end at once when everything fits the screen (F), to show
/// colours (R), and to leave the text on the screen (X).
const FOR_LESS: &str = "FRX";

/// A program that reads what this one prints.
pub(super) struct Pager {
    child: Child,
    /// What was stdout before.
    terminal: OwnedFd,
}

impl Pager {
    /// Starts the pager that was chosen or, when none was, that of `PAGER`, or else less. None when the user wants none, or
    /// the system has none.
    ///
    /// # Errors
    /// `internal` when stdout cannot be redirected.
    pub(super) fn start(chosen: Option<&str>) -> Result<Option<Pager>> {
        let named = chosen.map(str::to_owned).or_else(|| variable("PAGER")?.into_string().ok());
        let mut command = match named.as_deref().map(str::trim) {
            Some("" | "cat") => return Ok(None),
            Some(named) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", named]);
                shell
            }
            None => {
                let mut less = Command::new("less");
                less.arg(format!("-{FOR_LESS}"));
                less
            }
        };
        if variable("LESS").is_none() {
            command.env("LESS", FOR_LESS);
        }
        let Ok(mut child) = command.stdin(Stdio::piped()).spawn() else { return Ok(None) };
        // It is Ctrl-C for the pager alone: whoever leaves that ends this program too, because nobody reads its output then.
        signals::handle(Signal::INT)?;
        let Some(pipe) = child.stdin.take() else { return Ok(None) };
        let terminal =
            redirect(pipe).map_err(|error| Error::new(Code::Internal, format!("stdout: {error}")))?;
        Ok(Some(Pager { child, terminal }))
    }

    /// Gives stdout back, which tells the pager that nothing more follows, and waits until the user has seen enough.
    pub(super) fn finish(mut self) {
        // Its input ends when the last descriptor of the pipe is closed.
        if redirect(self.terminal).map(drop).is_ok() {
            // When the caller of kv ignores the ends of children, there is none to wait for.
            let _ = self.child.wait();
        }
    }
}
