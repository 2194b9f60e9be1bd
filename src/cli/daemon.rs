//! `kv daemon`

mod signals;

use std::path::{Path, PathBuf};
use std::time::Duration;

use kv::client::Client;
use kv::daemon::instance::Instance;
use kv::daemon::place::Place;
use kv::daemon::spawn::{self, Handover, Report};
use kv::daemon::store_lock::StoreLock;
use kv::daemon::{self, Config, launch, log};
use kv::store::{Address, Clock, Code, EngineKind, Error, Result};
use tokio_util::sync::CancellationToken;

use super::arguments::{DaemonCommand, StoreArguments};
use super::{connect, output};

/// Runs `kv daemon …`.
pub(super) fn run(arguments: &StoreArguments, command: DaemonCommand) -> Result<()> {
    match command {
        DaemonCommand::Run { spawned: true, launched: true, .. } => tell_failure(run_spawned()),
        DaemonCommand::Run { spawned: true, launched: false, .. } => {
            tell_failure(launch::launch(&["daemon", "run", "--spawned", "--launched"]))
        }
        DaemonCommand::Run { spawned: false, socket_group, .. } => {
            let place = match socket_group {
                Some(group) => connect::group_place(arguments, &group)?,
                None => connect::place(arguments)?,
            };
            serve(&place, &connect::handover(arguments)?, false, &|report| match report {
                Report::Ready => output::note("kv serves the store; end it with Ctrl-C"),
                Report::ServedAt(_) | Report::Error { .. } => {}
            })
        }
        DaemonCommand::Start => connect::block_on(start(arguments)),
        DaemonCommand::Stop => connect::block_on(stop(arguments)),
        DaemonCommand::Restart => connect::block_on(restart(arguments)),
        DaemonCommand::Status => connect::block_on(status(arguments)),
        DaemonCommand::Logs(logs) => connect::block_on(logs.run(arguments)),
    }
}

/// A daemon that another command started: orders come by stdin, the first answer goes to stdout.
fn run_spawned() -> Result<()> {
    let handover = spawn::receive()?;
    // Nothing is known of the place but its socket; who started this daemon has made its directory ready.
    serve(&Place::at(&handover.socket)?, &handover, true, &spawn::report)
}

/// Tells the one who started this process why there is no daemon.
fn tell_failure(outcome: Result<()>) -> Result<()> {
    if let Err(error) = &outcome {
        spawn::report(&Report::Error {
            code: error.code.as_str().to_owned(),
            message: error.message.clone(),
            hint: error.hint.clone(),
        });
    }
    outcome
}

fn serve(place: &Place, handover: &Handover, spawned: bool, report: &dyn Fn(&Report)) -> Result<()> {
    log::begin(spawned.then(|| place.log()));
    let kind = EngineKind::from_name(&handover.engine)
        .ok_or_else(|| Error::new(Code::BadRequest, format!("there is no engine {:?}", handover.engine)))?;
    let address = Address::parse(kind, &handover.connection)?;
    actix_rt::System::new().block_on(async {
        super::signals::survive_file_size_limit()?;
        // Whoever waits for the daemon is told why there cannot be one, and nothing is left beside another program's file.
        address.check().await?;
        let served = |socket: PathBuf| {
            report(&Report::ServedAt(socket.clone()));
            // For who spawned this one, the other is as good.
            if spawned { Ok(()) } else { Err(served_at(&socket)) }
        };
        // Before the socket, so that a daemon that lost the same one can bind it anew.
        let store_lock = StoreLock::new(address.exclusive_file(), place.socket());
        if let Some(socket) = store_lock.claim() {
            return served(socket);
        }
        let Some((instance, listener)) = Instance::acquire(place)? else {
            return served(place.socket().to_owned());
        };
        let stop = CancellationToken::new();
        signals::obey(&stop, spawned)?;
        if spawned {
            tracing::info!(by = handover.started_by, "started");
        }
        report(&Report::Ready);
        let idle_timeout = Duration::from_secs(handover.idle_timeout_s);
        let config = Config {
            address,
            clock: Clock::System,
            spawned,
            idle_timeout: (!idle_timeout.is_zero()).then_some(idle_timeout),
        };
        daemon::run(config, listener, Some(instance), store_lock, stop).await;
        Ok(())
    })
}

fn served_at(socket: &Path) -> Error {
    Error::new(Code::Unavailable, format!("another daemon serves this store at {}", socket.display()))
        .hint("end it with: kv daemon stop")
}

async fn start(arguments: &StoreArguments) -> Result<()> {
    let client = Client::connect_to(connect::starting(arguments)?).await?;
    connect::note_owner(&connect::address(arguments)?, Some(&client));
    Ok(())
}

async fn stop(arguments: &StoreArguments) -> Result<()> {
    match Client::find(connect::running(arguments)?).await? {
        Some(client) => client.end_daemon().await,
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
