//! The daemon of kv, on a fresh store.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::Place;
use crate::client::{fill, wait_for};
use crate::wire::Wire;

/// A daemon that ends with this value.
pub struct Daemon {
    child: Child,
    pub directory: PathBuf,
    pub socket: PathBuf,
}

impl Daemon {
    /// Starts the daemon of a store with this name and so many keys.
    pub fn start(place: &Place, name: &str, keys: u64) -> Daemon {
        Daemon::start_on(place, name, &[], keys)
    }

    /// The same, on the store that this environment names.
    pub fn start_on(place: &Place, name: &str, store: &[(&str, String)], keys: u64) -> Daemon {
        let (directory, socket) = (place.directory(name), place.socket(name));
        let environment = || store.iter().map(|(name, value)| (*name, value.as_str()));
        check(kv(&directory, &socket, &["--daemon=never", "init"]).envs(environment()));
        let mut run = kv(&directory, &socket, &["daemon", "run", "--idle-timeout", "0"]);
        run.envs(environment());
        let child = run.stderr(Stdio::null()).spawn().unwrap();
        let daemon = Daemon { child, directory, socket };
        wait_for(&daemon.socket);
        fill(Wire::Kv, &daemon.socket, keys);
        daemon
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn database(&self) -> PathBuf {
        self.directory.join("data.db")
    }

    /// A command of kv on this store.
    pub fn command(&self, words: &[&str]) -> Command {
        kv(&self.directory, &self.socket, words)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its data are not needed, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the store of this directory.
pub fn init(directory: &Path, socket: &Path) {
    check(&mut kv(directory, socket, &["--daemon=never", "init"]));
}

fn check(init: &mut Command) {
    let output = init.output().unwrap();
    assert!(output.status.success(), "kv init: {}", String::from_utf8_lossy(&output.stderr));
}

/// A command of kv on the store in this directory.
pub fn kv(directory: &Path, socket: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kv"));
    command.current_dir(directory).arg("--socket").arg(socket).args(words);
    for variable in ["KV_TYPE", "KV_CONNECTION", "KV_SOCKET", "KV_DAEMON"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
