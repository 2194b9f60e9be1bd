//! Distinguishes a signal that was sent to kv from one that was sent to its whole process group.
//!
//! The terminal, `kill %1`, `timeout` and many supervisors send a signal to a process group: to kv and to the program
//! that it runs. `kill PID` sends it to kv alone, which then has to pass it on. A signal does not tell how it was sent.
//! So a tiny process in the same group blocks every signal: those that are pending for it were sent to the group. It
//! ends when the pipe to kv is closed, so it ends with kv, however kv ends.

use std::io::{Error as IoError, ErrorKind, Read as _, Result as IoResult};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use kv::daemon::launch::RUNNING_IMAGE;
use kv::limits;
use kv::store::{Code, Error, Result};
use nix::sys::signal::SigSet;
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::output;
use super::signals::SignalSet;

/// The first argument of its process. It does not name kv, so that `pkill kv` does not reach it.
pub(super) const NAME: &str = "signal-witness";

/// Its second argument, once it has closed the descriptors that the caller of kv passed on.
const ALONE: &str = "alone";

/// The handle of kv for the witness.
pub(super) struct Witness {
    process: Child,
    stdin: ChildStdin,
    stdout: ChildStdout,
}

impl Witness {
    /// Starts the witness, and waits until it blocks signals.
    ///
    /// # Errors
    /// `unavailable` when the system does not allow another process.
    pub(super) async fn start() -> Result<Witness> {
        let mut tries = 1;
        loop {
            let started = timeout(limits::START_TIMEOUT, Witness::try_to_start()).await;
            match started.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())) {
                Ok(witness) => return Ok(witness),
                // A signal to the group may have ended it before it blocked any. kv itself has received that one.
                Err(_) if tries < limits::WITNESS_STARTS => tries += 1,
                Err(error) => {
                    let message = format!("the process that watches for signals does not start: {error}");
                    return Err(Error::new(Code::Unavailable, message).hint(
                        "see the limits of this user, ulimit -u and ulimit -n, and that /proc is there",
                    ));
                }
            }
        }
    }

    async fn try_to_start() -> IoResult<Witness> {
        let mut process = Command::new(RUNNING_IMAGE)
            .arg0(NAME)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (stdin, stdout) = pipes.ok_or_else(|| IoError::other("it has no pipes"))?;
        let (stdin, stdout) = (ChildStdin::from_std(stdin)?, ChildStdout::from_std(stdout)?);
        let mut witness = Witness { process, stdin, stdout };
        witness.answer().await?;
        Ok(witness)
    }

    /// The signals among these that have reached the group since the last call.
    ///
    /// # Errors
    /// When the witness alone was killed or stopped: then it is of no use any more.
    pub(super) async fn reached(&mut self, asked: SignalSet) -> IoResult<SignalSet> {
        let exchange = async {
            self.stdin.write_all(&asked.to_bytes()).await?;
            self.answer().await
        };
        timeout(limits::WITNESS_TIMEOUT, exchange).await?
    }

    async fn answer(&mut self) -> IoResult<SignalSet> {
        let mut reached = [0; 8];
        self.stdout.read_exact(&mut reached).await?;
        Ok(SignalSet::from_bytes(reached))
    }
}

impl Drop for Witness {
    /// It ends before kv does, so it never becomes a process without a parent.
    fn drop(&mut self) {
        let _ = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// The main function of its process.
pub(super) fn run(word: Option<&str>) -> IoResult<()> {
    if word != Some(ALONE) {
        close_fds::set_fds_cloexec_threadsafe(3, &[]);
        return Err(Command::new(RUNNING_IMAGE).arg0(NAME).arg(ALONE).exec());
    }
    SigSet::all().thread_block()?;
    let _ = rustix::thread::set_name(c"signal-witness");
    let signals = SignalFd::with_flags(&SigSet::empty(), SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
    let mut stdin = std::io::stdin().lock();
    let mut reached = SignalSet::EMPTY;
    loop {
        let told = output::print_bytes(&reached.to_bytes());
        if told.map_err(|error| IoError::other(error.message))?.is_break() {
            return Ok(());
        }
        let mut asked = [0; 8];
        stdin.read_exact(&mut asked)?;
        signals.set_mask(&SigSet::from(SignalSet::from_bytes(asked)))?;
        reached = SignalSet::EMPTY;
        while let Some(information) = signals.read_signal()? {
            let number = i32::try_from(information.ssi_signo).unwrap_or(0);
            Signal::from_named_raw(number).into_iter().for_each(|signal| reached.insert(signal));
        }
    }
}
