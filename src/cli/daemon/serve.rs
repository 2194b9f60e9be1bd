//! `kv daemon run`, in the foreground and as started by another command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kv::client::{Client, Target};
use kv::daemon::activation::Activation;
use kv::daemon::instance::Instance;
use kv::daemon::store_lock::StoreLock;
use kv::daemon::supervisor::Supervisor;
use kv::daemon::{self, Config, launch, log};
use kv::limits;
use kv::meeting::handover::{self, Handover, Report};
use kv::meeting::place::Place;
use kv::store::{Address, Clock, Code, EngineKind, Error, Result};
use tikv_jemalloc_ctl::{Access as _, AsName as _};
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::super::arguments::usage;
use super::super::settings::{Origin, Settings};
use super::super::signals::survive_file_size_limit;
use super::{connect, output, signals};

/// Serves the store until the daemon is told to end.
pub(super) fn in_foreground(settings: &Settings, socket_group: Option<&str>) -> Result<()> {
    // First of all: no thread may run while it removes variables.
    let activation = Activation::take()?;
    let supervisor = Supervisor::of_this_process();
    let mut handover = connect::handover(settings)?;
    let is_asked_for = !matches!(settings.idle_timeout.origin, Origin::Default);
    if !is_asked_for && (activation.is_some() || supervisor.is_some()) {
        // Whoever started it decides when it ends.
        handover.idle_timeout_s = 0;
    }
    let door = match (activation, socket_group) {
        (Some(_), Some(_)) => {
            return Err(usage(
                "the socket comes from the service manager, and --socket-group is for one that kv makes",
                "leave it out, and set SocketGroup= in the socket unit",
            ));
        }
        (Some(activation), None) => Door::Activated(activation),
        (None, Some(group)) => Door::At(connect::group_place(settings, group)?),
        (None, None) => Door::At(connect::place(settings)?),
    };
    let end = if supervisor.is_some() { "" } else { "; end it with Ctrl-C" };
    serve(&door, &handover, supervisor, false, &|report| match report {
        Report::Ready => output::note(&format!("kv serves the store{end}")),
        Report::ServedAt(_) | Report::Error { .. } => {}
    })
}

/// Where a daemon listens.
enum Door {
    /// At a socket that it binds itself.
    At(Place),
    /// At a socket on which a service manager listens for it.
    Activated(Activation),
}

impl Door {
    fn socket(&self) -> &Path {
        match self {
            Door::At(place) => place.socket(),
            Door::Activated(activation) => activation.socket(),
        }
    }
}

/// Runs the launcher of a daemon that another command starts.
pub(super) fn launch() -> Result<()> {
    tell_failure(launch::launch(&["daemon", "run", "--spawned", "--launched"]))
}

/// Runs a daemon that another command has started: the handover comes on stdin, the report goes to stdout.
pub(super) fn as_spawned() -> Result<()> {
    tell_failure(handover::receive().and_then(|handover| {
        // Only the socket of the place is known; the command that started this daemon has prepared its directory.
        serve(&Door::At(Place::at(&handover.socket)?), &handover, None, true, &handover::report)
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

fn serve(
    door: &Door,
    handover: &Handover,
    supervisor: Option<Supervisor>,
    spawned: bool,
    report: &dyn Fn(&Report),
) -> Result<()> {
    log::begin(match door {
        Door::At(place) if spawned => Some(place.log()),
        _ => None,
    });
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
        let Claim { instance, listener, store_lock } = match claim(door, &address)? {
            Ok(claim) => claim,
            Err(socket) if spawned => {
                // The command that started this daemon can use the other one as well.
                report(&Report::ServedAt(socket));
                return Ok(());
            }
            Err(socket) => take_over(door, &address, socket).await?,
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
            supervisor,
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
fn claim(door: &Door, address: &Address) -> Result<std::result::Result<Claim, PathBuf>> {
    // Taken before the socket, so that a daemon that has lost that socket can bind it again.
    let store_lock = StoreLock::new(address.exclusive_file(), door.socket());
    if let Door::Activated(activation) = door {
        // Its path in the lock file is that of this daemon's own socket, as the one before has left it.
        store_lock.listens_at(activation.socket());
    }
    if let Some(socket) = store_lock.claim() {
        return Ok(Err(socket));
    }
    let claimed = match door {
        Door::At(place) => Instance::acquire(place)?,
        Door::Activated(activation) => Some(Instance::behind(activation)?),
    };
    Ok(match claimed {
        Some((instance, listener)) => Ok(Claim { instance, listener, store_lock }),
        None => Err(door.socket().to_owned()),
    })
}

/// Ends the daemon that a command has started, and becomes the daemon in its place. Subscribed clients may start
/// another one at that moment, which is ended too.
async fn take_over(door: &Door, address: &Address, mut socket: PathBuf) -> Result<Claim> {
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
        match claim(door, address)? {
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
