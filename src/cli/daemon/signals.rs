//! The signals of a daemon.

use kv::daemon::log;
use kv::store::Result;
use rustix::process::Signal;
use tokio_util::sync::CancellationToken;

use super::super::signals::handle;

/// The signals that end a daemon after it has answered its requests. XCPU comes before the system ends a process that
/// has used its CPU time (`ulimit -t`).
const ENDING: [(Signal, &str); 4] = [
    (Signal::TERM, "signal TERM"),
    (Signal::INT, "signal INT"),
    (Signal::QUIT, "signal QUIT"),
    (Signal::XCPU, "signal XCPU: its processor time is used up (ulimit -t)"),
];

/// Begins to handle signals. HUP makes a daemon that logs into a file open it again, and ends one that logs to its stderr, as
/// the end of its terminal does. A signal that is ignored at the start stays ignored, as `nohup`
/// requires.
pub(super) fn obey(stop: &CancellationToken, logs_to_file: bool) -> Result<()> {
    let hangup = (!logs_to_file).then_some((Signal::HUP, "signal HUP"));
    for (signal, reason) in ENDING.into_iter().chain(hangup) {
        let Some(mut signals) = handle(signal)? else { continue };
        let stop = stop.clone();
        tokio::spawn(async move {
            signals.recv().await;
            log::ends(reason);
            stop.cancel();
        });
    }
    if logs_to_file && let Some(mut signals) = handle(Signal::HUP)? {
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                log::reopen();
            }
        });
    }
    Ok(())
}
