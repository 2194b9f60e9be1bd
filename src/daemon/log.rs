//! The log of a daemon: its stderr, which for a daemon that a command started is a file of bounded size.
//!
//! Both what this process logs and what the runtime writes about a panic go there, by the same descriptor.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use rustix::fs::OFlags;
use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::environment::variable;
use crate::limits;
use crate::meeting::lock_file::open_own;
use crate::quote::shown;
use crate::store::file_id::FileId;
use crate::store::files::beside;
use crate::store::{Code, Error, Result};

/// The filter of the log unless a level is given, or `RUST_LOG` holds another one.
const DEFAULT_FILTER: &str = "warn,kv=info";

/// The path of the file that is stderr; none for a daemon in the foreground, whose stderr is a terminal or the journal.
static FILE: Mutex<Option<PathBuf>> = Mutex::new(None);

/// How a daemon logs.
#[derive(Debug, Default)]
pub struct LogSettings {
    /// The path of the file that stderr is; none when stderr belongs to the caller.
    pub file: Option<PathBuf>,
    /// `error`, `warn`, `info`, `debug` or `trace`; none = the filter in `RUST_LOG`, or `info`.
    pub level: Option<String>,
    /// The form of a line.
    pub format: LogFormat,
}

/// The form of a line of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Words for people, with the fields of an event as `name=value`.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

/// Starts logging to stderr.
///
/// Lines of text that go to the journal of systemd have the priority of their level in front, and no time: the journal has
/// its own (sd-daemon(3), `JOURNAL_STREAM` in systemd.exec(5)).
pub fn begin(LogSettings { file, level, format }: LogSettings) {
    *FILE.lock().unwrap_or_else(PoisonError::into_inner) = file;
    // What cannot be logged is lost: the subscriber would report that to stderr, which is the log, and panic.
    let log = tracing_subscriber::fmt().log_internal_errors(false).with_ansi(false);
    let log = log.with_env_filter(filter(level.as_deref()));
    match format {
        LogFormat::Json => log.with_writer(MakeStderr { is_journal: false }).json().init(),
        LogFormat::Text if is_journal() => {
            log.with_writer(MakeStderr { is_journal: true }).without_time().with_level(false).init();
        }
        LogFormat::Text => log.with_writer(MakeStderr { is_journal: false }).init(),
    }
}

/// Makes the file at this path stderr, for a daemon in the foreground that has to log there.
///
/// # Errors
/// `unavailable` when the file cannot be written, or belongs to another user.
pub fn redirect(path: &Path) -> Result<()> {
    if open(path) {
        return Ok(());
    }
    Err(Error::new(Code::Unavailable, format!("the log {} cannot be written", shown(path)))
        .hint("it has to be a file of this user, in a directory that is there"))
}

fn filter(level: Option<&str>) -> EnvFilter {
    let by_level = level.map(|level| match level {
        "error" | "warn" => EnvFilter::new(level),
        // The libraries beneath kv say much that nobody asked for.
        level => EnvFilter::new(format!("warn,kv={level}")),
    });
    let by_variable = || variable("RUST_LOG").and_then(|asked| EnvFilter::try_new(asked.to_str()?).ok());
    by_level.or_else(by_variable).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER))
}

/// Whether stderr is the journal of systemd.
fn is_journal() -> bool {
    let told = variable("JOURNAL_STREAM").and_then(|told| told.into_string().ok());
    let stderr = rustix::fs::fstat(io::stderr()).map(|stat| format!("{}:{}", stat.st_dev, stat.st_ino));
    told.is_some() && told == stderr.ok()
}

/// Logs the reason for which the daemon ends.
pub fn ends(reason: &str) {
    tracing::info!(reason, "the daemon ends");
}

/// Opens the file of the log again, as log rotation needs it after it has moved the file away. The stderr
/// of a daemon in the foreground stays as it is.
pub fn reopen() {
    if let Some(path) = FILE.lock().unwrap_or_else(PoisonError::into_inner).as_deref() {
        open(path);
    }
    tracing::info!("the log was opened again");
}

/// Opens the log at this path unless stderr is that file already: the file may have been removed, or the daemon may have
/// bound its socket elsewhere since, and users look for the log beside the socket.
pub(super) fn keep(path: &Path) {
    let mut file = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = &mut *file
        && !is_stderr(path)
    {
        path.clone_into(file);
        open(path);
    }
}

/// The path of the file that holds the older part of the log at this path.
#[must_use]
pub fn older(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// Makes the writer of each event.
struct MakeStderr {
    is_journal: bool,
}

impl<'a> MakeWriter<'a> for MakeStderr {
    type Writer = Stderr;

    fn make_writer(&'a self) -> Stderr {
        Stderr { priority: "" }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> Stderr {
        let priority = match *event.level() {
            _ if !self.is_journal => "",
            Level::ERROR => "<3>",
            Level::WARN => "<4>",
            Level::INFO => "<6>",
            _ => "<7>",
        };
        Stderr { priority }
    }
}

/// Writes an event to stderr, and keeps its file bounded.
struct Stderr {
    /// What stands in front of a line in the journal.
    priority: &'static str,
}

impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.priority.is_empty() {
            let written = io::stderr().write(line)?;
            bound();
            return Ok(written);
        }
        // By one write: other threads log too.
        io::stderr().write_all(&[self.priority.as_bytes(), line].concat())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts a new file when the log is larger than [`limits::LOG_BYTES`], and keeps the full one as [`older`].
fn bound() {
    // Another thread that holds the mutex is starting a file at this moment.
    let Ok(file) = FILE.try_lock() else { return };
    let Some(path) = file.as_deref() else { return };
    let is_full =
        |stat: rustix::fs::Stat| u64::try_from(stat.st_size).is_ok_and(|size| size > limits::LOG_BYTES);
    if !rustix::fs::fstat(io::stderr()).is_ok_and(is_full) {
        return;
    }
    let is_kept = !is_stderr(path) || std::fs::rename(path, older(path)).is_ok();
    if !is_kept || !open(path) {
        // To bound the file is more important than to keep its content.
        let _ = rustix::fs::ftruncate(io::stderr(), 0);
    }
}

/// Makes the file at this path stderr; false when that fails.
fn open(path: &Path) -> bool {
    let opened = open_own(path, OFlags::WRONLY | OFlags::CREATE | OFlags::APPEND);
    opened.is_ok_and(|file| rustix::stdio::dup2_stderr(&file).is_ok())
}

/// Whether the path leads to the file that is stderr.
fn is_stderr(path: &Path) -> bool {
    let descriptor = rustix::io::dup(io::stderr()).map_err(io::Error::from);
    let stderr = descriptor.and_then(|descriptor| File::from(descriptor).metadata());
    stderr.is_ok_and(|stderr| FileId::at(path).is_ok_and(|found| found == Some(FileId::of_metadata(&stderr))))
}

/// Events that may repeat often, each of which is logged once in [`limits::LOG_REPEAT_INTERVAL`].
pub(super) struct Repeats(Mutex<Option<HashMap<String, Repeat>>>);

/// An event that was logged.
struct Repeat {
    /// When it was logged last.
    logged: Instant,
    /// How often it has happened since then.
    left_out: u64,
}

impl Repeats {
    pub(super) const fn new() -> Repeats {
        Repeats(Mutex::new(None))
    }

    /// Counts an event, and answers how often it was left out since it was logged last; none when it is not to be logged now.
    pub(super) fn to_log(&self, what: &str) -> Option<u64> {
        let mut repeats = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let repeats = repeats.get_or_insert_default();
        if let Some(repeat) = repeats.get_mut(what) {
            if repeat.logged.elapsed() < limits::LOG_REPEAT_INTERVAL {
                repeat.left_out += 1;
                return None;
            }
            repeat.logged = Instant::now();
            return Some(std::mem::take(&mut repeat.left_out));
        }
        if repeats.len() >= limits::LOG_REPEATS {
            repeats.retain(|_, repeat| repeat.logged.elapsed() < limits::LOG_REPEAT_INTERVAL);
        }
        if repeats.len() >= limits::LOG_REPEATS {
            return None;
        }
        repeats.insert(what.to_owned(), Repeat { logged: Instant::now(), left_out: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_logged_once_and_no_more_events_than_there_is_room_for() {
        let repeats = Repeats::new();
        assert_eq!(repeats.to_log("a"), Some(0));
        assert_eq!(repeats.to_log("a"), None);
        assert_eq!(repeats.to_log("b"), Some(0));
        let logged = (0..1_000).filter(|number| repeats.to_log(&number.to_string()).is_some()).count();
        assert_eq!(logged, limits::LOG_REPEATS - 2);
    }
}
