//! The daemons of this user that live, whatever store they serve and from whatever environment they were started.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::lock_file;
use super::place::{LIFE_LOCK, Place, is_system, own_directories};
use super::presence::{is_alive, listens};
use crate::store::files::beside;

/// A daemon that lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveDaemon {
    /// The place around its socket.
    pub place: Place,
    /// Its process, as it wrote into its life lock when it began; none when that cannot be read.
    pub pid: Option<u32>,
}

/// The daemons of this user, and those of system services that this user can see.
///
/// They are searched in the directories where daemons listen, and among the sockets that the system lists
/// (`/proc/net/unix`). So a daemon whose socket was chosen with `--socket` is found too, as long as it runs in the same
/// network namespace.
#[must_use]
pub fn daemons() -> Vec<LiveDaemon> {
    let mut found = BTreeMap::new();
    for socket in own_directories().iter().flat_map(|directory| sockets_in(directory)).chain(bound_sockets())
    {
        let Ok(place) = Place::at(&socket) else { continue };
        if is_alive(&place) || (is_system(&socket) && listens(&socket)) {
            // One directory may have several paths.
            let key = place.life_lock().canonicalize().unwrap_or(socket);
            let pid = lock_file::read(&place.life_lock()).ok().and_then(|text| pid(&text));
            found.entry(key).or_insert(LiveDaemon { place, pid });
        }
    }
    found.into_values().collect()
}

/// The sockets in the directories of this user on which nobody listens, and whose daemon has ended: it was killed.
#[must_use]
pub fn left_sockets() -> Vec<PathBuf> {
    let directories = own_directories();
    let sockets = directories.iter().flat_map(|directory| sockets_in(directory));
    let is_left = |socket: &PathBuf| {
        socket.exists() && !listens(socket) && Place::at(socket).is_ok_and(|place| !is_alive(&place))
    };
    sockets.filter(is_left).collect()
}

fn pid(text: &[u8]) -> Option<u32> {
    str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The sockets of daemons in a directory, by their life locks: the socket itself may have been removed.
fn sockets_in(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = directory.read_dir() else { return Vec::new() };
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let sockets = names.filter_map(|name| {
        let socket = name.as_bytes().strip_suffix(LIFE_LOCK.as_bytes())?;
        Some(directory.join(OsStr::from_bytes(socket)))
    });
    sockets.collect()
}

/// The Unix sockets that are bound to a path beside which there is the life lock of a daemon (`/proc/net/unix`, proc(5)).
fn bound_sockets() -> Vec<PathBuf> {
    let table = std::fs::read("/proc/net/unix").unwrap_or_default();
    let paths = table.split(|byte| *byte == b'\n').filter_map(|line| {
        // A path is the last column, and may hold spaces.
        let start = line.iter().position(|byte| *byte == b'/')?;
        Some(PathBuf::from(OsString::from_vec(line[start..].to_vec())))
    });
    let has_lock = |socket: &PathBuf| beside(socket, LIFE_LOCK).is_file();
    let mut sockets: Vec<PathBuf> = paths.filter(has_lock).collect();
    sockets.sort_unstable();
    sockets.dedup();
    sockets
}
