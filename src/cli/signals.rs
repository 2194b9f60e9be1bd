//! The signals that a process of kv handles.

use kv::store::{Code, Error, Result};
use rustix::process::Signal;
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
use tokio_util::sync::CancellationToken;

fn handle(kind: SignalKind) -> Result<Signals> {
    signal(kind).map_err(|error| Error::new(Code::Internal, format!("signals: {error}")))
}

/// Makes a write beyond the file-size limit (`ulimit -f`) an error instead of the end of the process. A handler that
/// does nothing is enough, and unlike an ignored signal it is not passed on to a program that this one starts.
pub(super) fn survive_file_size_limit() -> Result<()> {
    handle(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// Cancels the token at SIGTERM and at Ctrl-C.
pub(super) fn stop_on_signals(stop: &CancellationToken) -> Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = handle(kind)?;
        let stop = stop.clone();
        actix_rt::spawn(async move {
            signals.recv().await;
            stop.cancel();
        });
    }
    Ok(())
}
