//! A lock beside the database file, so that no environment (cron, ssh, a login) makes two daemons for one store.
//!
//! It is never the database file itself: closing that would drop SQLite's own locks on it. It only saves work: several
//! daemons on one store are right, they share less. So no request ever waits for it or is refused because of it.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::limits;
use crate::meeting::lock_file::LockFile;
use crate::meeting::presence::listens;
use crate::meeting::store_holder::{lock_path, told_socket};
use crate::store::foreign_owner;

/// The lock of the store that this daemon serves.
#[derive(Debug)]
pub struct StoreLock {
    /// None for stores that are not files.
    database_file: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Where this daemon listens, or is about to: what the lock file tells others.
    socket: PathBuf,
    /// Whether the socket at that path is this daemon's.
    is_bound: bool,
    lock: Option<LockFile>,
    /// Whether this process cannot have a lock there, whoever else has one.
    is_denied: bool,
    /// Whether another daemon that can be reached has the lock.
    is_redundant: bool,
}

impl StoreLock {
    /// The lock of the store in this file, for a daemon that listens at this socket.
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

    /// Takes the lock for a daemon that is about to bind its socket, or answers the socket of the daemon that has it.
    ///
    /// A holder whose socket nobody listens at is just ending, binds its socket anew, or lives in another container. It
    /// has a moment; then this daemon serves the store beside it. Blocks the thread for as long.
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

    /// Lets go of a lock that is no longer beside the store, and takes the one that is when nobody has it. Nothing is
    /// created where there is no store, unless one is about to be made. Does not block.
    pub fn keep(&self, for_init: bool) {
        let Some(file) = &self.database_file else { return };
        let path = lock_path(file);
        let mut state = self.state();
        if state.lock.as_ref().is_some_and(|lock| lock.is_at(&path)) {
            return;
        }
        // Whoever finds the store at its new place must find it free.
        if state.lock.take().is_some() {
            tracing::info!(file = %file.display(), "the store is no longer where it was");
        }
        (state.is_redundant, state.is_denied) = (false, false);
        if !(for_init || file.exists()) {
            return;
        }
        // A lock of root would stay beside the file of somebody who can neither open it nor reach root's daemon.
        if foreign_owner(file).is_some() {
            state.is_denied = true;
            return;
        }
        match LockFile::try_lock(&path) {
            Ok(Some(lock)) => {
                tell(&lock, &state.socket);
                state.lock = Some(lock);
            }
            // Others also take it for a moment, to look whether it is held: then it is free the next time.
            Ok(None) => {
                // In another container the same path is another socket.
                let other = told_socket(&path).filter(|other| !state.is_bound || *other != state.socket);
                state.is_redundant = other.is_some_and(|other| listens(&other));
            }
            // As in a directory that is read-only.
            Err(error) => {
                tracing::debug!(%error, "the store is served without a lock beside it");
                state.is_denied = true;
            }
        }
    }

    /// Whether another daemon has the lock: then this one should end as soon as nobody is connected.
    #[must_use]
    pub fn is_redundant(&self) -> bool {
        self.state().is_redundant
    }

    /// Tells others where this daemon listens now.
    pub fn listens_at(&self, socket: &Path) {
        let mut state = self.state();
        (state.socket, state.is_bound) = (socket.to_owned(), true);
        if let Some(lock) = &state.lock {
            tell(lock, socket);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding this mutex; a poisoned one would still hold a good value.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(lock: &LockFile, socket: &Path) {
    if let Err(error) = lock.write(socket.as_os_str().as_encoded_bytes()) {
        tracing::warn!(%error, "the lock of the store has no content");
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
    fn a_holder_that_nobody_can_reach_keeps_no_store_from_being_served() {
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
