//! The socket that a service manager hands to the daemon (sd_listen_fds(3)): it listened there before, starts the daemon at
//! the first connection, and keeps the socket when the daemon ends.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use listenfd::ListenFd;

use crate::environment::variable;
use crate::quote::shown;
use crate::store::{Code, Error, Result};

/// A socket on which a service manager listens for this process.
#[derive(Debug)]
pub struct Activation {
    listener: UnixListener,
    socket: PathBuf,
}

impl Activation {
    /// Takes the socket that was handed to this very process; none when there is none. Removes the variables that tell of it,
    /// so it is to be called once, before any thread is started.
    ///
    /// # Errors
    /// `bad_request` when something else was handed over than one Unix socket with a path, on which somebody listens.
    pub fn take() -> Result<Option<Activation>> {
        // A process that inherits the variables of its caller inherits other descriptors under these numbers. The crate
        // would also take them when nothing says whom they are for.
        if variable("LISTEN_PID").is_none_or(|pid| pid != std::process::id().to_string().as_str()) {
            return Ok(None);
        }
        let mut handed = ListenFd::from_env();
        match handed.len() {
            0 => return Ok(None),
            1 => {}
            count => {
                return Err(refused(&format!("{count} sockets were handed over"))
                    .hint("name one with ListenStream= in the socket unit, and no other"));
            }
        }
        let listener = handed.take_unix_listener(0).map_err(|error| refused(&error.to_string()))?;
        listener.map(Activation::of).transpose()
    }

    fn of(listener: UnixListener) -> Result<Activation> {
        let checked = || -> io::Result<(bool, Option<PathBuf>)> {
            let is_listening = rustix::net::sockopt::socket_acceptconn(&listener)?;
            Ok((is_listening, listener.local_addr()?.as_pathname().map(Path::to_owned)))
        };
        match checked().map_err(|error| refused(&error.to_string()))? {
            (true, Some(socket)) if socket.is_absolute() => Ok(Activation { listener, socket }),
            (true, Some(socket)) => Err(refused(&format!("{} is a relative path", shown(&socket)))),
            (true, None) => Err(refused("its socket has no path, and clients look for one")),
            (false, _) => {
                Err(refused("nobody listens on its socket").hint("set Accept=no in the socket unit"))
            }
        }
    }

    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A listener on the socket, which is not closed with this value. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// `unavailable` when the process has no descriptor left.
    pub(super) fn listener(&self) -> Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone().and_then(|listener| {
            listener.set_nonblocking(true)?;
            tokio::net::UnixListener::from_std(listener)
        });
        listener.map_err(|error| {
            Error::new(Code::Unavailable, format!("{} cannot be used: {error}", shown(&self.socket)))
        })
    }
}

/// The error for what a service manager should not hand over.
fn refused(why: &str) -> Error {
    Error::new(Code::BadRequest, format!("the service manager hands over no socket of a daemon: {why}"))
        .hint("name the path of one socket with ListenStream= in the socket unit")
}
