//! The only daemon at a place.
//!
//! A lock that the daemon holds for its life decides, never a pid: the kernel frees it when its holder dies, and only its
//! holder may remove and bind the socket.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode};
use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use tokio::net::UnixListener;

use super::activation::Activation;
use crate::limits;
use crate::meeting::lock_file::LockFile;
use crate::meeting::place::{Admission, Place, refused};
use crate::meeting::presence::listens;
use crate::quote::shown;
use crate::store::file_id::FileId;
use crate::store::{Code, Error, Result};

/// The right to be the daemon at a place: its life lock, with its socket. Dropping it removes the socket and frees the lock.
#[derive(Debug)]
pub struct Instance {
    place: Place,
    /// The life lock; none where a service manager owns the socket, and this process may create no file beside it.
    life: Option<LockFile>,
    /// The file of the socket that this process has bound; none when a service manager has bound it.
    bound: Option<FileId>,
    /// The lock that keeps the directory from being cleaned up.
    _unswept: Option<File>,
}

impl Instance {
    /// Becomes the daemon at this place and binds its socket; none when another daemon lives there. Blocks the thread for up
    /// to [`limits::LIFE_LOCK_TIMEOUT`] while another daemon has the lock. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `unavailable` when the directory cannot be used, when something else than a stale socket is at the path, and when the
    /// lock cannot be taken or the socket bound.
    pub fn acquire(place: &Place) -> Result<Option<(Instance, UnixListener)>> {
        place.ensure()?;
        let life = LockFile::try_lock_for(&place.life_lock(), limits::LIFE_LOCK_TIMEOUT)
            .map_err(|error| failed("cannot lock the place of", place, &error))?;
        let Some(life) = life else { return Ok(None) };
        let (listener, bound) = bind(place, &life)?;
        let unswept = place.keep_from_being_swept();
        let instance =
            Instance { place: place.clone(), life: Some(life), bound: Some(bound), _unswept: unswept };
        Ok(Some((instance, listener)))
    }

    /// Becomes the daemon behind a socket that belongs to a service manager, which starts one daemon at a time: it is
    /// neither bound nor removed by this process, nor ever lost. Blocks the thread and must be called as
    /// [`acquire`](Instance::acquire).
    ///
    /// # Errors
    /// `unavailable` when another daemon has the life lock beside the socket.
    pub fn behind(activation: &Activation) -> Result<(Instance, UnixListener)> {
        let place = Place::activated(activation.socket())?;
        // Clients read from it whether the daemon lives. The directory may be closed to the user of the service.
        let life = match LockFile::try_lock_for(&place.life_lock(), limits::LIFE_LOCK_TIMEOUT) {
            Ok(Some(life)) => Some(life),
            Ok(None) => {
                let socket = shown(place.socket());
                return Err(
                    refused(format!("another daemon has the lock beside {socket}")).hint("end it first")
                );
            }
            Err(error) => {
                tracing::debug!(%error, "there is no life lock beside the socket");
                None
            }
        };
        if let Some(life) = &life {
            tell(&place, life)?;
        }
        Ok((Instance { place, life, bound: None, _unswept: None }, activation.listener()?))
    }

    /// Binds the socket again after its path was removed. At the place `other`, when the directory of the first place cannot
    /// be used any more. None when another daemon lives there by now. Does not block.
    ///
    /// # Errors
    /// As [`acquire`](Instance::acquire).
    pub fn bind_again(&mut self, other: Option<&Place>) -> Result<Option<UnixListener>> {
        let first = self.place.clone();
        let place = match (first.ensure(), other) {
            (Ok(()), _) => first,
            (Err(_), Some(other)) if !first.is_shared() => {
                other.ensure()?;
                other.clone()
            }
            (Err(error), _) => return Err(error),
        };
        // The lock file may have been removed with the socket: its path then leads to no file, or to that of another daemon.
        let held = self.life.take().filter(|life| place == self.place && life.is_at(&place.life_lock()));
        let life = match held {
            Some(life) => Some(life),
            None => LockFile::try_lock(&place.life_lock())
                .map_err(|error| failed("cannot lock the place of", &place, &error))?,
        };
        let Some(life) = life else { return Ok(None) };
        let bound = bind(&place, &life);
        self.life = Some(life);
        let (listener, bound) = bound?;
        (self.bound, self.place) = (Some(bound), place);
        Ok(Some(listener))
    }

    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.place.socket()
    }

    /// The path of the log of this daemon, when a command has started it.
    pub(super) fn log(&self) -> PathBuf {
        self.place.log()
    }

    /// The users that this daemon serves.
    pub(super) fn admission(&self) -> Admission {
        self.place.admission()
    }

    /// Removes the socket, so that no further client connects; the lock is held until this value is dropped.
    pub fn unlink(&self) {
        if self.bound.is_some() && self.is_reachable() {
            // If it stays, it is stale, and the next daemon removes it.
            let _ = std::fs::remove_file(self.place.socket());
        }
    }

    /// Whether the path still leads to the socket of this process: its directory may be removed at the last logout. A
    /// socket of a service manager is the manager's concern.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.bound.is_none_or(|bound| FileId::at(self.place.socket()).is_ok_and(|found| found == Some(bound)))
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// Binds the socket of a place whose lock is held, and answers which file it is.
fn bind(place: &Place, life: &LockFile) -> Result<(UnixListener, FileId)> {
    tell(place, life)?;
    remove_stale(place.socket())?;
    let listener = listen(place).map_err(|error| failed("cannot bind", place, &error))?;
    let bound = FileId::at(place.socket()).ok().flatten();
    let vanished = || Error::new(Code::Unavailable, "the socket vanished while it was bound");
    Ok((listener, bound.ok_or_else(vanished)?))
}

/// Writes this process into its life lock.
fn tell(place: &Place, life: &LockFile) -> Result<()> {
    life.write(format!("{}\n", std::process::id()).as_bytes())
        .map_err(|error| failed("cannot write the lock of", place, &error))
}

/// The error when an operation on the files of a place fails.
fn failed(what: &str, place: &Place, error: &io::Error) -> Error {
    Error::new(Code::Unavailable, format!("{what} {}: {error}", place.socket().display()))
        .hint("check the permissions of its directory")
}

/// Removes the socket of a dead daemon, and nothing else: at a path that was given with `--socket` there may be a file, or
/// the socket of another program.
fn remove_stale(socket: &Path) -> Result<()> {
    let path = socket.display();
    match std::fs::symlink_metadata(socket) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Ok(metadata) if metadata.file_type().is_socket() => {}
        _ => {
            return Err(refused(format!("{path} exists already, and is not a socket"))
                .hint("choose another path with --socket or KV_SOCKET"));
        }
    }
    if listens(socket) {
        return Err(refused(format!("another program listens on {path}"))
            .hint("end it, or choose another path with --socket or KV_SOCKET"));
    }
    std::fs::remove_file(socket)
        .map_err(|error| refused(format!("the stale socket {path} cannot be removed: {error}")))
}

/// Binds and listens, with the final path and mode from the beginning: a socket that is renamed after bind is removed by
/// systemd-tmpfiles, and one whose mode is changed after bind stands open for a moment.
fn listen(place: &Place) -> io::Result<UnixListener> {
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    let address = SocketAddrUnix::new(place.socket())?;
    let own = Mode::RUSR | Mode::WUSR;
    // Linux gives the new file the mode of the descriptor, less the umask. Other systems refuse this; there only the umask
    // restricts the mode. It belongs to the whole process: a thread that makes a file meanwhile would get it too.
    if rustix::fs::fchmod(&socket, own).is_ok() {
        rustix::net::bind(&socket, &address)?;
        let made = rustix::fs::lstat(place.socket())?;
        if Mode::from_raw_mode(made.st_mode) != own && FileType::from_raw_mode(made.st_mode).is_socket() {
            // The umask took away what the owner needs.
            rustix::fs::chmod(place.socket(), own)?;
        }
    } else {
        let umask = rustix::process::umask(Mode::RWXG | Mode::RWXO);
        let bound = rustix::net::bind(&socket, &address);
        rustix::process::umask(umask);
        bound?;
    }
    place.let_group_in()?;
    rustix::net::listen(&socket, i32::try_from(limits::CONNECTIONS).unwrap_or(i32::MAX))?;
    UnixListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meeting::presence::is_alive;

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
    async fn only_a_stale_socket_is_removed() {
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
}
