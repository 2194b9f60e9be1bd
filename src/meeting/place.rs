//! The files of a daemon, where they stand, and which users may use them.
//!
//! Everything stands beside the socket: two lock files and the log. The log is there too, and not in the state
//! directory, because this is the one directory whose owner and mode are checked, and it is there whenever a daemon
//! is; a log that must outlive the session belongs in the journal, by a systemd unit.

mod directory;
mod own;
mod peer;

use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;
use sha2::{Digest, Sha256};

use self::directory::{check_private, check_shared, create_private};
pub(super) use self::own::own_directories;
use self::own::{ELSEWHERE, own_directory};
pub use self::peer::{Admission, check_peer, is_system};
use super::presence::is_alive;
use crate::limits;
use crate::quote::{shell_word, shown};
use crate::store::files::beside;
use crate::store::{Code, Error, Result};

/// The directory in which a system service of kv listens; only root can create it.
const SYSTEM_DIRECTORY: &str = "/run/kv";

/// The name of the socket of a unit of a service manager, in the directory of the user or of the system. A unit is a file that
/// cannot hold the hash of a store, so the name is the same for all.
pub const UNIT_SOCKET: &str = "kv.sock";

/// What follows the name of the socket in the name of a daemon's life lock.
pub(super) const LIFE_LOCK: &str = ".life-lock";

/// How many bytes of the hash of a store's identity make the name of its files; two hexadecimal digits each.
const HASH_BYTES: usize = 8;

/// The files of the daemon of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    socket: PathBuf,
    /// The socket of a system service that may serve the same store, for clients to try after the other one.
    system_socket: Option<PathBuf>,
    /// The sockets of units, which may serve any store: for clients to try last.
    unit_sockets: Vec<PathBuf>,
    guard: Guard,
}

/// What keeps other users from the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    /// The directory is kv's own: created when it is missing, and checked to be private.
    Own,
    /// The user, who chose the directory with `--socket`.
    Chosen,
    /// The mode of the system's directory, which lets a group in and no other user.
    Group(SocketGroup),
    /// The service manager that has bound the socket, for these users.
    ServiceManager(Admission),
}

/// A group of users who may use a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketGroup {
    name: String,
    gid: u32,
}

impl SocketGroup {
    /// Looks a group up by its name in the user database.
    ///
    /// # Errors
    /// `bad_request` when there is no such group, or the database cannot be read.
    pub fn find(name: &str) -> Result<SocketGroup> {
        let unknown = |why: &str| Error::new(Code::BadRequest, format!("the group {name} {why}"));
        match nix::unistd::Group::from_name(name) {
            Ok(Some(group)) => Ok(SocketGroup { name: name.to_owned(), gid: group.gid.as_raw() }),
            Ok(None) => Err(unknown("does not exist").hint(format!("sudo groupadd --system {name}"))),
            Err(errno) => Err(unknown(&format!("cannot be looked up: {errno}"))),
        }
    }
}

impl Place {
    /// The place for the store with this identity ([`Address::identity`](crate::store::Address::identity)), or the one
    /// around `socket_override`, which `--socket` or `KV_SOCKET` names.
    ///
    /// Creates nothing. `XDG_RUNTIME_DIR` and `XDG_STATE_HOME` are ignored when they are empty or relative.
    ///
    /// # Errors
    /// `unavailable` when this user has no directory for a socket; for a given socket as [`at`](Place::at).
    pub fn for_store(identity: &str, socket_override: Option<&Path>) -> Result<Place> {
        if let Some(socket) = socket_override {
            return Place::at(socket);
        }
        let file = format!("{}.sock", store_name(identity));
        let (own, system) = (own_directory(file.len())?, Path::new(SYSTEM_DIRECTORY));
        let unit_sockets = vec![own.join(UNIT_SOCKET), system.join(UNIT_SOCKET)];
        let (socket, system_socket) = (own.join(&file), Some(system.join(file)));
        Ok(Place { socket, system_socket, unit_sockets, guard: Guard::Own })
    }

    /// The place in `/run/kv` of a daemon that serves a group too: the one for the store with this identity, or the one
    /// around `socket_override`. Clients try the former without being told.
    ///
    /// # Errors
    /// `bad_request` for a socket in another directory, where other users might put theirs; `unavailable` as
    /// [`at`](Place::at).
    pub fn for_group(identity: &str, socket_override: Option<&Path>, group: SocketGroup) -> Result<Place> {
        let socket = match socket_override {
            Some(socket) => Place::at(socket)?.socket,
            None => Path::new(SYSTEM_DIRECTORY).join(format!("{}.sock", store_name(identity))),
        };
        if !is_system(&socket) {
            return Err(Error::new(
                Code::BadRequest,
                format!("a group can share a socket in {SYSTEM_DIRECTORY} only, not {}", shown(&socket)),
            )
            .hint("leave out --socket"));
        }
        Ok(Place { guard: Guard::Group(group), ..Place::at(&socket)? })
    }

    /// The place around a given socket, whose directory the user has chosen. A relative path counts from the working
    /// directory.
    ///
    /// # Errors
    /// `unavailable` when the path has no file name or more than [`limits::SOCKET_PATH_BYTES`] bytes.
    pub fn at(socket: &Path) -> Result<Place> {
        let socket = std::path::absolute(socket)
            .map_err(|error| refused(format!("{} cannot be the path of a socket: {error}", shown(socket))))?;
        if socket.file_name().is_none() {
            return Err(refused(format!(
                "{} cannot be the path of a socket: it has no file name",
                shown(&socket)
            )));
        }
        check_length(&socket)?;
        Ok(Place { socket, system_socket: None, unit_sockets: Vec::new(), guard: Guard::Chosen })
    }

    /// The place around a socket that a service manager has bound. A daemon behind it serves its own user and root and, when
    /// the socket is in `/run/kv` and closed to others than its owner and group, every user whom its mode lets connect.
    ///
    /// # Errors
    /// As [`at`](Place::at).
    pub fn activated(socket: &Path) -> Result<Place> {
        let guard = Guard::ServiceManager(Admission::behind_service_manager(socket));
        Ok(Place { guard, ..Place::at(socket)? })
    }

    /// The path of the socket on which the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The path of the lock that one client holds while it starts a daemon.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        beside(&self.socket, ".start-lock")
    }

    /// The path of the lock that the daemon holds for its life.
    #[must_use]
    pub fn life_lock(&self) -> PathBuf {
        beside(&self.socket, LIFE_LOCK)
    }

    /// The path of the file that is the stderr of a daemon which a client started: its log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        beside(&self.socket, ".log")
    }

    /// The sockets that a client tries to connect to, in this order.
    #[must_use]
    pub fn candidates(&self) -> Vec<&Path> {
        std::iter::once(self.socket.as_path()).chain(self.system_socket.as_deref()).collect()
    }

    /// The sockets of units of a service manager ([`UNIT_SOCKET`]): a client that found no daemon elsewhere asks there. Behind
    /// each there may be another store, and the daemon may be started by the connection.
    #[must_use]
    pub fn unit_sockets(&self) -> &[PathBuf] {
        &self.unit_sockets
    }

    /// This place for a client that must not cause a daemon to start, which a connection to the socket of a unit can do: with
    /// those sockets of units only behind which a daemon lives. None when the socket was chosen, and no daemon lives there.
    #[must_use]
    pub fn of_living(mut self) -> Option<Place> {
        self.unit_sockets.retain(|socket| Place::at(socket).is_ok_and(|place| is_alive(&place)));
        (!self.is_chosen() || is_alive(&self)).then_some(self)
    }

    /// Makes the directory ready for a daemon: kv's own is created when it is missing and must be private, one that
    /// was chosen with `--socket` must exist, that of a group must keep all other users out.
    ///
    /// # Errors
    /// `unavailable`, with a command that helps as its hint, when the directory is not like that.
    pub fn ensure(&self) -> Result<()> {
        let directory = self.directory();
        match &self.guard {
            Guard::Own => create_private(directory).and_then(|()| self.check()),
            Guard::Chosen if directory.is_dir() => Ok(()),
            Guard::Chosen => {
                Err(refused(format!("{} is not a directory: a socket cannot be put there", shown(directory)))
                    .hint(format!("mkdir -m 700 {}", shell_word(directory))))
            }
            Guard::Group(group) => check_shared(directory, group),
            Guard::ServiceManager(_) => Ok(()),
        }
    }

    /// Checks that no other user could have put a socket there, where kv answers for the directory. A directory that is
    /// missing passes: it holds no socket.
    ///
    /// # Errors
    /// `unavailable` when kv's own directory belongs to another user, or is open to one.
    pub fn check(&self) -> Result<()> {
        match self.guard {
            Guard::Own if self.directory().symlink_metadata().is_ok() => {
                let checked = check_private(self.directory());
                // In a directory where every user may create files, this user cannot correct what another one created.
                checked.map_err(
                    |error| if self.is_in_shared_directory() { error.hint(ELSEWHERE) } else { error },
                )
            }
            _ => Ok(()),
        }
    }

    /// Opens a socket that was bound for its owner alone to the group that may use it.
    ///
    /// # Errors
    /// As chown(2) and chmod(2).
    pub(crate) fn let_group_in(&self) -> io::Result<()> {
        let Guard::Group(group) = &self.guard else { return Ok(()) };
        // In this order the socket is never open to the group that it had before.
        rustix::fs::chown(&self.socket, None, Some(rustix::fs::Gid::from_raw(group.gid)))?;
        Ok(rustix::fs::chmod(&self.socket, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP)?)
    }

    /// Whether the place is around a given socket: the user named it, or a running daemon was found there.
    pub(crate) fn is_chosen(&self) -> bool {
        self.guard == Guard::Chosen
    }

    /// Whether a group may use the daemon too.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.guard, Guard::Group(_))
    }

    /// The users that the daemon at this place serves.
    #[must_use]
    pub fn admission(&self) -> Admission {
        match self.guard {
            Guard::Own | Guard::Chosen => Admission::of_this_process(),
            Guard::Group(_) => Admission::Mode,
            Guard::ServiceManager(admission) => admission,
        }
    }

    fn is_in_shared_directory(&self) -> bool {
        own::is_last_resort(self.directory())
    }

    /// Keeps systemd-tmpfiles out of the directory of a daemon until the returned file is closed, by a lock on the
    /// directory (tmpfiles.d(5)). It removes old files from shared directories, and the use of a socket or a lock does not
    /// make it look newer. None where the directory is not shared, or cannot be locked.
    pub(crate) fn keep_from_being_swept(&self) -> Option<File> {
        if !self.is_in_shared_directory() {
            return None;
        }
        let directory = File::open(self.directory()).ok()?;
        directory.try_lock_shared().is_ok().then_some(directory)
    }

    fn directory(&self) -> &Path {
        // All constructors made sure that the path is absolute and has a file name, so it has a parent as well.
        self.socket.parent().unwrap_or(Path::new("/"))
    }
}

/// The name of a store's files: the first 16 hex digits of the hash of its identity.
fn store_name(identity: &str) -> String {
    let hash = Sha256::digest(identity.as_bytes());
    hash.iter().take(HASH_BYTES).fold(String::new(), |mut name, byte| {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// Checks the length of a socket's path, which the kernel bounds; bind(2) would only say "invalid argument".
fn check_length(socket: &Path) -> Result<()> {
    let length = socket.as_os_str().len();
    if length <= limits::SOCKET_PATH_BYTES {
        return Ok(());
    }
    Err(refused(format!(
        "the path of the socket has {length} bytes, the system allows {}: {}",
        limits::SOCKET_PATH_BYTES,
        shown(socket)
    ))
    .hint("choose a shorter one with --socket or KV_SOCKET, or a shorter directory with XDG_RUNTIME_DIR"))
}

/// An error `unavailable` that stays the same when the same is tried again.
pub(crate) fn refused(message: impl Into<String>) -> Error {
    let mut error = Error::new(Code::Unavailable, message);
    error.retry = false;
    error
}

#[cfg(test)]
mod tests;
