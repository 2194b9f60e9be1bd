//! Whether a daemon lives at a place: by the lock that it holds for its life, and by its socket.

use std::path::Path;

use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};

use super::lock_file;
use super::place::Place;

/// Whether a process listens at a socket. Does not block.
pub(crate) fn listens(socket: &Path) -> bool {
    let connected = || -> rustix::io::Result<()> {
        let stream = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::fcntl_setfd(&stream, FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&stream, true)?;
        rustix::net::connect(&stream, &SocketAddrUnix::new(socket)?)
    };
    // A server that has not accepted for so long that its queue is full listens all the same.
    matches!(connected(), Ok(()) | Err(Errno::AGAIN))
}

/// Whether a daemon lives at this place.
pub(crate) fn is_alive(place: &Place) -> bool {
    lock_file::is_held(&place.life_lock()).unwrap_or(false)
}

/// Whether the daemon in the process `pid` lives at this place: once it has ended, the next daemon may be there already.
pub(crate) fn is_alive_as(place: &Place, pid: u32) -> bool {
    let holder = lock_file::read(&place.life_lock()).unwrap_or_default();
    is_alive(place) && holder.trim_ascii() == pid.to_string().as_bytes()
}
