//! `kv lock`

use clap::{Args, Subcommand};
use kv::store::{LockAcquire, LockRelease, Reply, Result, Store, Write, WriteOperation};

use super::WriteCommand;
use super::arguments::ListFormat;
use super::output::{self, LockView};

#[derive(Debug, Subcommand)]
pub(super) enum Lock {
    /// Acquire a lock, or refresh it, and print its fencing token and expiry
    Acquire(Acquire),
    /// Give a lock back
    Release(Release),
    /// Print who holds a lock
    Status {
        /// Lock
        name: String,
    },
    /// Print the locks that are held
    List {
        /// Only locks whose name starts with this
        #[arg(long, default_value = "", value_name = "PREFIX")]
        prefix: String,
        /// How locks are printed
        #[arg(long, default_value = "json", value_name = "FORMAT")]
        output: ListFormat,
    },
}

#[derive(Debug, Args)]
pub(super) struct Acquire {
    /// Lock
    name: String,
    /// Who wants it
    owner: String,
    /// For how long: 10m, 1h30m, 1.5h, 500ms
    #[arg(long, default_value = "10m", allow_hyphen_values = true, value_parser = duration_ms)]
    duration: u64,
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// Lock
    name: String,
    /// Who acquired it
    owner: String,
}

/// Reads a duration as Go writes it, to milliseconds.
fn duration_ms(text: &str) -> std::result::Result<u64, String> {
    let form = |error| format!("{error}; durations look like 10m, 1h30m, 1.5h, 500ms");
    let duration: jiff::SignedDuration = text.parse().map_err(form)?;
    u64::try_from(duration.as_millis())
        .ok()
        .filter(|&duration_ms| duration_ms > 0)
        .ok_or_else(|| "a lock is held for at least 1ms".to_owned())
}

impl Lock {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        match self {
            Lock::Acquire(acquire) => Some(acquire),
            Lock::Release(release) => Some(release),
            Lock::Status { .. } | Lock::List { .. } => None,
        }
    }

    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        match self {
            Lock::Status { name } => match store.lock_status(&name).await? {
                Some(lock) => output::print_items(&[LockView::held(&lock)], false),
                None => output::print_items(&[LockView::free(&name)], false),
            },
            Lock::List { prefix, output } => {
                let locks = store.lock_list(&prefix).await?;
                let views: Vec<_> = locks.iter().map(LockView::held).collect();
                output::print_items(&views, output == ListFormat::Json)
            }
            Lock::Acquire(_) | Lock::Release(_) => Ok(()),
        }
    }
}

impl WriteCommand for Acquire {
    fn write(&self) -> Result<Write> {
        let (name, owner) = (self.name.clone(), self.owner.clone());
        Ok(WriteOperation::LockAcquire(LockAcquire { name, owner, duration_ms: self.duration }).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let Reply::Granted(grant) = reply else { return Ok(()) };
        let lock = kv::store::Lock {
            name: self.name.clone(),
            owner: self.owner.clone(),
            fence: grant.fence,
            expires: grant.expires,
        };
        output::print_items(&[LockView::held(&lock)], false)
    }
}

impl WriteCommand for Release {
    fn write(&self) -> Result<Write> {
        let (name, owner) = (self.name.clone(), self.owner.clone());
        Ok(WriteOperation::LockRelease(LockRelease { name, owner }).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        if let Reply::Released { released: false } = reply {
            output::note("the lock was free");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, expected_ms) in
            [("10m", 600_000), ("1h30m", 5_400_000), ("1.5h", 5_400_000), ("500ms", 500), ("1m0.5s", 60_500)]
        {
            assert_eq!(duration_ms(text), Ok(expected_ms), "{text}");
        }
        for text in ["", "10", "-1s", "0s", "1us", "ten minutes", "1h ago"] {
            assert!(duration_ms(text).is_err(), "{text}");
        }
    }
}
