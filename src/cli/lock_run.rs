//! `kv lock run`: a command that runs while a lock is held.

use std::time::Duration;

use clap::Args;
use kv::limits;
use kv::store::{Code, Error, LockAcquire, Result, Store};
use rustix::process::Signal;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::signals::{self, Terminations};
use super::{child, output};

const ABOUT: &str = "\
COMMAND finds KV_LOCK_NAME and KV_LOCK_FENCE in its environment: kv put --fence $KV_LOCK_NAME:$KV_LOCK_FENCE is refused
once somebody else got the lock. The lock is renewed while COMMAND runs. When it is lost all the same, COMMAND is told to
end (TERM, and KILL 5 s later), but not what it has started, and the exit code is 5; else it is that of COMMAND. TERM, HUP
and QUIT are passed on to it.";

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
            fence: None,
        };
        let mut command = child::command(&self.command)?;
        let wait = self.wait.unwrap_or(Duration::from_millis(limits::TIMEOUT_MS));
        let mut terminations = signals::terminations()?;
        let granted = tokio::select! {
            grant = super::lock::acquire_within(store, acquire.clone(), wait) => Ok(grant?.fence),
            signal = terminations.recv() => Err(signal),
        };
        let until = Instant::now() + self.duration / 2;
        let (outcome, told) = match granted {
            // It may be granted in this moment.
            Err(signal) => (Ok(signals::exit_code(signal)), Some(signal)),
            Ok(fence) => {
                command.env("KV_LOCK_NAME", &self.name).env("KV_LOCK_FENCE", fence.to_string());
                let acquire = acquire.clone();
                let mut held = Held { store, acquire, fence, duration: self.duration, until };
                match held.run(&mut command, &mut terminations).await {
                    Ok((code, told)) => (Ok(code), told),
                    Err(error) => (Err(error), None),
                }
            }
        };
        let releasing = store.lock_release(&self.name, &acquire.owner);
        // A hang-up may have been a word to the command only.
        let told = told.filter(|signal| *signal != Signal::HUP);
        let (released, _) = terminations.finish(releasing, told).await;
        let late = || Err(Error::new(Code::Timeout, "the store does not answer"));
        if let Err(error) = released.unwrap_or_else(late)
            && error.code != Code::NotOwner
        {
            output::note(&format!("the lock {} could not be released, so it expires: {error}", self.name));
        }
        outcome
    }
}

impl<S: Store> Held<'_, S> {
    /// Runs the command, and keeps the lock meanwhile. Answers its exit code, and the signal that asked to end.
    async fn run(
        &mut self,
        command: &mut Command,
        terminations: &mut Terminations,
    ) -> Result<(u8, Option<Signal>)> {
        // How long ago it was granted is not known, so it is renewed at once.
        tokio::select! {
            renewed = self.renew() => renewed.map_err(|error| self.lost(&error))?,
            signal = terminations.recv() => return Ok((signals::exit_code(signal), Some(signal))),
        }
        let mut child = match child::spawn(command) {
            Ok(child) => child,
            Err(code) => return Ok((code, None)),
        };
        tokio::select! {
            ended = child::wait(&mut child, terminations) => ended,
            error = self.keep() => {
                stop(&mut child).await;
                Err(self.lost(&error).hint("the command was told to end; give the lock a longer --duration, if this host is slow"))
            }
        }
    }

    /// Keeps the lock until it is lost, and answers why.
    async fn keep(&mut self) -> Error {
        loop {
            sleep(self.duration / 2).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    /// Renews the lock, again and again in the time that is left of it.
    async fn renew(&mut self) -> Result<()> {
        loop {
            match self.try_to_renew().await {
                Err(error) if Instant::now() < self.until && error.code != Code::Locked => {
                    sleep((self.duration / 10).min(limits::LOCK_LOOK_MAX)).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_to_renew(&mut self) -> Result<()> {
        let asked = Instant::now();
        let LockAcquire { name, owner, .. } = &self.acquire;
        let renewed = timeout_at(self.until, self.store.lock_acquire(name, owner, self.duration)).await;
        let late = || Error::new(Code::Timeout, "it could not be renewed in time");
        let grant = renewed.unwrap_or_else(|_| Err(late()))?;
        if grant.fence != self.fence {
            // It was free for a while, so somebody else may have held it in between.
            return Err(Error::new(Code::Locked, "it was released, or expired before it was renewed"));
        }
        self.until = asked + self.duration;
        Ok(())
    }

    fn lost(&self, error: &Error) -> Error {
        let message = format!("the lock {} was lost: {}", self.acquire.name, error.message);
        Error::new(Code::Locked, message)
    }
}

async fn stop(child: &mut Child) {
    child::tell(child, Signal::TERM);
    if timeout(limits::CHILD_GRACE, child.wait()).await.is_err() {
        child::tell(child, Signal::KILL);
        let _ = child.wait().await;
    }
}
