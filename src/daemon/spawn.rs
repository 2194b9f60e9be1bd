//! How a client starts a daemon and hears "ready", or why not.
//!
//! Connect; else take the start lock, connect again, spawn the same binary, wait for its one line, unlock. There is
//! no fork: forking after a runtime has started is unsound.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use super::instance;
use super::lock_file::{LockFile, open_own};
use super::place::Place;
use crate::environment::variable;
use crate::limits;
use crate::store::{Code, Error, Result};

/// What the daemon may know of the environment of whoever happened to start it: where things are, the language and
/// the level of its log. Everything else comes by the handover.
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

/// What a spawned daemon is to do. It travels over stdin, never in argv, where everybody could read it.
///
/// It has no `Debug`: the connection string may hold a password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handover {
    /// The kind of engine.
    pub engine: String,
    /// The connection string, with absolute paths: the daemon runs in `/`.
    pub connection: String,
    /// Where to listen.
    pub socket: PathBuf,
    /// The bound without connections after which it ends, in seconds; 0 = never.
    pub idle_timeout_s: u64,
}

/// What the daemon answers over its stdout: one line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// It listens.
    Ready,
    /// It cannot.
    Error {
        /// The code of the error.
        code: String,
        /// The message for people.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Another daemon serves this store there.
    ServedAt(PathBuf),
}

/// The child's side: leaves the terminal's session and its directory, and reads what is to be done.
///
/// # Errors
/// `bad_request` when stdin holds no handover.
pub fn receive() -> Result<Handover> {
    let failed =
        |reason: String| Error::new(Code::BadRequest, format!("this is no spawned daemon: {reason}"));
    // It fails for a process group leader, which a spawned child is not.
    rustix::process::setsid().map_err(|error| failed(format!("setsid: {error}")))?;
    std::env::set_current_dir("/").map_err(|error| failed(error.to_string()))?;
    let mut line = String::new();
    let stdin = std::io::stdin().lock();
    stdin.take(limits::HANDOVER_BYTES).read_line(&mut line).map_err(|error| failed(error.to_string()))?;
    // serde's own words may quote the line.
    serde_json::from_str(&line).map_err(|_| failed("stdin holds no handover".to_owned()))
}

/// The child's side: tells the one who started it, and lets go of the pipes.
pub fn report(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    let mut stdout = std::io::stdout();
    // Whoever started the daemon may be gone; it goes on without them.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}

/// Makes sure that a daemon listens, and answers where. Blocks the thread.
///
/// # Errors
/// What kept the daemon from starting.
pub fn start(place: &Place, handover: &Handover) -> Result<PathBuf> {
    place.ensure()?;
    let deadline = Instant::now() + limits::START_TIMEOUT;
    let lock = loop {
        let lock = LockFile::try_lock(&place.start_lock()).map_err(|error| {
            Error::new(Code::Unavailable, format!("{}: {error}", place.start_lock().display()))
                .hint("check the permissions of its directory")
        })?;
        match lock {
            Some(lock) => break lock,
            // Whoever holds the lock starts the daemon that we want.
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => {
                return Err(no_answer(place, "another command has been starting the daemon for too long"));
            }
        }
    };
    if std::os::unix::net::UnixStream::connect(place.socket()).is_ok() {
        return Ok(place.socket().to_owned());
    }
    let mut child = spawn(place, handover)?;
    let answer = wait_for_report(&mut child);
    drop(lock);
    // A long-lived program must not collect zombies.
    std::thread::spawn(move || child.wait());
    match answer {
        Some(Report::Ready) => Ok(place.socket().to_owned()),
        Some(Report::ServedAt(socket)) => Ok(socket),
        Some(Report::Error { code, message, hint }) => {
            let mut error = Error::new(Code::from_name(&code).unwrap_or(Code::Unavailable), message);
            error.hint = hint;
            Err(error)
        }
        None if instance::is_alive(place) => Ok(place.socket().to_owned()),
        None => Err(no_answer(place, "the daemon did not start")),
    }
}

fn spawn(place: &Place, handover: &Handover) -> Result<Child> {
    let failed = |what: String| Error::new(Code::Unavailable, what).hint("try: kv daemon run");
    let program =
        std::env::current_exe().map_err(|error| failed(format!("kv cannot find itself: {error}")))?;
    let log = log_file(&place.log())
        .map_err(|error| failed(format!("{} cannot be opened: {error}", place.log().display())))?;
    // Marked, not closed: the start lock is one of them. So a caller's pipe or lock never lives on in the daemon.
    close_fds::set_fds_cloexec_threadsafe(3, &[]);
    let mut command = Command::new(program);
    command
        .args(["daemon", "run", "--spawned"])
        .env_clear()
        .envs(ENVIRONMENT.iter().filter_map(|name| Some((name, variable(name)?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log);
    let mut child = command.spawn().map_err(|error| failed(format!("kv cannot start itself: {error}")))?;
    if let Some(mut stdin) = child.stdin.take() {
        let line = serde_json::to_string(handover).unwrap_or_default();
        // A child that is dead already is noticed by its silence.
        let _ = writeln!(stdin, "{line}");
    }
    Ok(child)
}

/// The child's line, or none when it said nothing in time.
fn wait_for_report(child: &mut Child) -> Option<Report> {
    let stdout = child.stdout.take()?;
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout.take(limits::HANDOVER_BYTES)).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(limits::START_TIMEOUT).ok()?;
    serde_json::from_str(&line).ok()
}

fn log_file(path: &Path) -> std::io::Result<std::fs::File> {
    let file = open_own(path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND)?;
    if file.metadata()?.len() > limits::LOG_BYTES {
        file.set_len(0)?;
    }
    Ok(file)
}

fn no_answer(place: &Place, what: &str) -> Error {
    let log = place.log();
    let mut text = String::new();
    if let Ok(file) = open_own(&log, OFlags::RDONLY) {
        let _ = file.take(limits::LOG_BYTES).read_to_string(&mut text);
    }
    let lines: Vec<&str> = text.lines().collect();
    let last = lines[lines.len().saturating_sub(3)..].join("\n");
    let last = if last.is_empty() { String::new() } else { format!(":\n{last}") };
    Error::new(Code::Unavailable, format!("{what}{last}")).hint(format!("its log is {}", log.display()))
}
