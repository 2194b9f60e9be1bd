//! Daemons of which several serve one store.

use std::path::PathBuf;
use std::time::Duration;

use kv::Client;

use super::{Kv, is_alive, wait_until};

/// A daemon by the real binary, which is the only one of its directory: several serve one database.
pub(crate) struct OwnDaemon {
    pub(crate) kv: Kv,
    url: String,
    pub(crate) socket: PathBuf,
}

impl OwnDaemon {
    /// Starts a daemon of the store on the database at a URL.
    pub(crate) fn start(url: &str) -> OwnDaemon {
        let daemon = OwnDaemon { kv: Kv::new(), url: url.to_owned(), socket: PathBuf::new() };
        let socket = daemon.ok("socket").into();
        OwnDaemon { socket, ..daemon }
    }

    /// What a command prints.
    pub(crate) fn ok(&self, command: &str) -> String {
        self.kv.ok(&self.command(command)).trim().to_owned()
    }

    /// A command with its options, for the shell.
    pub(crate) fn command(&self, command: &str) -> String {
        let engine = if self.url.starts_with("http") { "rqlite" } else { "postgres" };
        format!("kv --type {engine} --connection '{}' {command}", self.url)
    }

    /// A client of the daemon, or of the next one while it is killed and started again.
    pub(crate) async fn client(&self) -> Client {
        let connect = async {
            loop {
                match Client::connect(&self.socket).await {
                    Err(error) if error.retry => tokio::time::sleep(Duration::from_millis(5)).await,
                    connected => return connected.unwrap(),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(10), connect).await.expect("a daemon listens")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.ok("daemon status | jq .pid").parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        for pid in self.kv.daemons() {
            self.kv.ok(&format!("kill -{name} {pid}"));
        }
    }

    /// Kills the daemon, and starts the next one at the same place.
    pub(crate) fn kill_and_start(&self) {
        let pid = self.pid();
        self.kv.ok(&format!("kill -9 {pid}"));
        wait_until("the death of the daemon", || !is_alive(pid));
        self.ok("socket");
    }
}
