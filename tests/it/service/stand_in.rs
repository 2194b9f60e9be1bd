//! A stand-in for a service manager, and for the socket to which a daemon reports.

use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Kv, wait_until};

/// A manager that listens for a daemon of the store in the directory of `kv`, where its commands look for one.
pub(super) struct Manager {
    pub(super) socket: PathBuf,
    listener: UnixListener,
}

impl Manager {
    pub(super) fn listen(kv: &Kv) -> Manager {
        kv.ok("mkdir -p -m 700 run/kv");
        let socket = kv.directory.path().join("run/kv/kv.sock");
        Manager { listener: UnixListener::bind(&socket).unwrap(), socket }
    }

    /// Starts a daemon as the main process of a unit, with these words of a shell in front of it.
    pub(super) fn start(&self, kv: &Kv, prelude: &str) -> Service {
        Service::start(kv, prelude, self.listener.as_fd().try_clone_to_owned().unwrap())
    }
}

/// The main process of a unit.
pub(super) struct Service(Child);

impl Service {
    /// Hands a descriptor over, as the first one behind stderr.
    pub(super) fn start(kv: &Kv, prelude: &str, handed: OwnedFd) -> Service {
        let text = format!(
            "exec 3<&0 </dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ SYSTEMD_EXEC_PID=$$; {prelude}; exec kv daemon run"
        );
        let mut command = kv.command("bash");
        command.args(["-c", &text]).stdin(Stdio::from(handed)).stderr(Stdio::piped());
        Service(command.spawn().unwrap())
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// What it printed by its end, and its exit code.
    pub(super) fn ended(self) -> (i32, String) {
        let output = self.0.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Tells it to end, and waits until it has.
    pub(super) fn end(self, kv: &Kv) -> (i32, String) {
        kv.ok(&format!("kill {}", self.pid()));
        self.ended()
    }
}

/// The socket to which a service reports (`NOTIFY_SOCKET`).
pub(super) struct Reports {
    pub(super) path: PathBuf,
    socket: UnixDatagram,
    /// Everything that was reported, one variable each.
    heard: Vec<String>,
}

impl Reports {
    pub(super) fn listen(kv: &Kv) -> Reports {
        let path = kv.directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Reports { path, socket, heard: Vec::new() }
    }

    /// What was reported so far.
    pub(super) fn heard(&mut self) -> &[String] {
        let mut message = [0; 4_096];
        while let Ok(length) = self.socket.recv(&mut message) {
            self.heard.extend(str::from_utf8(&message[..length]).unwrap().lines().map(str::to_owned));
        }
        &self.heard
    }

    /// Waits until something is reported that was not before.
    #[track_caller]
    pub(super) fn wait_for(&mut self, words: &str) {
        let before = self.heard.len();
        wait_until(words, || self.heard()[before..].iter().any(|line| line == words));
    }
}
