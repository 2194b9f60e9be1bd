//! What a client tells the daemon that it starts, and what that daemon answers: one line of JSON each.
//!
//! The line to the daemon goes over its stdin, never by its arguments, which every user of the machine can read. The
//! answer comes over its stdout.

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::store::{Code, Error, Result};

/// What a client tells the daemon that it starts.
///
/// It has no `Debug`: the connection string may hold a password.
#[derive(Clone, Serialize, Deserialize)]
pub struct Handover {
    /// The kind of engine, as [`EngineKind::as_str`](crate::store::EngineKind::as_str) names it.
    pub engine: String,
    /// The connection string of the store, with absolute paths: the daemon runs in `/`.
    pub connection: String,
    /// The path of the socket on which the daemon is to listen.
    pub socket: PathBuf,
    /// How long the daemon goes on without any connection before it ends, in seconds; 0 = for ever.
    pub idle_timeout_s: u64,
    /// The level of the daemon's log, such as `debug`; none = what `RUST_LOG` says, or `info`.
    #[serde(default)]
    pub log_level: Option<String>,
    /// The process that starts the daemon, for the daemon's log. The client fills it in when it starts one.
    #[serde(default)]
    pub started_by: String,
}

/// What a daemon answers the client that started it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    /// The daemon listens on the socket of its handover.
    Ready,
    /// The daemon could not start.
    Error {
        /// The code of the error, as [`Code::as_str`] names it.
        code: String,
        /// The message for people.
        message: String,
        /// What the user can do about it.
        hint: Option<String>,
    },
    /// Another daemon serves the store already, on this socket.
    ServedAt(PathBuf),
}

/// Reads the handover from the stdin of this process, which a client has started as a daemon.
///
/// # Errors
/// `bad_request` when stdin cannot be read or holds no handover: the process was not started by a client.
pub fn receive() -> Result<Handover> {
    let failed = |reason: String| {
        Error::new(Code::BadRequest, format!("this process was not started as a daemon by kv: {reason}"))
    };
    // It was started by the path of its running image, so `ps` and `pgrep` would show "exe".
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(c"kv");
    let mut line = String::new();
    let stdin = std::io::stdin().lock();
    stdin.take(limits::HANDOVER_BYTES).read_line(&mut line).map_err(|error| failed(error.to_string()))?;
    // serde's own words may quote the line.
    serde_json::from_str(&line).map_err(|_| failed("stdin holds no handover".to_owned()))
}

/// Writes the report of this daemon to its stdout, and then replaces stdin and stdout by `/dev/null`.
pub fn report(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    let mut stdout = std::io::stdout();
    // The client that started the daemon may have ended; the daemon goes on without it.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    if let Ok(null) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdin(&null);
        let _ = rustix::stdio::dup2_stdout(&null);
    }
}
