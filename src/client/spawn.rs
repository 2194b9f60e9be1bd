//! How a client starts a daemon and hears that it listens, or why it does not.
//!
//! Connect; else take the start lock, connect again, start the launcher (the daemon's first process), wait for the one
//! line of the daemon, unlock. There is no fork: forking after a runtime has started is unsound.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use rustix::fs::{Access, OFlags};

use crate::environment::variable;
use crate::limits;
use crate::meeting::handover::{Handover, Report};
use crate::meeting::lock_file::{LockFile, open_own};
use crate::meeting::place::Place;
use crate::meeting::presence::is_alive;
use crate::store::{Code, Error, Result};

/// The variables of its caller's environment that a daemon gets: they say where its files are, which language it speaks
/// and how much it logs. Everything else comes by the handover.
const ENVIRONMENT: &[&str] = &[
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "PATH",
    "RUST_LOG",
    "TZ",
    "USER",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// The kv binary that is started as the daemon. A program that uses this library names it: the library never starts the
/// program that it is linked into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    path: PathBuf,
    otherwise: Option<PathBuf>,
}

impl Program {
    /// The kv binary that is at this path when a daemon is started.
    pub fn at(path: impl Into<PathBuf>) -> Program {
        Program { path: path.into(), otherwise: None }
    }

    /// The kv binary that is in the first directory of `PATH` which has one now; without any, `kv` in none, which is told when
    /// it is to be started.
    #[must_use]
    pub fn in_path() -> Program {
        let directories = variable("PATH").unwrap_or_default();
        let mut paths = std::env::split_paths(&directories).map(|directory| directory.join("kv"));
        Program::at(paths.find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("kv")))
    }

    /// Adds a second path, which is used when the first one leads to no program by then: a binary may be replaced while a
    /// client of it runs.
    #[must_use]
    pub fn or(self, path: impl Into<PathBuf>) -> Program {
        Program { otherwise: Some(path.into()), ..self }
    }

    /// The paths that lead to a program now, the preferred one first.
    fn candidates(&self) -> impl Iterator<Item = &Path> {
        let is_program = |path: &&Path| path.is_file() && rustix::fs::access(*path, Access::EXEC_OK).is_ok();
        std::iter::once(&self.path).chain(&self.otherwise).map(PathBuf::as_path).filter(is_program)
    }
}

/// How a daemon is started when none runs.
///
/// ```no_run
/// use kv::Client;
/// use kv::client::{Launch, Program, Target};
/// use kv::meeting::handover::Handover;
/// use kv::meeting::place::Place;
/// use kv::store::{Address, EngineKind, Result};
///
/// async fn open(file: &str) -> Result<Client> {
///     let address = Address::parse(EngineKind::Sqlite, file)?;
///     let place = Place::for_store(&address.identity(), None)?;
///     let handover = Handover {
///         engine: address.kind().as_str().to_owned(),
///         connection: address.connection(),
///         socket: place.socket().to_owned(),
///         idle_timeout_s: 600,
///         log_level: None,
///         started_by: String::new(),
///     };
///     let launch = Launch { program: Program::at("/usr/local/bin/kv"), handover };
///     Client::connect_to(Target { place, address: Some(address), launch: Some(launch) }).await
/// }
/// ```
#[derive(Clone)]
pub struct Launch {
    /// The program that is started.
    pub program: Program,
    /// The handover to it: the store, the socket, and how long it stays.
    pub handover: Handover,
}

/// Makes sure that a daemon listens, and returns the path of its socket. Blocks the thread for up to twice
/// [`limits::START_TIMEOUT`].
///
/// Nothing of this process is changed: neither its descriptors nor its signals.
///
/// # Errors
/// The error that the daemon reports; `unavailable` when it reports nothing in time, when its lock or log cannot be opened,
/// and when there is no kv binary where the launch says.
pub(super) fn start(place: &Place, Launch { program, handover }: &Launch) -> Result<PathBuf> {
    place.ensure()?;
    let deadline = Instant::now() + limits::START_TIMEOUT;
    let lock = loop {
        let lock = LockFile::try_lock(&place.start_lock()).map_err(|error| {
            Error::new(Code::Unavailable, format!("{}: {error}", place.start_lock().display()))
                .hint("check the permissions of its directory")
        })?;
        match lock {
            Some(lock) => break lock,
            // The process that holds the lock starts the daemon that is wanted here.
            None if Instant::now() < deadline => std::thread::sleep(limits::LOCK_FILE_PAUSE),
            None => {
                return Err(no_answer(place, 0, "another command has been starting the daemon for too long"));
            }
        }
    };
    if std::os::unix::net::UnixStream::connect(place.socket()).is_ok() {
        return Ok(place.socket().to_owned());
    }
    let logged_bytes = place.log().metadata().map_or(0, |log| log.len());
    let mut launcher = spawn(place, program, handover)?;
    let answer = wait_for_report(&mut launcher);
    drop(lock);
    if answer.is_none() {
        // It may hang, and would be waited for below for ever; if it has ended, this does nothing.
        let _ = launcher.kill();
    }
    // It ends as soon as the daemon is started, and must not stay as a zombie. In a program that ignores SIGCHLD there are
    // none, and this fails.
    let _ = launcher.wait();
    match answer {
        Some(Report::Ready) => Ok(place.socket().to_owned()),
        Some(Report::ServedAt(socket)) => Ok(socket),
        Some(Report::Error { code, message, hint }) => {
            let mut error = Error::new(Code::from_name(&code).unwrap_or(Code::Unavailable), message);
            error.hint = hint;
            Err(error)
        }
        None if is_alive(place) => Ok(place.socket().to_owned()),
        None => {
            let what = format!("the daemon did not start: {} said nothing", program.path.display());
            Err(no_answer(place, logged_bytes, &what))
        }
    }
}

/// Starts the launcher and sends it the handover.
fn spawn(place: &Place, program: &Program, handover: &Handover) -> Result<Child> {
    let failed = |what: String| Error::new(Code::Unavailable, what).hint("try: kv daemon run");
    let log = open_own(&place.log(), OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)
        .map_err(|error| failed(format!("{} cannot be opened: {error}", place.log().display())))?;
    let mut launcher = None;
    for path in program.candidates() {
        let log = log.try_clone().map_err(|error| failed(format!("the log cannot be passed on: {error}")))?;
        let mut command = Command::new(path);
        command
            .args(["daemon", "run", "--spawned"])
            .env_clear()
            .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, variable(name)?))))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let spawned =
            command.spawn().map_err(|error| failed(format!("{} cannot be started: {error}", path.display())));
        let is_started = spawned.is_ok();
        launcher = Some(spawned);
        if is_started {
            break;
        }
    }
    let mut launcher = launcher.unwrap_or_else(|| Err(no_program(program)))?;
    if let Some(mut stdin) = launcher.stdin.take() {
        let handover = Handover { started_by: this_process(), ..handover.clone() };
        let line = serde_json::to_string(&handover).unwrap_or_default();
        // If it has ended already, no report comes, which is noticed.
        let _ = writeln!(stdin, "{line}");
    }
    Ok(launcher)
}

/// The error when no path of a program leads to one.
fn no_program(program: &Program) -> Error {
    let mut error =
        Error::new(Code::Unavailable, format!("there is no program at {}", program.path.display()));
    error.retry = false;
    error.hint("kv starts its daemon from there: install kv, or start one first with: kv daemon start")
}

/// This process as the log of the daemon names it, without its arguments: they may hold secrets.
fn this_process() -> String {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let name = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
    format!("{name}, process {} of user {}", std::process::id(), rustix::process::getuid().as_raw())
}

/// The report of the daemon; none when it reported nothing within [`limits::START_TIMEOUT`].
fn wait_for_report(launcher: &mut Child) -> Option<Report> {
    let stdout = launcher.stdout.take()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout.take(limits::HANDOVER_BYTES)).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(limits::START_TIMEOUT).ok()?;
    serde_json::from_str(&line).ok()
}

/// The error when no daemon answered, with the last lines that were logged behind the first `logged_bytes` bytes.
fn no_answer(place: &Place, logged_bytes: u64, what: &str) -> Error {
    let log = place.log();
    let mut text = Vec::new();
    if let Ok(mut file) = open_own(&log, OFlags::RDONLY) {
        // The log may have been started anew in the meantime.
        let behind = file.metadata().map_or(0, |log| if log.len() < logged_bytes { 0 } else { logged_bytes });
        let _ = file
            .seek(SeekFrom::Start(behind))
            .and_then(|_| file.take(limits::LOG_BYTES).read_to_end(&mut text));
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(limits::LOG_LINES_TOLD)..].join("\n");
    let last = if last.is_empty() { String::new() } else { format!(":\n{last}") };
    Error::new(Code::Unavailable, format!("{what}{last}")).hint(format!("its log is {}", log.display()))
}
