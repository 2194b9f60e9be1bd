//! Long work: a progress bar on a terminal, and a clean end when it is interrupted.

use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use kv::limits;
use kv::store::maintenance::{Progress, Watcher};
use kv::store::{Code, Error, Result};

use super::signals::{self, Signals};

/// How the work ended.
pub(super) enum Completion<T> {
    Finished(T),
    /// A signal ended it; the exit code of the command.
    Interrupted(u8),
}

/// Runs work on a thread of its own. On a terminal, a bar on stderr shows its progress. A signal that asks to end
/// cancels the work, which then cleans up.
pub(super) async fn watched<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce(&mut Watcher<'_>) -> Result<T> + Send + 'static,
) -> Result<Completion<T>> {
    let mut signals = Signals::new()?;
    let is_given_up = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&is_given_up);
    let mut working = tokio::task::spawn_blocking(move || {
        let bar = bar(what);
        let done = work(&mut |Progress { done, total, .. }| {
            if total > 0 {
                bar.set_length(total);
                bar.set_position(done);
            }
            if heard.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        bar.finish_and_clear();
        done
    });
    match until_a_signal(&mut signals, &mut working, || is_given_up.store(true, Ordering::Relaxed)).await {
        Completion::Interrupted(code) => Ok(Completion::Interrupted(code)),
        Completion::Finished(Ok(done)) => done.map(Completion::Finished),
        Completion::Finished(Err(error)) => Err(Error::new(Code::Internal, error.to_string())),
    }
}

/// Waits for work. A signal that asks to end calls `give_up`, and then the work may take only a moment more, to clean up.
pub(super) async fn until_a_signal<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
    give_up: impl FnOnce(),
) -> Completion<T> {
    let mut work = pin!(work);
    let signal = tokio::select! {
        done = &mut work => return Completion::Finished(done),
        signal = signals.end() => signal,
    };
    give_up();
    tokio::select! {
        _ = work => {}
        // A second signal means that the user does not want to wait.
        _ = signals.end() => {}
        // It may be writing to a pipe that is not read; the end of the process ends that too.
        () = tokio::time::sleep(limits::CLEANUP_GRACE) => {}
    }
    Completion::Interrupted(signals::exit_code(signal))
}

/// Waits for the answer to a delete of so many records. When it takes long, a line on a terminal tells each second how many
/// are deleted by then; `count` asks the store.
pub(super) async fn deleting<T>(
    records: u64,
    answer: impl Future<Output = T>,
    count: impl AsyncFn() -> Result<u64>,
) -> T {
    let bar = ProgressBar::with_draw_target(Some(records), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{pos} of {len} records deleted") {
        bar.set_style(style);
    }
    let mut answer = pin!(answer);
    loop {
        let looked = async {
            tokio::time::sleep(limits::TELL_AFTER).await;
            count().await
        };
        tokio::select! {
            answered = &mut answer => {
                bar.finish_and_clear();
                return answered;
            }
            // When the store does not tell, the answer is still waited for.
            Ok(deleted) = looked => bar.set_position(deleted.min(records)),
        }
    }
}

/// Hidden unless stderr is a terminal.
pub(super) fn bar(what: &'static str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_message(what);
    if let Ok(style) = ProgressStyle::with_template("{msg} {bar:40} {percent}%, {eta} left") {
        bar.set_style(style);
    }
    bar
}
