//! The signals that a process of kv handles.

use kv::limits;
use kv::store::{Code, Error, Result};
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};

fn handle(kind: SignalKind) -> Result<Signals> {
    signal(kind).map_err(|error| Error::new(Code::Internal, format!("signals: {error}")))
}

/// Makes a write beyond the file-size limit (`ulimit -f`) an error instead of the end of the process. A handler that
/// does nothing is enough, and unlike an ignored signal it is not passed on to a program that this one starts.
pub(super) fn survive_file_size_limit() -> Result<()> {
    handle(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// The signals that ask a command to end.
pub(super) struct Terminations([(Signal, Signals); 4]);

impl Terminations {
    /// The next one.
    pub(super) async fn recv(&mut self) -> Signal {
        let [first, second, third, fourth] = &mut self.0;
        tokio::select! {
            _ = first.1.recv() => first.0,
            _ = second.1.recv() => second.0,
            _ = third.1.recv() => third.0,
            _ = fourth.1.recv() => fourth.0,
        }
    }

    /// Finishes something. Once a signal asks to end, before it or meanwhile, that may take a moment at most; answers what
    /// came of it, and the signal.
    pub(super) async fn finish<T>(
        &mut self,
        work: impl Future<Output = T>,
        told: Option<Signal>,
    ) -> (Option<T>, Option<Signal>) {
        let mut work = std::pin::pin!(work);
        let signal = match told {
            Some(signal) => signal,
            None => tokio::select! {
                biased;
                done = &mut work => return (Some(done), None),
                signal = self.recv() => signal,
            },
        };
        (tokio::time::timeout(limits::END_GRACE, work).await.ok(), Some(signal))
    }
}

/// From now on these signals do not end the process by themselves.
pub(super) fn terminations() -> Result<Terminations> {
    let one = |signal: Signal| -> Result<(Signal, Signals)> {
        Ok((signal, handle(SignalKind::from_raw(signal.as_raw()))?))
    };
    Ok(Terminations([one(Signal::INT)?, one(Signal::TERM)?, one(Signal::HUP)?, one(Signal::QUIT)?]))
}

/// The exit code of a command that was ended by a signal, as a shell tells it.
pub(super) fn exit_code(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}
