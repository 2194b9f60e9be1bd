//! `kv lock run`: a command that runs while a lock is held.

use std::time::Duration;

use clap::Args;
use kv::limits;
use kv::store::{Code, Error, Grant, LockAcquire, Result, Store};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::{child, output, signals};

const ABOUT: &str = "\
COMMAND finds KV_LOCK_NAME and KV_LOCK_FENCE in its environment: kv put --fence $KV_LOCK_NAME:$KV_LOCK_FENCE is refused
once somebody else got the lock. The lock is renewed while COMMAND runs. When it is lost all the same, COMMAND is told to
end (TERM, and KILL 5 s later), and the exit code is 5; else it is that of COMMAND.";

#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(super) struct Run {
    /// Lock
    name: String,
    /// How long the lock outlives this command when it cannot be released: 30s, 10m
    #[arg(long, default_value = "30s", allow_hyphen_values = true, value_parser = super::lock::duration)]
    duration: Duration,
    /// How long to wait for the lock; by default as long as it takes
    #[arg(long, allow_hyphen_values = true, value_parser = super::lock::wait)]
    wait: Option<Duration>,
    /// Program to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A lock while it is held.
struct Held<'a, S> {
    store: &'a S,
    acquire: LockAcquire,
    fence: u64,
    duration: Duration,
    /// By the clock of this process nobody else can have it before: it was counted from before it was asked for.
    until: Instant,
}

impl Run {
    pub(super) async fn run(self, store: &impl Store) -> Result<u8> {
        let acquire = LockAcquire {
            name: self.name.clone(),
            // No two commands are the same owner, or they would share the lock.
            owner: kv::store::session_name(),
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
        };
        let mut command = child::command(&self.command)?;
        let wait = self.wait.unwrap_or(Duration::from_millis(limits::TIMEOUT_MS));
        let Grant { fence, .. } = store.lock_acquire_within(acquire.clone(), wait).await?;
        // How long ago it was granted is not known, so it is renewed at once.
        let mut held = Held { store, acquire, fence, duration: self.duration, until: Instant::now() };
        held.until += self.duration / 2;
        held.renew().await?;
        command.env("KV_LOCK_NAME", &self.name).env("KV_LOCK_FENCE", fence.to_string());
        let outcome = match child::spawn(&mut command) {
            Ok(child) => held.watch(child).await,
            Err(error) => Err(error),
        };
        if let Err(error) = store.lock_release(&self.name, &held.acquire.owner).await
            && error.code != Code::NotOwner
        {
            output::note(&format!("the lock {} could not be released, so it expires: {error}", self.name));
        }
        outcome
    }
}

impl<S: Store> Held<'_, S> {
    /// Waits for the command, and keeps the lock.
    async fn watch(&mut self, mut child: Child) -> Result<u8> {
        let mut terminated = signals::terminations()?;
        let mut next = Instant::now() + self.duration / 2;
        loop {
            tokio::select! {
                ended = child.wait() => {
                    let internal = |error: std::io::Error| Error::new(Code::Internal, error.to_string());
                    return ended.map(child::exit_code).map_err(internal);
                }
                // A terminal sends Ctrl-C to the command too.
                signal = terminated.recv() => if signal == Signal::TERM { tell(&child, signal) },
                () = sleep_until(next) => match self.renew().await {
                    Ok(()) => next = Instant::now() + self.duration / 2,
                    Err(error) if Instant::now() < self.until && error.code != Code::Locked => {
                        next = Instant::now() + (self.duration / 10).min(limits::LOCK_LOOK_MAX);
                    }
                    Err(error) => {
                        stop(&mut child).await;
                        return Err(self.lost(&error));
                    }
                },
            }
        }
    }

    /// Renews the lock, in the time that is left of it.
    async fn renew(&mut self) -> Result<()> {
        let asked = Instant::now();
        let LockAcquire { name, owner, .. } = &self.acquire;
        let renewed = timeout_at(self.until, self.store.lock_acquire(name, owner, self.duration)).await;
        let late = || Error::new(Code::Timeout, "it could not be renewed in time");
        let grant = renewed.unwrap_or_else(|_| Err(late()))?;
        if grant.fence != self.fence {
            // It had expired, so somebody else may have held it in between.
            return Err(Error::new(Code::Locked, "it had expired before it was renewed"));
        }
        self.until = asked + self.duration;
        Ok(())
    }

    fn lost(&self, error: &Error) -> Error {
        let message =
            format!("the lock {} was lost, and the command ended: {}", self.acquire.name, error.message);
        Error::new(Code::Locked, message).hint("give it a longer --duration, if this host is slow")
    }
}

/// Passes a signal on to the command, which ends when it wants to.
fn tell(child: &Child, signal: Signal) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(pid) = pid
        && let Err(error) = kill_process(pid, signal)
    {
        output::note(&format!("the command cannot be told to end: {error}"));
    }
}

async fn stop(child: &mut Child) {
    tell(child, Signal::TERM);
    if timeout(limits::CHILD_GRACE, child.wait()).await.is_err() {
        tell(child, Signal::KILL);
        let _ = child.wait().await;
    }
}
