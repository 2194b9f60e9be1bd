//! Stores on a real PostgreSQL server, and what may happen to it: sessions that are ended, servers that are killed, daemons
//! that stand still, networks that are slow.

mod copy;
mod stream;

use std::path::PathBuf;

use kv::Client;

use crate::support::Kv;

/// A daemon by the real binary, which is the only one of its directory: several serve one database.
struct OwnDaemon {
    kv: Kv,
    socket: PathBuf,
}

impl OwnDaemon {
    /// Starts a daemon of the store on the database at a URL.
    fn start(url: &str) -> OwnDaemon {
        let kv = Kv::new();
        let socket = kv.ok(&format!("kv --type postgres --connection '{url}' socket")).trim().into();
        OwnDaemon { kv, socket }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.socket).await.unwrap()
    }
}
