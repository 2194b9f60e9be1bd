//! The thread that writes. It owns the connection that writes, and everything else that is open.

use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use super::Core;
use super::retire::Opened;
use crate::store::error::{Code, Error, Result};

type Job = Box<dyn FnOnce(&Core, &mut Opened) + Send>;

/// Hands work to the thread that writes. The thread starts with the first piece of work and ends with the engine.
#[derive(Default)]
pub(super) struct Worker {
    jobs: OnceLock<mpsc::Sender<Job>>,
    turn: Arc<Mutex<()>>,
}

/// The right to hand over the next piece of work.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Worker {
    /// Waits until no other work is under way.
    pub(super) async fn turn(&self) -> Turn {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// A turn; none when other work is under way.
    pub(super) fn turn_now(&self) -> Option<Turn> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// Whether there was any work.
    pub(super) fn has_begun(&self) -> bool {
        self.jobs.get().is_some()
    }

    /// Whether work is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.turn.try_lock().is_err()
    }

    /// Runs a piece of work to its end, even when the caller no longer waits for it.
    ///
    /// # Errors
    /// `unavailable` when the system has no thread left.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        core: &Arc<Core>,
        turn: Turn,
        work: impl FnOnce(&Core, &mut Opened) -> T + Send + 'static,
    ) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |core, opened| {
            let outcome = work(core, opened);
            drop(turn);
            // The caller may no longer wait for the answer.
            let _ = answer.send(outcome);
        });
        self.jobs(core)?.send(job).map_err(|_| ended())?;
        answered.await.map_err(|_| ended())
    }

    fn jobs(&self, core: &Arc<Core>) -> Result<&mpsc::Sender<Job>> {
        if let Some(jobs) = self.jobs.get() {
            return Ok(jobs);
        }
        let (jobs, waiting) = mpsc::channel::<Job>();
        let core = Arc::clone(core);
        let work = move || {
            let mut opened = Opened::default();
            waiting.into_iter().for_each(|job| job(&core, &mut opened));
        };
        thread::Builder::new().name("kv-sqlite".to_owned()).spawn(work).map_err(|error| {
            Error::new(Code::Unavailable, format!("the thread that writes cannot be started: {error}"))
        })?;
        Ok(self.jobs.get_or_init(|| jobs))
    }
}

fn ended() -> Error {
    Error::new(Code::Internal, "the thread that writes has ended")
}
