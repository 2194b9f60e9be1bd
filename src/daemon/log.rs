//! The log of a daemon: its stderr, which for a daemon that a command started is a file of bounded size.
//!
//! Everything goes there by the one descriptor: what this process logs, and what the runtime says of a panic.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rustix::fs::OFlags;
use tracing_subscriber::EnvFilter;

use crate::environment::variable;
use crate::limits;
use crate::meeting::lock_file::open_own;
use crate::store::file_id::FileId;
use crate::store::files::beside;

/// What is logged unless `RUST_LOG` says otherwise.
const DEFAULT_FILTER: &str = "warn,kv=info";

/// The path of the file behind stderr; none where stderr is the terminal or the journal of whoever runs the daemon.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Starts to log: to stderr, whose file is at this path when it is one.
pub fn begin(file: Option<PathBuf>) {
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = file;
    let asked = variable("RUST_LOG").and_then(|asked| EnvFilter::try_new(asked.to_str()?).ok());
    let filter = asked.unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    // What cannot be logged is lost: the subscriber would report that to stderr, which is the log, and panic.
    let log = tracing_subscriber::fmt().log_internal_errors(false);
    log.with_env_filter(filter).with_writer(|| Stderr).with_ansi(false).init();
}

/// Logs why the daemon ends.
pub fn ends(reason: &str) {
    tracing::info!(reason, "the daemon ends");
}

/// Opens the file at the path of the log again, as after it was moved away.
pub fn reopen() {
    if let Some(path) = FILE.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
        open(path);
    }
    tracing::info!("the log was opened again");
}

/// Sees to it that the log stands at this path, where people look for it: it may have been removed, or the daemon may
/// listen elsewhere by now.
pub(super) fn keep(path: &Path) {
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = &mut *file
        && !is_stderr(path)
    {
        path.clone_into(file);
        open(path);
    }
}

/// The file that holds what was logged before the log of this path.
#[must_use]
pub fn older(path: &Path) -> PathBuf {
    beside(path, ".old")
}

struct Stderr;

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write(line)?;
        bound();
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Begins the file anew when it is full, and keeps the full one.
fn bound() {
    // Whoever holds it is beginning a file.
    let Ok(file) = FILE.try_lock() else { return };
    let Some(path) = file.as_deref() else { return };
    let is_full =
        |stat: rustix::fs::Stat| u64::try_from(stat.st_size).is_ok_and(|size| size > limits::LOG_BYTES);
    if !rustix::fs::fstat(io::stderr()).is_ok_and(is_full) {
        return;
    }
    let is_kept = !is_stderr(path) || std::fs::rename(path, older(path)).is_ok();
    if !is_kept || !open(path) {
        // The bound counts for more than what is in the file.
        let _ = rustix::fs::ftruncate(io::stderr(), 0);
    }
}

fn open(path: &Path) -> bool {
    let opened = open_own(path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND);
    opened.is_ok_and(|file| rustix::stdio::dup2_stderr(&file).is_ok())
}

fn is_stderr(path: &Path) -> bool {
    let metadata = rustix::io::dup(io::stderr()).map_err(io::Error::from);
    let stderr = metadata.and_then(|descriptor| File::from(descriptor).metadata());
    stderr.is_ok_and(|stderr| FileId::at(path).is_ok_and(|found| found == Some(FileId::of_metadata(&stderr))))
}

/// What happens again and again, and is logged now and then.
pub(super) struct Repeats(Mutex<Option<HashMap<String, Repeat>>>);

struct Repeat {
    logged: Instant,
    left_out: u64,
}

impl Repeats {
    pub(super) const fn new() -> Repeats {
        Repeats(Mutex::new(None))
    }

    /// Whether this is to be logged: how often it happened since the last time without being logged.
    pub(super) fn to_log(&self, what: &str) -> Option<u64> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = known.get_or_insert_default();
        if let Some(repeat) = known.get_mut(what) {
            if repeat.logged.elapsed() < limits::LOG_REPEAT_INTERVAL {
                repeat.left_out += 1;
                return None;
            }
            repeat.logged = Instant::now();
            return Some(std::mem::take(&mut repeat.left_out));
        }
        if known.len() >= limits::LOG_REPEATS {
            known.retain(|_, repeat| repeat.logged.elapsed() < limits::LOG_REPEAT_INTERVAL);
        }
        if known.len() >= limits::LOG_REPEATS {
            return None;
        }
        known.insert(what.to_owned(), Repeat { logged: Instant::now(), left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_logged_once_and_so_is_no_more_than_there_is_room_for() {
        let repeats = Repeats::new();
        assert_eq!(repeats.to_log("a"), Some(0));
        assert_eq!(repeats.to_log("a"), None);
        assert_eq!(repeats.to_log("b"), Some(0));
        let logged = (0..1_000).filter(|number| repeats.to_log(&number.to_string()).is_some()).count();
        assert_eq!(logged, limits::LOG_REPEATS - 2);
    }
}
