//! `kv daemon`

mod list;
mod serve;
mod signals;

use kv::client::Client;
use kv::protocol::Status;
use kv::store::{Code, Error, Result};

pub(super) use self::list::List;
use super::arguments::{DaemonCommand, StoreArguments};
use super::{connect, output};

/// Runs `kv daemon …`.
pub(super) fn run(arguments: &StoreArguments, command: DaemonCommand) -> Result<()> {
    match command {
        DaemonCommand::Run { spawned: true, launched: true, .. } => serve::as_spawned(),
        DaemonCommand::Run { spawned: true, launched: false, .. } => serve::launch(),
        DaemonCommand::Run { spawned: false, socket_group, .. } => {
            serve::in_foreground(arguments, socket_group.as_deref())
        }
        DaemonCommand::Start => connect::block_on(start(arguments)),
        DaemonCommand::Stop { all: true } => connect::block_on(list::stop_all()),
        DaemonCommand::Stop { all: false } => connect::block_on(stop(arguments)),
        DaemonCommand::Restart => connect::block_on(restart(arguments)),
        DaemonCommand::Status => connect::block_on(status(arguments)),
        DaemonCommand::List(list) => connect::block_on(list.run()),
        DaemonCommand::Logs(logs) => connect::block_on(logs.run(arguments)),
    }
}

async fn start(arguments: &StoreArguments) -> Result<()> {
    let client = Client::connect_to(connect::starting(arguments)?).await?;
    connect::note_owner(&connect::address(arguments)?, Some(&client));
    Ok(())
}

async fn stop(arguments: &StoreArguments) -> Result<()> {
    match Client::find(connect::running(arguments)?).await? {
        Some(client) => {
            // An older daemon, or one that is just ending, does not tell who is connected.
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

async fn restart(arguments: &StoreArguments) -> Result<()> {
    if let Some(client) = Client::find(connect::running(arguments)?).await? {
        let hello = client.hello();
        if !hello.spawned {
            let message = format!("the daemon, process {}, was not started by a command", hello.pid);
            return Err(Error::new(Code::Unsupported, message)
                .hint("restart it where it runs, or end it with: kv daemon stop"));
        }
        client.end_daemon().await?;
    }
    start(arguments).await
}

async fn status(arguments: &StoreArguments) -> Result<()> {
    let client = Client::connect_to(connect::running(arguments)?).await?;
    output::print_document(&client.status().await?)
}

/// Tells who was connected to a daemon that was ended, because such a command goes on and needs the next one.
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
