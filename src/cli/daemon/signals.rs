//! What signals do to a daemon.

use kv::daemon::log;
use kv::store::{Code, Error, Result};
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Those that end a daemon, after it has answered what it was asked; XCPU comes before the system ends a process that
/// has used its time (`ulimit -t`).
const ENDING: [(Signal, &str); 4] = [
    (Signal::TERM, "signal TERM"),
    (Signal::INT, "signal INT"),
    (Signal::QUIT, "signal QUIT"),
    (Signal::XCPU, "signal XCPU: its processor time is used up (ulimit -t)"),
];

/// Obeys signals from now on. HUP has a daemon that a command started open its log again, and ends one in the foreground
/// as the end of its terminal does. A signal that is ignored at the start stays ignored, as `nohup` wants it.
pub(super) fn obey(stop: &CancellationToken, spawned: bool) -> Result<()> {
    let hangup = (!spawned).then_some((Signal::HUP, "signal HUP"));
    for (signal, reason) in ENDING.into_iter().chain(hangup) {
        let Some(mut signals) = handle(signal)? else { continue };
        let stop = stop.clone();
        actix_rt::spawn(async move {
            signals.recv().await;
            log::ends(reason);
            stop.cancel();
        });
    }
    if spawned && let Some(mut signals) = handle(Signal::HUP)? {
        actix_rt::spawn(async move {
            while signals.recv().await.is_some() {
                log::reopen();
            }
        });
    }
    Ok(())
}

fn handle(wanted: Signal) -> Result<Option<Signals>> {
    if is_ignored(wanted) {
        return Ok(None);
    }
    let signals = signal(SignalKind::from_raw(wanted.as_raw()));
    signals.map(Some).map_err(|error| Error::new(Code::Internal, format!("signals: {error}")))
}

/// Whether a signal is ignored, as far as the system shows that.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|digits| u64::from_str_radix(digits.trim(), 16).ok()).unwrap_or(0);
    ignored & (1 << (signal.as_raw() - 1)) != 0
}
