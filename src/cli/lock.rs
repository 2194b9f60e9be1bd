//! `kv lock`

use std::time::Duration;

use clap::{Args, Subcommand};
use kv::limits;
use kv::protocol::LockStateBody;
use kv::store::{Grant, LockAcquire, LockRelease, NameList, Reply, Result, Store, Write, WriteOperation};

use super::environment::Environment;
use super::format::{self, OutputFormat};
use super::output::{self, ListPrinter, NamedBody};
use super::settings::Settings;
use super::{WriteCommand, exit_code, number};

#[derive(Debug, Subcommand)]
pub(super) enum Lock {
    /// Acquire a lock, or refresh it, and print its fencing token and expiry
    Acquire(Acquire),
    /// Release a lock
    Release(Release),
    /// Run a command while a lock is held
    Run(super::lock_run::Run),
    /// Print the owner of a lock
    Status {
        /// Lock
        name: String,
        /// How the lock is printed (default: a table on a terminal, otherwise json)
        #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::one_of(format::REPORT))]
        output: Option<OutputFormat>,
    },
    /// Print the locks that are held
    List {
        /// Only locks whose name starts with this
        #[arg(long, default_value = "", value_name = "PREFIX")]
        prefix: String,
        /// How locks are printed (default: a table on a terminal, otherwise json)
        #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::one_of(format::NAMES))]
        output: Option<OutputFormat>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Acquire {
    /// Lock
    name: String,
    /// Owner of the lock
    owner: String,
    /// For how long, as 10m, 1h30m, 1.5h or 500ms
    #[arg(long, value_name = "TIME", default_value = "10m", allow_hyphen_values = true, value_parser = super::duration::lock)]
    duration: Duration,
    /// How long to wait while another owner holds it, as 10s or 1h
    #[arg(long, value_name = "TIME", default_value = "0s", allow_hyphen_values = true, value_parser = super::duration::wait)]
    wait: Duration,
    /// Only refresh the grant with this fence, even after it has expired
    #[arg(long, conflicts_with = "wait", value_parser = number::count)]
    fence: Option<u64>,
    /// How the lock is printed (default: a table on a terminal, otherwise json)
    #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::one_of(format::REPORT))]
    output: Option<OutputFormat>,
}

impl Acquire {
    fn acquire(&self) -> LockAcquire {
        LockAcquire { fence: self.fence, ..LockAcquire::new(&self.name, &self.owner, self.duration) }
    }
}

#[derive(Debug, Args)]
pub(super) struct Release {
    /// Lock
    name: String,
    /// Owner that acquired it
    owner: String,
}

/// Acquires a lock. After [`limits::TELL_AFTER`] stderr names the owner that holds it, or says why nobody can tell.
pub(super) async fn acquire_within(
    store: &impl Store,
    acquire: LockAcquire,
    wait: Duration,
) -> Result<Grant> {
    let name = acquire.name.clone();
    let waiting = async {
        match store.lock_status(&name).await {
            Ok(lock) => {
                let lock = lock?;
                Some(format!("waiting for {name}, which {} holds until {}", lock.owner, lock.expires))
            }
            Err(error) => Some(format!("waiting for {name}: {} ({})", error.message, error.code)),
        }
    };
    tokio::select! {
        granted = store.lock_acquire_within(acquire, wait) => granted,
        never = tell_of_a_wait(waiting) => never,
    }
}

/// Reports a long wait on stderr; never ends by itself.
pub(super) async fn tell_of_a_wait<T>(text: impl Future<Output = Option<String>>) -> T {
    tokio::time::sleep(limits::TELL_AFTER).await;
    if let Some(text) = text.await {
        output::note(&text);
    }
    std::future::pending().await
}

impl Lock {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        match self {
            Lock::Acquire(acquire) if acquire.wait.is_zero() => Some(acquire),
            Lock::Release(release) => Some(release),
            _ => None,
        }
    }

    pub(super) async fn run(self, store: &impl Store, settings: &Settings) -> Result<u8> {
        let printed = match self {
            Lock::Status { name, output } => match store.lock_status(&name).await? {
                Some(lock) => output::print_one(lock, output),
                None if output.unwrap_or_else(OutputFormat::of_listing) == OutputFormat::Table => {
                    output::print_line(&format!("nobody holds {}", output::escaped(&name)))
                }
                None => output::print_item(&NamedBody { name, body: LockStateBody::from(None) }),
            },
            Lock::List { prefix, output } => {
                let mut request = Some(NameList { prefix, after: None });
                let printer = ListPrinter::new(output, settings);
                let printed = printer.print(async || {
                    let Some(list) = request.take() else { return Ok(None) };
                    let page = store.locks(list.clone()).await?;
                    request = list.after_page(&page);
                    Ok(Some(page.items))
                });
                printed.await.map(drop)
            }
            Lock::Acquire(acquire) => {
                let grant = acquire_within(store, acquire.acquire(), acquire.wait).await?;
                acquire.print(Reply::Granted(grant))
            }
            Lock::Run(run) => return run.run(store, Environment::new(settings)?).await,
            Lock::Release(_) => Ok(()),
        };
        printed.map(|()| exit_code::OK)
    }
}

impl WriteCommand for Acquire {
    fn write(&self) -> Result<Write> {
        Ok(WriteOperation::LockAcquire(self.acquire()).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let Reply::Granted(grant) = reply else { return Ok(()) };
        output::print_one(kv::store::Lock::new(&self.name, &self.owner, grant), self.output)
    }
}

impl WriteCommand for Release {
    fn write(&self) -> Result<Write> {
        Ok(WriteOperation::LockRelease(LockRelease::new(&self.name, &self.owner)).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        if let Reply::Released { released: false } = reply {
            output::note("the lock was free");
        }
        Ok(())
    }
}
