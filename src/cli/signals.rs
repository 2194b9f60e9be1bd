//! The signals that a process of kv handles.
//!
//! A signal that was ignored or blocked when the process began is left alone, as `nohup` requires: no handler is
//! installed for it, so it stays ignored for a program that kv runs too.

use std::future::poll_fn;
use std::io::{Error as IoError, Result as IoResult};
use std::sync::OnceLock;
use std::task::Poll;

use futures_util::FutureExt as _;
use kv::limits;
use kv::store::{Code, Error, Result};
use nix::sys::signal::SigSet;
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Handler, SignalKind, signal};

/// The signals that are handled, and passed on to a program that kv runs.
const HEARD: [Signal; 9] = [
    Signal::INT,
    Signal::TERM,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::CONT,
    Signal::WINCH,
];

/// Some of the standard signals, one bit each, as in `/proc/PID/status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SignalSet(u64);

impl SignalSet {
    pub(super) const EMPTY: SignalSet = SignalSet(0);

    fn bit(signal: Signal) -> u64 {
        1 << (signal.as_raw() - 1)
    }

    pub(super) fn of(signals: &[Signal]) -> SignalSet {
        SignalSet(signals.iter().fold(0, |bits, &signal| bits | SignalSet::bit(signal)))
    }

    /// Every signal that is handled.
    pub(super) fn heard() -> SignalSet {
        SignalSet::of(&HEARD)
    }

    pub(super) fn insert(&mut self, signal: Signal) {
        self.0 |= SignalSet::bit(signal);
    }

    pub(super) fn contains(self, signal: Signal) -> bool {
        self.0 & SignalSet::bit(signal) != 0
    }

    /// The signals of this set that are not in another one.
    pub(super) fn without(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }

    /// The signals of this set that are handled.
    pub(super) fn iter(self) -> impl Iterator<Item = Signal> {
        HEARD.into_iter().filter(move |&signal| self.contains(signal))
    }

    /// Reads a set in hexadecimal digits, as `/proc/PID/status` shows it.
    fn parse(text: &str) -> Option<SignalSet> {
        u64::from_str_radix(text.trim(), 16).ok().map(SignalSet)
    }

    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    pub(super) fn from_bytes(bytes: [u8; 8]) -> SignalSet {
        SignalSet(u64::from_le_bytes(bytes))
    }
}

impl From<SignalSet> for SigSet {
    fn from(set: SignalSet) -> SigSet {
        nix::sys::signal::Signal::iterator()
            .filter(|&signal| set.0 & (1 << (signal as i32 - 1)) != 0)
            .collect()
    }
}

/// The state of the signals when this process began.
#[derive(Debug, Clone, Copy)]
struct InheritedSignals {
    ignored: SignalSet,
    blocked: SignalSet,
}

/// They are read before the first handler is installed.
fn inherited() -> InheritedSignals {
    static INHERITED: OnceLock<InheritedSignals> = OnceLock::new();
    *INHERITED.get_or_init(|| {
        // Without /proc no signal is known to be ignored.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let read = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(SignalSet::parse).unwrap_or(SignalSet::EMPTY)
        };
        InheritedSignals { ignored: read("SigIgn:"), blocked: read("SigBlk:") }
    })
}

/// Installs a handler; none for a signal that must be left alone.
pub(super) fn handle(signal: Signal) -> Result<Option<Handler>> {
    let InheritedSignals { ignored, blocked } = inherited();
    if ignored.contains(signal) || blocked.contains(signal) {
        return Ok(None);
    }
    install(signal).map(Some)
}

fn install(wanted: Signal) -> Result<Handler> {
    signal(SignalKind::from_raw(wanted.as_raw()))
        .map_err(|error| Error::new(Code::Internal, format!("signals: {error}")))
}

/// Makes a write beyond the file-size limit (`ulimit -f`) an error instead of the end of the process. A handler that
/// does nothing is enough and, unlike an ignored signal, is not passed on to a program that this one starts.
pub(super) fn survive_file_size_limit() -> Result<()> {
    handle(Signal::XFSZ).map(drop)
}

/// Makes the exit code of a child available although the caller of kv may ignore SIGCHLD: the system would discard it.
/// The program itself then finds the default action, as with timeout(1).
pub(super) fn see_children_end() -> Result<()> {
    let _ = inherited();
    install(Signal::CHILD).map(drop)
}

/// Restores the signals that kv inherited, in a process that is about to become another program. `blocked` holds, in
/// hexadecimal digits, the signals that kv inherited as blocked. Ignored signals are inherited already.
pub(super) async fn hand_over(blocked: &str) -> IoResult<()> {
    // Rust ignores SIGPIPE from the start. A handler does not survive exec, so the default action is restored.
    install(Signal::PIPE).map(drop).map_err(|error| IoError::other(error.message))?;
    let blocked = SignalSet::parse(blocked).unwrap_or(SignalSet::EMPTY);
    Ok(SigSet::from(blocked).thread_set_mask()?)
}

/// The argument for [`hand_over`].
pub(super) fn blocked() -> String {
    format!("{:x}", inherited().blocked.0)
}

/// The handled signals: from now on none of them ends the process by itself.
pub(super) struct Signals(Vec<(Signal, Handler)>);

impl Signals {
    pub(super) fn new() -> Result<Signals> {
        let heard = HEARD.into_iter().filter_map(|signal| match handle(signal) {
            Ok(handler) => handler.map(|handler| Ok((signal, handler))),
            Err(error) => Some(Err(error)),
        });
        heard.collect::<Result<_>>().map(Signals)
    }

    /// Waits for the next signal.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let came = self
                .0
                .iter_mut()
                .find_map(|(signal, handler)| handler.poll_recv(context).is_ready().then_some(*signal));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// The signals that have come by now.
    pub(super) fn take(&mut self) -> SignalSet {
        let mut taken = SignalSet::EMPTY;
        while let Some(signal) = self.next().now_or_never() {
            taken.insert(signal);
        }
        taken
    }

    /// Waits for the next signal whose default action ends a process.
    pub(super) async fn end(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if ends_a_process(signal) {
                return signal;
            }
        }
    }

    /// Finishes work. After a signal asks to end, before or during the work, it may take only a moment more. Answers
    /// the result of the work, and the signal.
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
                signal = self.end() => signal,
            },
        };
        (tokio::time::timeout(limits::END_GRACE, work).await.ok(), Some(signal))
    }
}

/// Whether the default action of a signal ends a process.
pub(super) fn ends_a_process(signal: Signal) -> bool {
    !matches!(signal, Signal::CONT | Signal::WINCH)
}

/// Whether a signal asks kv itself to end, and not only the program that it runs: by convention USR1, USR2 and ALRM
/// have a meaning for that program alone.
pub(super) fn asks_to_end(signal: Signal) -> bool {
    matches!(signal, Signal::INT | Signal::TERM | Signal::HUP | Signal::QUIT)
}

/// The exit code of a command that was ended by a signal, as a shell reports it.
pub(super) fn exit_code(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(1)
}
