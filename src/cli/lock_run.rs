//! `kv lock run`: a command that runs while a lock is held.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use kv::limits;
use kv::store::{Code, Error, LockAcquire, Result, Store};
use rustix::process::Signal;
use tokio::time::{Instant, sleep, timeout_at};

use super::child::{self, Program};
use super::environment::Environment;
use super::output;
use super::signals::{self, Signals};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// Lock
    name: String,
    /// How long the lock outlives this command when it cannot be released, as 30s or 10m
    #[arg(long, value_name = "TIME", default_value = "30s", allow_hyphen_values = true, value_parser = super::duration::lock)]
    duration: Duration,
    /// How long to wait for the lock, as 10s or 1h (default: without a limit)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = super::duration::wait)]
    wait: Option<Duration>,
    /// Program to run, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// A lock that is held while the program runs.
struct HeldLock<'a, S> {
    store: &'a S,
    name: &'a str,
    owner: &'a str,
    fence: u64,
    duration: Duration,
    /// Until this time of the clock of this process no other owner can have the lock: it is counted from before the
    /// request.
    until: Instant,
}

impl Run {
    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        let acquire = LockAcquire {
            name: self.name.clone(),
            // No two commands have the same owner, or they would share the lock.
            owner: kv::store::session_name(),
            duration_ms: u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX),
            fence: None,
        };
        let wait = self.wait.unwrap_or(Duration::from_millis(limits::TIMEOUT_MS));
        let mut signals = Signals::new()?;
        let mut program = Program::new(self.command, environment).await?;
        let granted = tokio::select! {
            grant = super::lock::acquire_within(store, acquire.clone(), wait) => Ok(grant?.fence),
            signal = signals.end() => Err(signal),
        };
        let LockAcquire { name, owner, .. } = acquire;
        let (outcome, told) = match granted {
            // It may be granted at this moment.
            Err(signal) => (Ok(signals::exit_code(signal)), Some(signal)),
            Ok(fence) => {
                let until = Instant::now() + self.duration / 2;
                let (name, owner, duration) = (&name, &owner, self.duration);
                let mut held = HeldLock { store, name, owner, fence, duration, until };
                match held.run(&mut program, &mut signals).await {
                    Ok((code, told)) => (Ok(code), told),
                    Err(error) => (Err(error), None),
                }
            }
        };
        let releasing = store.lock_release(&name, &owner);
        // A hang-up may have been sent to the command only.
        let told = told.filter(|signal| *signal != Signal::HUP);
        let (released, _) = signals.finish(releasing, told).await;
        let late = || Err(Error::new(Code::Timeout, "the store does not answer"));
        if let Err(error) = released.unwrap_or_else(late)
            && error.code != Code::NotOwner
        {
            output::note(&format!("the lock {name} could not be released, so it expires: {error}"));
        }
        outcome
    }
}

impl<S: Store> HeldLock<'_, S> {
    /// Runs the program, and renews the lock meanwhile. Answers its exit code, and the signal that asked to end.
    async fn run(&mut self, program: &mut Program, signals: &mut Signals) -> Result<(u8, Option<Signal>)> {
        // The time since the grant is not known, so it is renewed at once.
        tokio::select! {
            renewed = self.renew() => renewed.map_err(|error| self.lost(&error))?,
            signal = signals.end() => return Ok((signals::exit_code(signal), Some(signal))),
        }
        let mut command = program.command();
        command.env("KV_LOCK_NAME", self.name).env("KV_LOCK_FENCE", self.fence.to_string());
        let mut child = program.spawn(&mut command).await?;
        tokio::select! {
            ended = program.wait(&mut child, signals) => ended,
            error = self.keep() => {
                child::stop(&mut child).await;
                Err(self.lost(&error).hint("the command was told to end; give the lock a longer --duration, if this host is slow"))
            }
        }
    }

    /// Renews the lock until it is lost, and answers why.
    async fn keep(&mut self) -> Error {
        loop {
            sleep(self.duration / 2).await;
            if let Err(error) = self.renew().await {
                return error;
            }
        }
    }

    /// Renews the lock, repeatedly in the time that is left of it, and then a few times more: only the store knows
    /// whether another owner has the lock, and not the clock of a process that may have been asleep.
    async fn renew(&mut self) -> Result<()> {
        let mut last_tries = 0;
        loop {
            let asked = Instant::now();
            let is_overdue = asked >= self.until;
            let answer_until = if is_overdue { asked + limits::LOCK_ANSWER } else { self.until };
            let refreshed = self.store.lock_refresh(self.name, self.owner, self.fence, self.duration);
            let late = || Err(Error::new(Code::Timeout, "the store does not answer"));
            let error = match timeout_at(answer_until, refreshed).await.unwrap_or_else(|_| late()) {
                Ok(_) => {
                    self.until = asked + self.duration;
                    return Ok(());
                }
                Err(error) if error.code == Code::NotOwner => return Err(error),
                Err(error) => error,
            };
            if !is_overdue {
                sleep((self.duration / 10).min(limits::LOCK_LOOK_MAX)).await;
                continue;
            }
            last_tries += 1;
            if last_tries == limits::LOCK_LAST_TRIES {
                return Err(error);
            }
            sleep(limits::LOCK_LOOK_MAX).await;
        }
    }

    fn lost(&self, error: &Error) -> Error {
        Error::new(Code::Locked, format!("the lock {} was lost: {}", self.name, error.message))
    }
}
