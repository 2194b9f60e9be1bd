//! Who may talk to whom: checked by both sides, before a byte is parsed or sent.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::directory::unreadable;
use super::{SYSTEM_DIRECTORY, quoted, refused};
use crate::store::Result;

/// Which peers a daemon serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// This user and root, who could read the store anyway.
    User(u32),
    /// Whoever the mode of the socket lets in: a peer shows its primary group only, and may be in others.
    Mode,
}

impl Admission {
    /// Only the user of this process, and root.
    #[must_use]
    pub fn of_this_process() -> Admission {
        Admission::User(own_uid())
    }

    /// Whether a peer of this user is served.
    #[must_use]
    pub fn admits(self, uid: u32) -> bool {
        match self {
            Admission::User(own_uid) => uid == own_uid || uid == 0,
            Admission::Mode => true,
        }
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
#[must_use]
pub fn is_system(socket: &Path) -> bool {
    socket.parent() == Some(Path::new(SYSTEM_DIRECTORY))
}

pub(super) fn check_server(socket: &Path, system_directory: Option<&Path>, uid: u32) -> Result<()> {
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
pub(super) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
