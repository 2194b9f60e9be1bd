//! Where the files of a daemon live, and whom they may be shared with.
//!
//! Everything stands beside the socket: two lock files and the log. The log is there too, and not in the state
//! directory, because this is the one directory whose owner and mode are checked, and it is there whenever a daemon
//! is; a log that must outlive the session is the journal's, by a systemd unit.

use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use sha2::{Digest, Sha256};

use crate::limits;
use crate::store::error::{Code, Error, Result};

/// Where a system service of kv listens; only root can create it.
const SYSTEM_DIRECTORY: &str = "/run/kv";

/// How many bytes of the hash of a store's identity make its name.
const NAME_BYTES: usize = 8;

/// The files of the daemon of one store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    socket: PathBuf,
    /// The socket of a system service that may serve the same store.
    system_socket: Option<PathBuf>,
    /// The directory is kv's own: created when needed, and private. Else somebody chose it with `--socket`.
    own: bool,
}

impl Place {
    /// The place of the store with this identity, or the one that `--socket` / `KV_SOCKET` asks for.
    ///
    /// Creates nothing. An empty or relative variable in the environment is ignored.
    pub fn for_store(identity: &str, socket_override: Option<&Path>) -> Result<Place> {
        if let Some(socket) = socket_override {
            return Place::at(socket);
        }
        let directory = own_directory(
            std::env::var_os("XDG_RUNTIME_DIR").as_deref(),
            Path::new("/run/user"),
            state_directory().as_deref(),
        )?;
        let file = format!("{}.sock", store_name(identity));
        let socket = directory.join(&file);
        check_length(&socket)?;
        Ok(Place { socket, system_socket: Some(Path::new(SYSTEM_DIRECTORY).join(file)), own: true })
    }

    /// The place around a given socket: `--socket`, and what a client hands to the daemon that it starts.
    pub fn at(socket: &Path) -> Result<Place> {
        let socket = std::path::absolute(socket)
            .map_err(|error| refused(format!("{} is no path of a socket: {error}", socket.display())))?;
        if socket.file_name().is_none() {
            return Err(refused(format!("{} is no path of a socket: it has no file name", socket.display())));
        }
        check_length(&socket)?;
        Ok(Place { socket, system_socket: None, own: false })
    }

    /// Where the daemon listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The lock that one client holds while it starts a daemon.
    #[must_use]
    pub fn start_lock(&self) -> PathBuf {
        self.beside(".start-lock")
    }

    /// The lock that the daemon holds for its life.
    #[must_use]
    pub fn life_lock(&self) -> PathBuf {
        self.beside(".life-lock")
    }

    /// What a spawned daemon writes to stderr.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.beside(".log")
    }

    /// The sockets where a client looks for a daemon, in this order.
    #[must_use]
    pub fn candidates(&self) -> Vec<&Path> {
        std::iter::once(self.socket.as_path()).chain(self.system_socket.as_deref()).collect()
    }

    /// Makes the directory ready for a daemon: kv's own is created when it is missing and must be private, one that
    /// was chosen with `--socket` must exist.
    pub fn ensure(&self) -> Result<()> {
        let directory = self.directory();
        if self.own {
            create_private(directory)?;
            return check_private(directory);
        }
        if !directory.is_dir() {
            return Err(refused(format!(
                "{} is not a directory: a socket cannot be put there",
                directory.display()
            ))
            .hint(format!("mkdir -m 700 {}", quoted(directory))));
        }
        Ok(())
    }

    fn directory(&self) -> &Path {
        // Both constructors made sure that the socket has a file name and an absolute path, so a parent as well.
        self.socket.parent().unwrap_or(Path::new("/"))
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut path = self.socket.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    }
}

/// Which peers a daemon serves: its own user and root, who could read the store anyway.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    own_uid: u32,
}

impl Admission {
    /// The rule for the user of this process.
    #[must_use]
    pub fn of_this_process() -> Admission {
        Admission { own_uid: own_uid() }
    }

    /// Whether a peer of this user is served.
    #[must_use]
    pub fn admits(self, uid: u32) -> bool {
        uid == self.own_uid || uid == 0
    }

    /// Checks the peer of a connection; to be called before a byte of it is parsed.
    pub fn check(self, stream: &tokio::net::UnixStream) -> Result<()> {
        let uid = peer_uid(stream)?;
        if self.admits(uid) { Ok(()) } else { Err(refused(format!("user {uid} may not use this daemon"))) }
    }
}

/// Checks, before a client sends a byte, that the server of a socket may hear the secrets of this user.
///
/// That is our own user; in `/run/kv` also the user of the service, when only root or that user can have put the
/// socket there.
pub fn check_peer(socket: &Path, stream: &tokio::net::UnixStream) -> Result<()> {
    let system = is_system(socket).then_some(Path::new(SYSTEM_DIRECTORY));
    check_server(socket, system, peer_uid(stream)?)
}

/// Whether a socket is one of a system service.
pub(crate) fn is_system(socket: &Path) -> bool {
    socket.parent() == Some(Path::new(SYSTEM_DIRECTORY))
}

fn check_server(socket: &Path, system_directory: Option<&Path>, uid: u32) -> Result<()> {
    if uid == own_uid() {
        return Ok(());
    }
    let Some(directory) = system_directory else {
        return Err(refused(format!(
            "{} is served by user {uid}, not by user {}: nothing was sent to it",
            socket.display(),
            own_uid()
        ))
        .hint("end that process, or choose another socket with --socket or KV_SOCKET"));
    };
    let metadata = std::fs::symlink_metadata(directory).map_err(|error| unreadable(directory, &error))?;
    if !metadata.is_dir() || metadata.mode() & 0o022 != 0 {
        return Err(refused(format!("others than its owner may write to {}", directory.display()))
            .hint(format!("sudo chmod go-w {}", quoted(directory))));
    }
    // In a directory of root every socket is there by root's will. Else the service's user must be the server, or
    // root, who is systemd under socket activation.
    if [0, uid].contains(&metadata.uid()) || uid == 0 {
        return Ok(());
    }
    Err(refused(format!(
        "{} is served by user {uid}, but its directory belongs to user {}: nothing was sent to it",
        socket.display(),
        metadata.uid()
    )))
}

fn peer_uid(stream: &tokio::net::UnixStream) -> Result<u32> {
    let peer = stream.peer_cred();
    peer.map(|peer| peer.uid()).map_err(|error| refused(format!("the peer of a socket is unknown: {error}")))
}

/// The effective user: the one that the kernel shows to peers and gives to new files.
fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
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

/// `kv` under the first runtime directory that is really ours, else under the state directory.
///
/// The directory of the user is looked for without the variable too, because ssh with a command, cron and services
/// have none; the variable is not believed, because su and sudo keep the old user's.
fn own_directory(runtime: Option<&OsStr>, users: &Path, state: Option<&Path>) -> Result<PathBuf> {
    let by_variable = runtime.map(PathBuf::from).filter(|path| path.is_absolute());
    let by_uid = users.join(own_uid().to_string());
    [by_variable, Some(by_uid)]
        .into_iter()
        .flatten()
        .find(|directory| check_private(directory).is_ok())
        .as_deref()
        .or(state)
        .map(|base| base.join("kv"))
        .ok_or_else(|| {
            refused(
                "there is no directory for the daemon's socket: no runtime directory, and no absolute HOME",
            )
            .hint("set XDG_RUNTIME_DIR to a directory of yours with mode 0700, or choose one with --socket")
        })
}

/// `$XDG_STATE_HOME` or `~/.local/state`, where the home is looked up in the user database when HOME is unset.
fn state_directory() -> Option<PathBuf> {
    let base = directories::BaseDirs::new()?;
    // Only Linux has a state directory.
    let directory = base.state_dir().unwrap_or_else(|| base.data_local_dir()).to_owned();
    directory.is_absolute().then_some(directory)
}

/// Creates a directory for us alone, with those above it, unless it would land in another user's tree.
fn create_private(directory: &Path) -> Result<()> {
    if directory.symlink_metadata().is_ok() {
        return Ok(());
    }
    // sudo may keep HOME: root must not leave directories in a tree that its user can rename under root's feet.
    let ancestor = directory.ancestors().find_map(|path| Some((path, path.metadata().ok()?)));
    if let Some((path, metadata)) = ancestor
        && ![0, own_uid()].contains(&metadata.uid())
    {
        return Err(refused(format!(
            "{} cannot be created: {} belongs to user {}, not to user {}",
            directory.display(),
            path.display(),
            metadata.uid(),
            own_uid()
        ))
        .hint("set HOME or XDG_STATE_HOME to a directory of yours, or choose a socket with --socket"));
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| refused(format!("{} cannot be created: {error}", directory.display())))
}

/// Checks that a directory is a real one, ours, and closed to everybody else.
fn check_private(directory: &Path) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(directory, flags, Mode::empty()).map_err(io::Error::from);
    // What was opened is asked, not the path: the path may lead elsewhere a moment later.
    let metadata = opened.and_then(|descriptor| File::from(descriptor).metadata());
    let metadata = metadata.map_err(|error| unreadable(directory, &error))?;
    let (owner, mode) = (metadata.uid(), metadata.mode() & 0o777);
    let path = quoted(directory);
    if owner != own_uid() {
        return Err(refused(format!("{path} belongs to user {owner}, not to user {}", own_uid()))
            .hint(format!("sudo chown {} {path} && chmod 700 {path}", own_uid())));
    }
    if mode != 0o700 {
        return Err(refused(format!("{path} has mode {mode:04o}, but it must be its owner's alone: 0700"))
            .hint(format!("chmod 700 {path}")));
    }
    Ok(())
}

fn unreadable(directory: &Path, error: &io::Error) -> Error {
    refused(format!("{} is not a directory that can be used: {error}", directory.display()))
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
pub(super) fn refused(message: impl Into<String>) -> Error {
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
