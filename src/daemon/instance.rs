//! Being the only daemon of a store.
//!
//! A lock that is held for life decides, never a pid: the kernel frees it when its holder dies, and only its holder
//! may remove and bind the socket.

use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::Mode;
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tokio::net::UnixListener;

use super::lock_file::{self, FileId, LockFile};
use super::place::{Admission, Place, refused};
use crate::limits;
use crate::store::{Code, Error, Result};

/// The lock of the one daemon at a place, with its socket.
#[derive(Debug)]
pub struct Instance {
    place: Place,
    _life: LockFile,
    bound: FileId,
}

impl Instance {
    /// Becomes the daemon at this place and binds its socket; none when another one lives.
    ///
    /// # Errors
    /// `unavailable` when the directory cannot be used.
    pub fn acquire(place: &Place) -> Result<Option<(Instance, UnixListener)>> {
        place.ensure()?;
        let failed = |what: &str, error: &io::Error| {
            Error::new(Code::Unavailable, format!("{what} {}: {error}", place.socket().display()))
                .hint("check the permissions of its directory")
        };
        let life = LockFile::try_lock_for(&place.life_lock(), limits::LIFE_LOCK_TIMEOUT)
            .map_err(|error| failed("cannot lock the place of", &error))?;
        let Some(life) = life else { return Ok(None) };
        life.write(format!("{}\n", std::process::id()).as_bytes())
            .map_err(|error| failed("cannot write the lock of", &error))?;
        remove_stale(place.socket())?;
        let listener = listen(place).map_err(|error| failed("cannot bind", &error))?;
        let bound = FileId::at(place.socket())
            .ok()
            .flatten()
            .ok_or_else(|| Error::new(Code::Unavailable, "the socket vanished while it was bound"))?;
        Ok(Some((Instance { place: place.clone(), _life: life, bound }, listener)))
    }

    /// Which peers it serves.
    pub(super) fn admission(&self) -> Admission {
        self.place.admission()
    }

    /// Removes the path of the socket, so that nobody else connects; the lock stays until this value is dropped.
    pub fn unlink(&self) {
        if self.is_reachable() {
            // One that stays is stale, and the next daemon removes it.
            let _ = std::fs::remove_file(self.place.socket());
        }
    }

    /// Whether the path still leads to our socket: its directory may vanish at the last logout.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        FileId::at(self.place.socket()).is_ok_and(|found| found == Some(self.bound))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// Removes what a dead daemon left behind, and nothing else: a path that was given with `--socket` may be a file, or
/// another program's.
fn remove_stale(socket: &Path) -> Result<()> {
    let path = socket.display();
    match std::fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        _ => {
            return Err(refused(format!("{path} is there already, and it is not a socket"))
                .hint("choose another path with --socket or KV_SOCKET"));
        }
    }
    if std::os::unix::net::UnixStream::connect(socket).is_ok() {
        return Err(refused(format!("another program listens on {path}"))
            .hint("end it, or choose another path with --socket or KV_SOCKET"));
    }
    std::fs::remove_file(socket)
        .map_err(|error| refused(format!("the stale socket {path} cannot be removed: {error}")))
}

/// Binds directly with the final mode: a socket that is renamed after bind is swept by systemd-tmpfiles, and one that
/// is chmodded after bind stands open for a moment.
fn listen(place: &Place) -> io::Result<UnixListener> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    // Linux takes the mode of the new file from the socket. Other systems refuse this; there the umask closes it.
    let _ = rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR);
    let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
    let bound = SocketAddrUnix::new(place.socket()).and_then(|address| rustix::net::bind(&socket, &address));
    rustix::process::umask(umask);
    bound?;
    place.let_group_in()?;
    rustix::net::listen(&socket, i32::try_from(limits::CONNECTIONS).unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

/// Whether a daemon lives at this place.
pub fn is_alive(place: &Place) -> bool {
    lock_file::is_held(&place.life_lock()).unwrap_or(false)
}

/// Whether the daemon in this process lives at this place; the next one may be there by the time that it has ended.
pub fn is_alive_as(place: &Place, pid: u32) -> bool {
    let holder = lock_file::read(&place.life_lock()).unwrap_or_default();
    is_alive(place) && holder.trim_ascii() == pid.to_string().as_bytes()
}

/// A second lock, beside the database file, so that no environment (cron, ssh, a login) makes two daemons for it.
///
/// It is never the database file itself: closing that would drop SQLite's own locks on it.
#[derive(Debug)]
pub struct StoreLock {
    database_file: Option<PathBuf>,
    socket: PathBuf,
    state: Mutex<StoreLockState>,
}

#[derive(Debug)]
enum StoreLockState {
    /// Not taken yet: there was no database file.
    Open,
    Held(#[allow(dead_code, reason = "its drop unlocks")] LockFile),
    /// It cannot be had, and nobody can be named who has it.
    Without,
}

impl StoreLock {
    /// The lock of the store in this file; none for stores that are no file.
    #[must_use]
    pub fn new(database_file: Option<&Path>, socket: &Path) -> StoreLock {
        StoreLock {
            database_file: database_file.map(Path::to_owned),
            socket: socket.to_owned(),
            state: Mutex::new(StoreLockState::Open),
        }
    }

    /// Takes the lock, unless there is no database file yet: nothing but init creates anything. Answers the socket
    /// of the daemon that holds it, when there is one.
    ///
    /// Where the lock file cannot be made, as in a directory that is read-only, the daemon works without: several
    /// daemons on one store are right anyway, they only share less.
    pub fn ensure(&self, for_init: bool) -> Option<PathBuf> {
        let file = self.database_file.as_deref()?;
        // Nobody panics while holding this mutex; a poisoned one would still hold a good value.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !matches!(*state, StoreLockState::Open) || !(for_init || file.exists()) {
            return None;
        }
        let path = lock_path(file);
        match LockFile::try_lock_for(&path, limits::STORE_LOCK_TIMEOUT) {
            Ok(Some(lock)) => {
                if let Err(error) = lock.write(self.socket.as_os_str().as_encoded_bytes()) {
                    tracing::warn!(%error, "the lock of the store has no content");
                }
                *state = StoreLockState::Held(lock);
            }
            Ok(None) => {
                if let Some(socket) = holder(&path) {
                    return Some(socket);
                }
                *state = StoreLockState::Without;
            }
            Err(error) => {
                tracing::debug!(%error, "the store is served without a lock beside it");
                *state = StoreLockState::Without;
            }
        }
        None
    }
}

/// The socket of the daemon that serves the store in this file, wherever that is.
#[must_use]
pub fn serving_socket(database_file: &Path) -> Option<PathBuf> {
    let path = lock_path(database_file);
    lock_file::is_held(&path).unwrap_or(false).then(|| holder(&path)).flatten()
}

fn lock_path(database_file: &Path) -> PathBuf {
    let mut path = database_file.as_os_str().to_owned();
    path.push(".kv-lock");
    PathBuf::from(path)
}

fn holder(path: &Path) -> Option<PathBuf> {
    let content = lock_file::read(path).ok()?;
    let socket = PathBuf::from(String::from_utf8(content).ok()?);
    socket.is_absolute().then_some(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_by_the_one_who_has_the_lock() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(&directory.path().join("kv.sock")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(place.socket()).unwrap());
        let (instance, _listener) = Instance::acquire(&place).unwrap().unwrap();
        assert!(Instance::acquire(&place).unwrap().is_none(), "another one lives");
        assert!(is_alive(&place) && instance.is_reachable());
        drop(instance);
        assert!(!place.socket().exists() && !is_alive(&place));
    }

    #[tokio::test]
    async fn what_is_no_stale_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("precious");
        std::fs::write(&file, "precious").unwrap();
        Instance::acquire(&Place::at(&file).unwrap()).unwrap_err();
        assert_eq!(std::fs::read(&file).unwrap(), b"precious");
        let socket = directory.path().join("busy.sock");
        let _other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        Instance::acquire(&Place::at(&socket).unwrap()).unwrap_err();
        assert!(socket.exists());
    }

    #[tokio::test]
    async fn the_socket_is_open_to_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(&directory.path().join("kv.sock")).unwrap();
        let _instance = Instance::acquire(&place).unwrap().unwrap();
        assert_eq!(place.socket().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn the_lock_of_a_store_names_the_socket_of_its_daemon() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("data.db");
        let first = StoreLock::new(Some(&file), Path::new("/first.sock"));
        assert_eq!(first.ensure(false), None);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing was created");
        std::fs::write(&file, "").unwrap();
        assert_eq!(first.ensure(false), None);
        let second = StoreLock::new(Some(&file), Path::new("/second.sock"));
        assert_eq!(second.ensure(false), Some(PathBuf::from("/first.sock")));
        assert_eq!(serving_socket(&file), Some(PathBuf::from("/first.sock")));
        drop(first);
        assert_eq!(second.ensure(false), None);
    }
}
