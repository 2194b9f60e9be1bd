//! Redis with the same promise as kv: an acknowledged write is on the disk.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::Place;
use crate::client::{fill, wait_for};
use crate::wire::Wire;

/// A server that ends with this value.
pub struct Redis {
    child: Child,
    pub socket: PathBuf,
}

impl Redis {
    /// Starts a server with so many keys.
    pub fn start(place: &Place, name: &str, keys: u64) -> Redis {
        let (directory, socket) = (place.directory(name), place.socket(name));
        let mut command = Command::new("redis-server");
        command.arg("--unixsocket").arg(&socket).arg("--dir").arg(&directory);
        command.args(["--port", "0", "--appendonly", "yes", "--appendfsync", "always"]);
        // No snapshot and no rewrite of the log disturbs a measure.
        command.args(["--save", "", "--auto-aof-rewrite-percentage", "0"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let child = command.spawn().expect("redis-server is missing: scripts/bench brings it");
        let redis = Redis { child, socket };
        wait_for(&redis.socket);
        fill(Wire::Redis, &redis.socket, keys);
        redis
    }

    /// A command of redis-cli on this server.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("redis-cli");
        command.arg("-s").arg(&self.socket).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // Its data are not needed, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
