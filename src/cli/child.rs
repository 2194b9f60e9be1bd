//! Programs that kv runs: `kv watch … -- CMD`, `kv consumer stream … -- CMD` and `kv lock run … -- CMD`.
//!
//! A program has the descriptors of kv, its signals as kv inherited them, and the store in its environment. It stays in
//! the process group of kv, so that Ctrl-Z, `fg` and `timeout` work. Every signal that is sent to kv reaches it once.

use std::ffi::{CString, OsString};
use std::io::{Error as IoError, ErrorKind, Result as IoResult};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use kv::daemon::launch::RUNNING_IMAGE;
use kv::limits;
use kv::store::{Code, Error, Result};
use nix::unistd::execvp;
use rustix::process::{
    Pid, Signal, getpgid, getpgrp, getpid, getppid, kill_process, set_parent_process_death_signal,
};
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::environment::Environment;
use super::signals::{self, SignalSet, Signals};
use super::witness::Witness;
use super::{connect, output, witness};

/// The first argument of the process that becomes a program.
const STAGE: &str = "program-stage";

/// The exit code of a shell for a program that cannot be run: it is not executable, or does not exist.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// Whether a program ended with an exit code which says that it could not be run.
pub(super) fn is_not_run(code: u8) -> bool {
    matches!(code, NOT_EXECUTABLE | NOT_FOUND)
}

/// A program with its arguments, of which the first names it.
pub(super) struct Program {
    words: Vec<OsString>,
    environment: Environment,
    /// The witness; none after it was lost.
    witness: Option<Witness>,
}

impl Program {
    /// # Errors
    /// `unavailable` when the system does not allow another process.
    pub(super) async fn new(words: Vec<OsString>, environment: Environment) -> Result<Program> {
        Ok(Program { words, environment, witness: Some(Witness::start().await?) })
    }

    /// The command that runs the program: a process of kv that becomes it.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(RUNNING_IMAGE);
        command.arg0(STAGE).arg(getpid().as_raw_pid().to_string()).arg(signals::blocked());
        command.args(&self.words).envs(self.environment.variables());
        command
    }

    /// Starts the program. Must be called on the thread that lives as long as kv: the end of that thread tells the
    /// program to end.
    pub(super) async fn spawn(&mut self, command: &mut Command) -> Result<Child> {
        let failed = |error: IoError| {
            Error::new(Code::Unavailable, format!("no process can be started: {error}"))
                .hint("see the limits of this user: ulimit -u")
        };
        let child = command.spawn().map_err(failed)?;
        // Signals that came before the program existed have not reached it.
        self.reached(SignalSet::heard()).await;
        Ok(child)
    }

    /// Waits for the program, and answers its exit code. Signals are passed on; a signal that asks kv itself to end is
    /// answered too.
    pub(super) async fn wait(
        &mut self,
        child: &mut Child,
        signals: &mut Signals,
    ) -> Result<(u8, Option<Signal>)> {
        let mut told = None;
        loop {
            tokio::select! {
                ended = child.wait() => {
                    return ended
                        .map(|status| (exit_code(status), told))
                        .map_err(|error| Error::new(Code::Internal, error.to_string()));
                }
                signal = signals.next() => told = told.or(self.pass_on(child, signal, signals).await),
            }
        }
    }

    /// Passes on the signals that have not reached the program by themselves, and answers one that is meant for kv too.
    /// A signal that comes just after the program has ended is meant for kv alone.
    async fn pass_on(&mut self, child: &mut Child, first: Signal, signals: &mut Signals) -> Option<Signal> {
        sleep(limits::SIGNAL_GATHERING).await;
        let mut came = signals.take();
        came.insert(first);
        let reached = self.reached(came).await;
        if let Ok(Some(_)) = child.try_wait() {
            return came.iter().find(|&signal| signals::ends_a_process(signal));
        }
        // A program in a process group of its own gets no signal that is sent to this one.
        let is_in_group = pid(child).is_some_and(|pid| getpgid(Some(pid)) == Ok(getpgrp()));
        for signal in came.without(if is_in_group { reached } else { SignalSet::EMPTY }).iter() {
            tell(child, signal);
        }
        came.iter().find(|&signal| signals::asks_to_end(signal))
    }

    /// The signals among these that have reached the whole group.
    async fn reached(&mut self, asked: SignalSet) -> SignalSet {
        let reached = match &mut self.witness {
            Some(witness) => witness.reached(asked).await.ok(),
            None => None,
        };
        if reached.is_none() {
            // Without a witness every signal is passed on: better twice than never.
            self.witness = Witness::start().await.ok();
        }
        reached.unwrap_or(SignalSet::EMPTY)
    }
}

fn pid(child: &Child) -> Option<Pid> {
    child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
}

fn tell(child: &Child, signal: Signal) {
    if let Some(pid) = pid(child)
        && let Err(error) = kill_process(pid, signal)
    {
        output::note(&format!("the command cannot be sent a signal: {error}"));
    }
}

/// Tells a program to end, and kills it when it does not end in time.
pub(super) async fn stop(child: &mut Child) {
    tell(child, Signal::TERM);
    // A stopped program receives the signal only when it is continued.
    tell(child, Signal::CONT);
    if timeout(limits::CHILD_GRACE, child.wait()).await.is_err() {
        tell(child, Signal::KILL);
        let _ = child.wait().await;
    }
}

/// The exit code as a shell reports it: 128 plus the signal for a program that was ended by one.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}

/// Runs an internal process of kv, which another process of kv has started, and answers its exit code; none when this
/// is not such a process.
pub(super) fn run_as_helper(mut words: impl Iterator<Item = OsString>) -> Option<u8> {
    let name = words.next()?;
    if name == witness::NAME {
        let word = words.next();
        // Its work is done when its pipes are closed.
        let _ = witness::run(word.as_deref().and_then(|word| word.to_str()));
        return Some(0);
    }
    (name == STAGE).then(|| become_program(words))
}

/// Becomes the program; answers an exit code when that is not possible.
fn become_program(mut words: impl Iterator<Item = OsString>) -> u8 {
    let (parent, blocked) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let words: Vec<OsString> = words.collect();
    let error = match execute(&parent.to_string_lossy(), &blocked.to_string_lossy(), &words) {
        Ok(never) => match never {},
        Err(error) => error,
    };
    let program = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    output::note(&format!("kv: {program} cannot be run: {error}"));
    if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }
}

fn execute(parent: &str, blocked: &str, words: &[OsString]) -> IoResult<std::convert::Infallible> {
    set_parent_process_death_signal(Some(Signal::TERM))?;
    // kv may have died before.
    if getppid().is_none_or(|present| present.as_raw_pid().to_string() != parent) {
        return Err(IoError::other("kv was killed"));
    }
    let words: Vec<CString> = words
        .iter()
        .map(|word| CString::new(word.clone().into_vec()))
        .collect::<std::result::Result<_, _>>()?;
    let program = words.first().ok_or(ErrorKind::NotFound)?;
    connect::runtime()
        .map_err(|error| IoError::other(error.message))?
        .block_on(signals::hand_over(blocked))?;
    Ok(execvp(program, &words)?)
}
