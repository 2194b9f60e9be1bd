//! Which daemon has the lock of a store: a file beside the database file, which holds the path of that daemon's socket.
//!
//! A client reads it to find a daemon that another environment (cron, ssh, another login) has started elsewhere.

use std::path::{Path, PathBuf};

use super::lock_file;
use crate::store::files::beside;

/// The daemon that has the lock of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreHolder {
    /// The socket that it has written into the lock file.
    pub(crate) socket: PathBuf,
    /// Its process; none where the system does not tell which process has a lock.
    pub(crate) pid: Option<u32>,
}

impl StoreHolder {
    /// The daemon that has the lock of the store in this file; none when no process has it.
    pub(crate) fn of(database_file: &Path) -> Option<StoreHolder> {
        let path = lock_path(database_file);
        if !lock_file::is_held(&path).unwrap_or(false) {
            return None;
        }
        Some(StoreHolder { socket: told_socket(&path)?, pid: lock_file::holder(&path) })
    }

    /// The message for a client that cannot connect to its socket.
    pub(crate) fn unreachable(&self) -> String {
        let process =
            self.pid.map_or_else(|| "a daemon".to_owned(), |pid| format!("the daemon, process {pid},"));
        format!("{process} that holds the store says that it listens there, but it cannot be reached")
    }
}

/// The socket of the daemon that had the lock of the store in this file last, whether or not that daemon lives.
#[must_use]
pub fn last_socket(database_file: &Path) -> Option<PathBuf> {
    told_socket(&lock_path(database_file))
}

/// The lock file beside a database file.
pub(crate) fn lock_path(database_file: &Path) -> PathBuf {
    beside(database_file, ".kv-lock")
}

/// The path of a socket that a lock file holds; none when it holds something else.
pub(crate) fn told_socket(lock: &Path) -> Option<PathBuf> {
    let content = lock_file::read(lock).ok()?;
    let socket = PathBuf::from(String::from_utf8(content).ok()?);
    socket.is_absolute().then_some(socket)
}
