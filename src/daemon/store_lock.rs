//! A lock beside the database file, so that no environment (cron, ssh, a login) makes two daemons for one store.
//!
//! The database file itself is never locked so: closing it would drop SQLite's own locks on it. The lock only saves work:
//! several daemons on one store give right answers, but gather fewer writes into one batch. So no request ever waits for the
//! lock or is refused because of it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits;
use crate::meeting::lock_file::LockFile;
use crate::meeting::presence::listens;
use crate::meeting::store_holder::{lock_path, told_socket};
use crate::store::foreign_owner;

/// The lock of the store that this daemon serves, which it may have or not.
#[derive(Debug)]
pub struct StoreLock {
    /// None for a store that is not a file.
    database_file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The socket on which this daemon listens, or is about to: the content of the lock file.
    socket: PathBuf,
    /// Whether this daemon has bound that socket.
    is_bound: bool,
    lock: Option<LockFile>,
    /// Whether this process can never have a lock there, whether or not another one has it.
    is_denied: bool,
    /// Whether another daemon that can be reached has the lock.
    is_redundant: bool,
}

impl StoreLock {
    /// The lock of the store in this file, for a daemon that listens on this socket, or is about to. Takes no lock yet.
    #[must_use]
    pub fn new(database_file: Option<&Path>, socket: &Path) -> StoreLock {
        let state = State {
            socket: socket.to_owned(),
            is_bound: false,
            lock: None,
            is_denied: false,
            is_redundant: false,
        };
        StoreLock { database_file: database_file.map(Path::to_owned), state: Mutex::new(state) }
    }

    /// Takes the lock for a daemon that is about to bind its socket, or returns the socket of the daemon that has it.
    ///
    /// When no process listens on the socket of the holder, the holder is just ending, binds its socket anew, or lives in
    /// another container. After [`limits::STORE_LOCK_TIMEOUT`] this daemon serves the store beside it, without the lock. Blocks
    /// the thread for as long.
    pub fn claim(&self) -> Option<PathBuf> {
        let deadline = Instant::now() + limits::STORE_LOCK_TIMEOUT;
        loop {
            self.keep(false);
            let state = self.state();
            let is_settled = state.lock.is_some()
                || state.is_denied
                || self.database_file.as_ref().is_none_or(|file| !file.exists());
            if state.is_redundant {
                return self.database_file.as_deref().and_then(|file| told_socket(&lock_path(file)));
            }
            if is_settled || Instant::now() >= deadline {
                return None;
            }
            drop(state);
            std::thread::sleep(limits::LOCK_FILE_PAUSE);
        }
    }

    /// Releases a lock whose file is no longer beside the store, and takes the one that is there when it is free. Creates the
    /// lock file only where there is a store, or one is about to be made (`for_init`). Does not block.
    pub fn keep(&self, for_init: bool) {
        let Some(file) = &self.database_file else { return };
        let path = lock_path(file);
        let mut state = self.state();
        if state.lock.as_ref().is_some_and(|lock| lock.is_at(&path)) {
            return;
        }
        // A daemon that serves the moved store must find its lock free.
        if state.lock.take().is_some() {
            tracing::info!(file = %file.display(), "the store is no longer where it was");
        }
        (state.is_redundant, state.is_denied) = (false, false);
        if !(for_init || file.exists()) {
            return;
        }
        // A lock file of root would stay beside the file of a user who can neither open it nor use root's daemon.
        if foreign_owner(file).is_some() {
            state.is_denied = true;
            return;
        }
        match LockFile::try_lock(&path) {
            Ok(Some(lock)) => {
                tell(&lock, &state.socket);
                state.lock = Some(lock);
            }
            // A process that only checks whether the lock is held takes it for a moment: then it is free the next time.
            Ok(None) => {
                // A holder in another container may have the same path for another socket.
                let other = told_socket(&path).filter(|other| !state.is_bound || *other != state.socket);
                state.is_redundant = other.is_some_and(|other| listens(&other));
            }
            // For example, the directory is read-only.
            Err(error) => {
                tracing::debug!(%error, "the store is served without a lock beside it");
                state.is_denied = true;
            }
        }
    }

    /// Whether another daemon that can be reached has the lock: then this one should end once no client is connected.
    #[must_use]
    pub fn is_redundant(&self) -> bool {
        self.state().is_redundant
    }

    /// Notes the socket that this daemon has bound, and writes it into the lock file.
    pub fn listens_at(&self, socket: &Path) {
        let mut state = self.state();
        (state.socket, state.is_bound) = (socket.to_owned(), true);
        if let Some(lock) = &state.lock {
            tell(lock, socket);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes the socket of this daemon into the lock file, for clients and other daemons.
fn tell(lock: &LockFile, socket: &Path) {
    if let Err(error) = lock.write(socket.as_os_str().as_encoded_bytes()) {
        tracing::warn!(%error, "the lock file of the store could not be written");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;
    use crate::meeting::store_holder::StoreHolder;

    #[test]
    fn the_lock_of_a_store_names_the_socket_of_its_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("data.db");
        let socket = directory.path().join("first.sock");
        let first = StoreLock::new(Some(&file), &socket);
        assert_eq!(first.claim(), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was created");
        std::fs::write(&file, "").unwrap();
        assert_eq!(first.claim(), None);
        let _listener = UnixListener::bind(&socket).unwrap();
        let second = StoreLock::new(Some(&file), &directory.path().join("second.sock"));
        assert_eq!(second.claim().as_ref(), Some(&socket));
        assert!(second.is_redundant());
        assert_eq!(StoreHolder::of(&file).map(|holder| holder.socket), Some(socket.clone()));
        drop(first);
        assert_eq!(second.claim(), None);
        assert!(!second.is_redundant());
    }

    #[test]
    fn a_holder_that_cannot_be_reached_keeps_no_store_from_being_served() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("data.db");
        std::fs::write(&file, "").unwrap();
        let _first = StoreLock::new(Some(&file), Path::new("/nowhere/first.sock"));
        _first.keep(false);
        let second = StoreLock::new(Some(&file), &directory.path().join("second.sock"));
        assert_eq!(second.claim(), None);
        assert!(!second.is_redundant(), "it would end");
    }

    #[test]
    fn a_lock_that_was_moved_is_let_go_and_the_one_at_the_path_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let (here, there) = (directory.path().join("here"), directory.path().join("there"));
        std::fs::create_dir(&here).unwrap();
        let file = here.join("data.db");
        std::fs::write(&file, "").unwrap();
        let lock = StoreLock::new(Some(&file), Path::new("/first.sock"));
        lock.keep(false);
        std::fs::rename(&here, &there).unwrap();
        assert!(StoreHolder::of(&there.join("data.db")).is_some(), "it moved along");
        lock.keep(false);
        assert_eq!(StoreHolder::of(&there.join("data.db")), None);
        std::fs::create_dir(&here).unwrap();
        std::fs::write(&file, "").unwrap();
        lock.keep(false);
        let holder = StoreHolder::of(&file).unwrap();
        assert_eq!(holder.socket, Path::new("/first.sock"));
        if cfg!(target_os = "linux") {
            assert_eq!(holder.pid, Some(std::process::id()));
        }
    }
}
