//! Work that goes on for long: how far it is, and its end by a signal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kv::store::Result;

use crate::cli::progress::Completion;
use crate::cli::signals::{self, Signals};

/// Does work until it is done, or until a signal asks to end: then it is dropped where it is.
pub(super) async fn until_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<Completion<T>> {
    let mut signals = Signals::new()?;
    tokio::select! {
        done = work => done.map(Completion::Finished),
        signal = signals.end() => Ok(Completion::Interrupted(signals::exit_code(signal))),
    }
}

/// Shows on a terminal how many records were dealt with, and how many in a second. It disappears when it is dropped.
pub(super) struct Counter(ProgressBar);

impl Counter {
    pub(super) fn new(what: &'static str) -> Counter {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
        if let Ok(style) = ProgressStyle::with_template("{msg}: {human_pos} records, {per_sec}") {
            bar.set_style(style);
        }
        Counter(bar)
    }

    pub(super) fn add(&self, records: usize) {
        self.0.inc(records as u64);
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
