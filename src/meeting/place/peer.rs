//! Which users a daemon serves, and which servers a client trusts: checked before a byte is parsed or sent.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::directory::unreadable;
use super::{SYSTEM_DIRECTORY, refused};
use crate::quote::{shell_word, shown};
use crate::store::Result;

/// The users that a daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The user with this id and root, who could read the store anyway.
    User(u32),
    /// Every user that the mode of the socket lets connect. Groups cannot be checked: the kernel tells a server only the
    /// primary group of its peer.
    Mode,
}

impl Admission {
    /// Admits the user of this process, and root.
    #[must_use]
    pub fn of_this_process() -> Admission {
        Admission::User(own_uid())
    }

    /// Admits those whom a service manager lets connect to its socket, when only its owner and a group can and the socket is
    /// in the directory of system services; else as [`of_this_process`](Admission::of_this_process).
    pub(super) fn behind_service_manager(socket: &Path) -> Admission {
        let mode = |path: &Path| std::fs::symlink_metadata(path).map(|metadata| metadata.mode());
        let is_closed = mode(socket).is_ok_and(|mode| mode & 0o007 == 0)
            && mode(Path::new(SYSTEM_DIRECTORY)).is_ok_and(|mode| mode & 0o022 == 0);
        if is_system(socket) && is_closed { Admission::Mode } else { Admission::of_this_process() }
    }

    /// Whether the user with this id is served.
    #[must_use]
    pub fn admits(self, uid: u32) -> bool {
        match self {
            Admission::User(own_uid) => uid == own_uid || uid == 0,
            Admission::Mode => true,
        }
    }

    /// Checks the user at the other end of a connection; to be called before a byte of it is parsed.
    ///
    /// # Errors
    /// `unavailable` when the user is not served, or the system does not tell it.
    pub fn check(self, stream: &tokio::net::UnixStream) -> Result<()> {
        let uid = peer_uid(stream)?;
        if self.admits(uid) { Ok(()) } else { Err(refused(format!("user {uid} may not use this daemon"))) }
    }
}

/// Checks, before a client sends a byte, that the server of a socket may hear the secrets of this user: that it runs as
/// the same user, or is the system service in `/run/kv`, where only root or the user of the service can have put the
/// socket.
///
/// # Errors
/// `unavailable` when the server runs as another user.
pub fn check_peer(socket: &Path, stream: &tokio::net::UnixStream) -> Result<()> {
    let system = is_system(socket).then_some(Path::new(SYSTEM_DIRECTORY));
    check_server(socket, system, peer_uid(stream)?)
}

/// Whether a socket is that of a system service: it stands in `/run/kv`.
#[must_use]
pub fn is_system(socket: &Path) -> bool {
    socket.parent() == Some(Path::new(SYSTEM_DIRECTORY))
}

/// The rule of [`check_peer`], for a server that runs as the user `uid`.
pub(super) fn check_server(socket: &Path, system_directory: Option<&Path>, uid: u32) -> Result<()> {
    if uid == own_uid() {
        return Ok(());
    }
    let Some(directory) = system_directory else {
        return Err(refused(format!(
            "{} is served by user {uid}, not by user {}: nothing was sent to it",
            shown(socket),
            own_uid()
        ))
        .hint("end that process, or choose another socket with --socket or KV_SOCKET"));
    };
    let metadata = std::fs::symlink_metadata(directory).map_err(|error| unreadable(directory, &error))?;
    if !metadata.is_dir() || metadata.mode() & 0o022 != 0 {
        return Err(refused(format!("others than its owner may write to {}", shown(directory)))
            .hint(format!("sudo chmod go-w {}", shell_word(directory))));
    }
    // In a directory of root every socket is there by root's will. Else the server must run as the service's user, or as
    // root: under socket activation systemd is the server.
    if [0, uid].contains(&metadata.uid()) || uid == 0 {
        return Ok(());
    }
    Err(refused(format!(
        "{} is served by user {uid}, but its directory belongs to user {}: nothing was sent to it",
        shown(socket),
        metadata.uid()
    )))
}

fn peer_uid(stream: &tokio::net::UnixStream) -> Result<u32> {
    let peer = stream.peer_cred();
    peer.map(|peer| peer.uid()).map_err(|error| refused(format!("the peer of a socket is unknown: {error}")))
}

/// The effective user of this process: the one that the kernel shows to peers and gives to new files.
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
