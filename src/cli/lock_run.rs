//! `kv lock run`: a command that runs while a lock is held.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use kv::limits;
use kv::store::{Code, Error, Fence, LockAcquire, LockGuard, Result, Store};
use rustix::process::Signal;

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

impl Run {
    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        // No two commands have the same owner, or they would share the lock.
        let acquire = LockAcquire::new(&self.name, kv::store::session_name(), self.duration);
        let wait = self.wait.unwrap_or(Duration::from_millis(limits::TIMEOUT_MS));
        let mut signals = Signals::new()?;
        let mut program = Program::new(self.command, environment).await?;
        let granted = tokio::select! {
            grant = super::lock::acquire_within(store, acquire.clone(), wait) => Ok(grant?),
            signal = signals.end() => Err(signal),
        };
        let LockAcquire { name, owner, .. } = acquire;
        let (outcome, told) = match granted {
            // It may be granted at this moment.
            Err(signal) => (Ok(signals::exit_code(signal)), Some(signal)),
            Ok(grant) => {
                let mut lock = LockGuard::granted(store, name.clone(), owner.clone(), grant, self.duration);
                match hold(&mut lock, &mut program, &mut signals).await {
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

/// Runs the program, and renews the lock meanwhile. Answers its exit code, and the signal that asked to end.
async fn hold(
    lock: &mut LockGuard<'_, impl Store>,
    program: &mut Program,
    signals: &mut Signals,
) -> Result<(u8, Option<Signal>)> {
    // The time since the grant is not known, so it is renewed at once.
    let renewed = tokio::select! {
        renewed = lock.renew() => renewed,
        signal = signals.end() => return Ok((signals::exit_code(signal), Some(signal))),
    };
    renewed.map_err(|error| lock.loss(&error))?;
    let Fence { lock: name, token } = lock.fence();
    let mut command = program.command();
    command.env("KV_LOCK_NAME", name).env("KV_LOCK_FENCE", token.to_string());
    let mut child = program.spawn(&mut command).await?;
    tokio::select! {
        ended = program.wait(&mut child, signals) => ended,
        error = lock.lost() => {
            child::stop(&mut child).await;
            Err(error.hint("the command was told to end; give the lock a longer --duration, if this host is slow"))
        }
    }
}
