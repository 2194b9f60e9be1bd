//! `kv daemon run`, in the foreground and as started by another command.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use kv::client::{Client, Target};
use kv::daemon::activation::Activation;
use kv::daemon::instance::Instance;
use kv::daemon::log::{self, LogFormat, LogSettings};
use kv::daemon::store_lock::StoreLock;
use kv::daemon::supervisor::Supervisor;
use kv::daemon::{self, Config, launch};
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

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Let the members of this group use the daemon too; its socket is then in /run/kv
    #[arg(long, value_name = "GROUP")]
    socket_group: Option<String>,
    /// Log into this file instead of stderr; above 1 MiB it is begun anew, and the one before is FILE.old
    #[arg(long, value_name = "FILE")]
    log_file: Option<PathBuf>,
    /// How a line of the log is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: Format,
    /// Read the handover from stdin, as a daemon that another command has started
    #[arg(long, hide = true, conflicts_with_all = ["socket_group", "log_file", "log_format"])]
    spawned: bool,
    /// The same, started by the launcher
    #[arg(long, hide = true, requires = "spawned")]
    launched: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// Words for people
    Text,
    /// A JSON object
    Json,
}

impl Run {
    /// Whether this process is the launcher of a daemon that another command starts, or that daemon.
    pub(super) fn is_spawned(&self) -> bool {
        self.spawned
    }

    /// Whether this process is a daemon that another command has started.
    pub(super) fn is_launched(&self) -> bool {
        self.launched
    }

    /// How a daemon in the foreground logs.
    ///
    /// # Errors
    /// `unavailable` when the file of the log cannot be written.
    fn log(&self, level: Option<String>) -> Result<LogSettings> {
        let format = match self.log_format {
            Format::Text => LogFormat::Text,
            Format::Json => LogFormat::Json,
        };
        let Some(file) = &self.log_file else { return Ok(LogSettings { file: None, level, format }) };
        let file = std::path::absolute(file)
            .map_err(|error| Error::new(Code::BadRequest, format!("{}: {error}", file.display())))?;
        log::redirect(&file)?;
        Ok(LogSettings { file: Some(file), level, format })
    }
}

/// Serves the store until the daemon is told to end.
pub(super) fn in_foreground(settings: &Settings, run: Run) -> Result<()> {
    // First of all: no thread may run while it removes variables.
    let activation = Activation::take()?;
    let supervisor = Supervisor::of_this_process();
    let mut handover = connect::handover(settings)?;
    let is_asked_for = !matches!(settings.idle_timeout.origin, Origin::Default);
    if !is_asked_for && (activation.is_some() || supervisor.is_some()) {
        // Whoever started it decides when it ends.
        handover.idle_timeout_s = 0;
    }
    let door = match (activation, run.socket_group.as_deref()) {
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
    let log = run.log(handover.log_level.clone())?;
    serve(&door, &handover, supervisor, log, false, &|report| match report {
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
        let place = Place::at(&handover.socket)?;
        let level = handover.log_level.clone();
        let log = LogSettings { file: Some(place.log()), level, ..LogSettings::default() };
        serve(&Door::At(place), &handover, None, log, true, &handover::report)
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
    log: LogSettings,
    spawned: bool,
    report: &dyn Fn(&Report),
) -> Result<()> {
    // Whoever rotates the file of a log says so by HUP.
    let has_file = log.file.is_some();
    log::begin(log);
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
        signals::obey(&stop, has_file)?;
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
