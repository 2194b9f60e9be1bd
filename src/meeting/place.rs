//! Where the files of a daemon live, and whom they may be shared with.
//!
//! Everything stands beside the socket: two lock files and the log. The log is there too, and not in the state
//! directory, because this is the one directory whose owner and mode are checked, and it is there whenever a daemon
//! is; a log that must outlive the session is the journal's, by a systemd unit.

mod directory;
mod own;
mod peer;

use std::ffi::OsString;
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
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::files::beside;

/// Where a system service of kv listens; only root can create it.
const SYSTEM_DIRECTORY: &str = "/run/kv";

/// The name of a daemon's life lock is that of its socket with this behind it.
pub(super) const LIFE_LOCK: &str = ".life-lock";

/// How many bytes of the hash of a store's identity make its name.
const NAME_BYTES: usize = 8;

/// The files of the daemon of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    socket: PathBuf,
    /// The socket of a system service that may serve the same store.
    system_socket: Option<PathBuf>,
    guard: Guard,
}

/// Who sees to it that nobody else gets at the socket.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Guard {
    /// kv: the directory is its own, created when needed, and private.
    Own,
    /// Whoever chose the directory with `--socket`.
    Chosen,
    /// The mode of the system's directory, which lets a group in.
    Group(SocketGroup),
}

/// A group whose members may use a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketGroup {
    name: String,
    gid: u32,
}

impl SocketGroup {
    /// The group of this name, in the user database.
    ///
    /// # Errors
    /// `bad_request` when there is none.
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
    /// The place of the store with this identity, or the one that `--socket` / `KV_SOCKET` asks for.
    ///
    /// Creates nothing. An empty or relative variable in the environment is ignored.
    pub fn for_store(identity: &str, socket_override: Option<&Path>) -> Result<Place> {
        if let Some(socket) = socket_override {
            return Place::at(socket);
        }
        let file = format!("{}.sock", store_name(identity));
        let socket = own_directory(file.len())?.join(&file);
        let system_socket = Some(Path::new(SYSTEM_DIRECTORY).join(file));
        Ok(Place { socket, system_socket, guard: Guard::Own })
    }

    /// The place in `/run/kv` of a daemon that serves a group too: the one for the store with this identity, or the one
    /// that `--socket` asks for. Clients look there without being told.
    ///
    /// # Errors
    /// `bad_request` for a socket in another directory, where others might put theirs.
    pub fn for_group(identity: &str, socket_override: Option<&Path>, group: SocketGroup) -> Result<Place> {
        let socket = match socket_override {
            Some(socket) => Place::at(socket)?.socket,
            None => Path::new(SYSTEM_DIRECTORY).join(format!("{}.sock", store_name(identity))),
        };
        if !is_system(&socket) {
            return Err(Error::new(
                Code::BadRequest,
                format!("a group can share a socket in {SYSTEM_DIRECTORY} only, not {}", socket.display()),
            )
            .hint("leave out --socket"));
        }
        Ok(Place { socket, system_socket: None, guard: Guard::Group(group) })
    }

    /// The place around a given socket: `--socket`, and what a client hands to the daemon that it starts.
    pub fn at(socket: &Path) -> Result<Place> {
        let socket = std::path::absolute(socket)
            .map_err(|error| refused(format!("{} is no path of a socket: {error}", socket.display())))?;
        if socket.file_name().is_none() {
            return Err(refused(format!("{} is no path of a socket: it has no file name", socket.display())));
        }
        check_length(&socket)?;
        Ok(Place { socket, system_socket: None, guard: Guard::Chosen })
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The lock that one client holds while it starts a daemon.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        beside(&self.socket, ".start-lock")
    }

    /// The lock that the daemon holds for its life.
    #[must_use]
    pub fn life_lock(&self) -> PathBuf {
        beside(&self.socket, LIFE_LOCK)
    }

    /// What a spawned daemon writes to stderr.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        beside(&self.socket, ".log")
    }

    /// The sockets where a client looks for a daemon, in this order.
    #[must_use]
    pub fn candidates(&self) -> Vec<&Path> {
        std::iter::once(self.socket.as_path()).chain(self.system_socket.as_deref()).collect()
    }

    /// Makes the directory ready for a daemon: kv's own is created when it is missing and must be private, one that
    /// was chosen with `--socket` must exist, that of a group must keep everybody else out.
    pub fn ensure(&self) -> Result<()> {
        let directory = self.directory();
        match &self.guard {
            Guard::Own => create_private(directory).and_then(|()| self.check()),
            Guard::Chosen if directory.is_dir() => Ok(()),
            Guard::Chosen => Err(refused(format!(
                "{} is not a directory: a socket cannot be put there",
                directory.display()
            ))
            .hint(format!("mkdir -m 700 {}", quoted(directory)))),
            Guard::Group(group) => check_shared(directory, group),
        }
    }

    /// Checks that nobody else could have put a socket there, as far as kv answers for the directory. One that is not
    /// there holds none.
    pub(crate) fn check(&self) -> Result<()> {
        match self.guard {
            Guard::Own if self.directory().symlink_metadata().is_ok() => {
                let checked = check_private(self.directory());
                // Where everybody may put something, nobody can be told to correct what another user put there.
                checked.map_err(
                    |error| if self.is_in_shared_directory() { error.hint(ELSEWHERE) } else { error },
                )
            }
            _ => Ok(()),
        }
    }

    /// Opens a socket that was just bound, for its owner alone, to the group that may use it.
    pub(crate) fn let_group_in(&self) -> io::Result<()> {
        let Guard::Group(group) = &self.guard else { return Ok(()) };
        // In this order the mode is never wider than it will be: for the group it opens last.
        rustix::fs::chown(&self.socket, None, Some(rustix::fs::Gid::from_raw(group.gid)))?;
        Ok(rustix::fs::chmod(&self.socket, Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP)?)
    }

    /// Whether it was named with `--socket`, or is around a socket that was found.
    pub(crate) fn is_chosen(&self) -> bool {
        self.guard == Guard::Chosen
    }

    /// Whether a group uses it too.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.guard, Guard::Group(_))
    }

    /// Which peers the daemon at this place serves.
    #[must_use]
    pub fn admission(&self) -> Admission {
        match self.guard {
            Guard::Own | Guard::Chosen => Admission::of_this_process(),
            Guard::Group(_) => Admission::Mode,
        }
    }

    fn is_in_shared_directory(&self) -> bool {
        own::is_last_resort(self.directory())
    }

    /// Keeps those who sweep old files out of the directory of a daemon, for as long as what is answered lives
    /// (tmpfiles.d(5)): a socket and locks are used without being touched.
    pub(crate) fn keep_from_being_swept(&self) -> Option<File> {
        if !self.is_in_shared_directory() {
            return None;
        }
        let directory = File::open(self.directory()).ok()?;
        directory.try_lock_shared().is_ok().then_some(directory)
    }

    fn directory(&self) -> &Path {
        // Both constructors made sure that the socket has a file name and an absolute path, so a parent as well.
        self.socket.parent().unwrap_or(Path::new("/"))
    }
}

/// The name of a store's files: the first 16 hex digits of the hash of its identity.
fn store_name(identity: &str) -> String {
    let hash = Sha256::digest(identity.as_bytes());
    hash.iter().take(NAME_BYTES).fold(String::new(), |mut name, byte| {
        // Writing to a String does not fail.
        let _ = write!(name, "{byte:02x}");
        name
    })
}

/// A socket's path is bounded by the kernel; bind and connect would only say "invalid argument".
fn check_length(socket: &Path) -> Result<()> {
    let length = socket.as_os_str().len();
    if length <= limits::SOCKET_PATH_BYTES {
        return Ok(());
    }
    Err(refused(format!(
        "the path of the socket has {length} bytes, the system allows {}: {}",
        limits::SOCKET_PATH_BYTES,
        socket.display()
    ))
    .hint("choose a shorter one with --socket or KV_SOCKET, or a shorter directory with XDG_RUNTIME_DIR"))
}

/// `unavailable`, but nothing that passes by itself.
pub(crate) fn refused(message: impl Into<String>) -> Error {
    let mut error = Error::new(Code::Unavailable, message);
    error.retry = false;
    error
}

/// A path as a word for a shell, because hints are copied.
fn quoted(path: &Path) -> String {
    let text = OsString::from(path).to_string_lossy().into_owned();
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-+@%".contains(character);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests;
