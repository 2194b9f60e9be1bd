//! `kv daemon`

mod list;
mod metrics;
mod serve;
mod service;
mod signals;
mod status;

use clap::Subcommand;
use kv::client::Client;
use kv::meeting::place::is_system;
use kv::protocol::Status;
use kv::store::{Code, Error, Result};

use self::list::List;
use self::serve::Run;
use self::service::{Install, Uninstall};
use self::status::StatusArguments;
use super::arguments::StoreArguments;
use super::logs::Logs;
use super::settings::Settings;
use super::{connect, hint, output};

#[derive(Debug, Subcommand)]
pub(super) enum Daemon {
    /// Serve the store in the foreground, in place of a daemon that a command started
    Run(Run),
    /// Start the daemon in the background, unless it runs already
    Start,
    /// End the daemon, and wait until its process has ended
    Stop {
        /// End all daemons of this user, whatever store they serve, and list them
        #[arg(long)]
        all: bool,
    },
    /// End the daemon that a command started, if there is one, and start the next one
    Restart,
    /// Show the daemon of the store: its clients, requests, commits and subscriptions
    Status(StatusArguments),
    /// Print the same figures in the text format of Prometheus
    Metrics,
    /// Show all daemons of this user, whatever store they serve
    List(List),
    /// Print the log of the daemon that a command started
    Logs(Logs),
    /// Let systemd run the daemon: write, enable and start the units of a service for the store
    Install(Install),
    /// Remove that service, and keep the store
    Uninstall(Uninstall),
}

impl Daemon {
    pub(super) fn run(self, arguments: &StoreArguments) -> Result<()> {
        match self {
            // Not all need a store: what a spawned daemon needs comes by the handover.
            Daemon::Run(run) if run.is_launched() => serve::as_spawned(),
            Daemon::Run(run) if run.is_spawned() => serve::launch(),
            Daemon::Stop { all: true } => connect::block_on(list::stop_all()),
            Daemon::List(list) => {
                // It is about every store, so settings that cannot be used do not matter.
                if let Ok(settings) = Settings::resolve(arguments) {
                    output::use_color(settings.color.value);
                }
                connect::block_on(list.run())
            }
            Daemon::Uninstall(uninstall) => uninstall.run(),
            command => {
                let settings = Settings::resolve(arguments)?;
                output::use_color(settings.color.value);
                command.run_for(&settings).map_err(|error| hint::for_store(error, &settings))
            }
        }
    }

    /// Runs a command for the daemon of the store that the settings name.
    fn run_for(self, settings: &Settings) -> Result<()> {
        match self {
            Daemon::Run(run) => serve::in_foreground(settings, run),
            Daemon::Start => connect::block_on(start(settings)),
            Daemon::Stop { .. } => connect::block_on(stop(settings)),
            Daemon::Restart => connect::block_on(restart(settings)),
            Daemon::Status(status) => connect::block_on(status.run(settings)),
            Daemon::Metrics => connect::block_on(metrics::run(settings)),
            Daemon::Logs(logs) => connect::block_on(logs.run(settings)),
            Daemon::Install(install) => install.run(settings),
            Daemon::List(_) | Daemon::Uninstall(_) => Ok(()),
        }
    }
}

async fn start(settings: &Settings) -> Result<()> {
    let client = Client::connect_to(connect::starting(settings)?).await?;
    connect::note_owner(&connect::address(settings)?, Some(&client));
    Ok(())
}

async fn stop(settings: &Settings) -> Result<()> {
    match Client::find(connect::running(settings)?).await? {
        Some(client) => {
            check_unmanaged(&client, "stop")?;
            // An older daemon, or one that is just ending, does not tell which processes are connected.
            let status = client.status().await;
            client.end_daemon().await?;
            status.iter().for_each(followers_note);
            Ok(())
        }
        None => {
            output::note("no daemon runs");
            Ok(())
        }
    }
}

async fn restart(settings: &Settings) -> Result<()> {
    if let Some(client) = Client::find(connect::running(settings)?).await? {
        check_unmanaged(&client, "restart")?;
        let hello = client.hello();
        if !hello.spawned {
            let message = format!("the daemon, process {}, was not started by a command", hello.pid);
            return Err(Error::new(Code::Unsupported, message)
                .hint("restart it where it runs, or end it with: kv daemon stop"));
        }
        client.end_daemon().await?;
    }
    start(settings).await
}

/// Checks that systemd does not run a daemon: it would start the next one at once.
///
/// # Errors
/// `unsupported`, with the command that does `what` is wanted.
fn check_unmanaged(client: &Client, what: &str) -> Result<()> {
    let hello = client.hello();
    let Some(unit) = &hello.unit else { return Ok(()) };
    let scope = if is_system(&client.socket()) { "sudo systemctl" } else { "systemctl --user" };
    // While its socket is there, the next command would start it.
    let socket =
        unit.strip_suffix(".service").filter(|_| what == "stop").map(|name| format!("{name}.socket "));
    let socket = socket.unwrap_or_default();
    Err(Error::new(Code::Unsupported, format!("systemd runs the daemon, process {}, as {unit}", hello.pid))
        .hint(format!("{scope} {what} {socket}{unit}")))
}

/// Names the processes that were connected to a daemon that was ended: a command that goes on starts the next daemon.
fn followers_note(status: &Status) {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let others = status.processes.iter().filter(|pid| **pid != own);
    let names: Vec<String> = others
        .map(|pid| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("process {pid} {}", name.trim()).trim_end().to_owned()
        })
        .collect();
    if !names.is_empty() {
        output::note(&format!(
            "still connected were {}: a kv command that goes on, such as watch or lock run, starts the next daemon",
            names.join(", ")
        ));
    }
}
