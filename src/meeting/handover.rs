//! What a client tells the daemon that it starts, and what that daemon answers: one line of JSON each.
//!
//! The line to the daemon goes over its stdin, never by its arguments, which every user of the machine can read. The
//! answer comes over its stdout.

use std::io::{BufRead as _, Read as _, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::store::{Code, Error, Result};

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
    /// Who starts it, for its log; filled in when it is started.
    #[serde(default)]
    pub started_by: String,
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

/// The daemon's side: reads what is to be done.
///
/// # Errors
/// `bad_request` when stdin holds no handover.
pub fn receive() -> Result<Handover> {
    let failed =
        |reason: String| Error::new(Code::BadRequest, format!("this is no spawned daemon: {reason}"));
    // It was started by the path of its running image, which is not how people look for it.
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_name(c"kv");
    let mut line = String::new();
    let stdin = std::io::stdin().lock();
    stdin.take(limits::HANDOVER_BYTES).read_line(&mut line).map_err(|error| failed(error.to_string()))?;
    // serde's own words may quote the line.
    serde_json::from_str(&line).map_err(|_| failed("stdin holds no handover".to_owned()))
}

/// The daemon's side: tells the one who started it, and lets go of the pipes.
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
