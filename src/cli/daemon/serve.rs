//! `kv daemon run`, in the foreground and as started by another command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kv::client::{Client, Target};
use kv::daemon::instance::Instance;
use kv::daemon::store_lock::StoreLock;
use kv::daemon::{self, Config, launch, log};
use kv::limits;
use kv::meeting::handover::{self, Handover, Report};
use kv::meeting::place::Place;
use kv::store::{Address, Clock, Code, EngineKind, Error, Result};
use tikv_jemalloc_ctl::{Access as _, AsName as _};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::super::settings::Settings;
use super::super::signals::survive_file_size_limit;
use super::{connect, output, signals};

/// Serves the store until the daemon is told to end.
pub(super) fn in_foreground(settings: &Settings, socket_group: Option<&str>) -> Result<()> {
    let place = match socket_group {
        Some(group) => connect::group_place(settings, group)?,
        None => connect::place(settings)?,
    };
    serve(&place, &connect::handover(settings)?, false, &|report| match report {
        Report::Ready => output::note("kv serves the store; end it with Ctrl-C"),
        Report::ServedAt(_) | Report::Error { .. } => {}
    })
}

/// Runs the launcher of a daemon that another command starts.
pub(super) fn launch() -> Result<()> {
    tell_failure(launch::launch(&["daemon", "run", "--spawned", "--launched"]))
}

/// Runs a daemon that another command has started: the handover comes on stdin, the report goes to stdout.
pub(super) fn as_spawned() -> Result<()> {
    tell_failure(handover::receive().and_then(|handover| {
        // Only the socket of the place is known; the command that started this daemon has prepared its directory.
        serve(&Place::at(&handover.socket)?, &handover, true, &handover::report)
    }))
}

/// Reports to the process that started this one why there is no daemon.
fn tell_failure(outcome: Result<()>) -> Result<()> {
    if let Err(error) = &outcome {
        handover::report(&Report::Error {
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
    if let Err(error) = give_memory_back() {
        tracing::debug!(%error, "memory is given back late, and by requests only");
    }
    daemon::block_on(async {
        survive_file_size_limit()?;
        // The command that waits for the daemon is told why there cannot be one, and no lock file is left beside the
        // file of another program.
        address.check().await?;
        let Claim { instance, listener, store_lock } = match claim(place, &address)? {
            Ok(claim) => claim,
            Err(socket) if spawned => {
                // The command that started this daemon can use the other one as well.
                report(&Report::ServedAt(socket));
                return Ok(());
            }
            Err(socket) => take_over(place, &address, socket).await?,
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

/// Makes free memory return to the system soon, and without requests.
fn give_memory_back() -> tikv_jemalloc_ctl::Result<()> {
    // The arena that there is, and those that come.
    for kept in ["arena.0.dirty_decay_ms\0", "arenas.dirty_decay_ms\0"] {
        kept.name().write(limits::MEMORY_KEPT_MS)?;
    }
    tikv_jemalloc_ctl::background_thread::write(true)
}

/// The locks that make this process the daemon of its store.
struct Claim {
    instance: Instance,
    listener: UnixListener,
    store_lock: StoreLock,
}

/// Becomes the daemon of a store, or answers the socket of the daemon that serves it.
fn claim(place: &Place, address: &Address) -> Result<std::result::Result<Claim, PathBuf>> {
    // Taken before the socket, so that a daemon that has lost that socket can bind it again.
    let store_lock = StoreLock::new(address.exclusive_file(), place.socket());
    if let Some(socket) = store_lock.claim() {
        return Ok(Err(socket));
    }
    Ok(match Instance::acquire(place)? {
        Some((instance, listener)) => Ok(Claim { instance, listener, store_lock }),
        None => Err(place.socket().to_owned()),
    })
}

/// Ends the daemon that a command has started, and becomes the daemon in its place. Subscribed clients may start
/// another one at that moment, which is ended too.
async fn take_over(place: &Place, address: &Address, mut socket: PathBuf) -> Result<Claim> {
    let deadline = Instant::now() + limits::START_TIMEOUT;
    loop {
        let target = Target { place: Place::at(&socket)?, address: None, launch: None };
        match Client::find(target).await? {
            Some(client) if client.hello().spawned => {
                client.end_daemon().await?;
                output::note(&format!(
                    "process {}, a daemon that a command started, was ended",
                    client.hello().pid
                ));
            }
            Some(_) => return Err(served_at(&socket)),
            // It is just ending, or starting.
            None => tokio::time::sleep(limits::DRAIN_PAUSE).await,
        }
        match claim(place, address)? {
            Ok(claim) => return Ok(claim),
            Err(next) if Instant::now() < deadline => socket = next,
            Err(next) => return Err(served_at(&next)),
        }
    }
}

fn served_at(socket: &Path) -> Error {
    Error::new(Code::Unavailable, format!("another daemon serves this store at {}", socket.display()))
        .hint("end it with: kv daemon stop")
}
