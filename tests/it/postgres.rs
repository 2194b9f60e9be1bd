//! Stores on a real PostgreSQL server, and what may happen to it: sessions that are ended, servers that are killed, daemons
//! that stand still, networks that are slow.

#![allow(clippy::print_stderr, reason = "the tests report their figures")]

mod copy;
mod idle;
mod kills;
#[cfg(feature = "planted-defects")]
mod planted;
mod slow;
mod stopped;
mod stream;
mod two_daemons;

use std::path::PathBuf;
use std::time::Duration;

use kv::Client;
use kv::store::{Change, Event, Store, Subscribe};
use tokio::sync::watch;

use crate::support::{Kv, is_alive, wait_until};

/// A daemon by the real binary, which is the only one of its directory: several serve one database.
struct OwnDaemon {
    kv: Kv,
    url: String,
    socket: PathBuf,
}

impl OwnDaemon {
    /// Starts a daemon of the store on the database at a URL.
    fn start(url: &str) -> OwnDaemon {
        let daemon = OwnDaemon { kv: Kv::new(), url: url.to_owned(), socket: PathBuf::new() };
        let socket = daemon.ok("socket").into();
        OwnDaemon { socket, ..daemon }
    }

    /// What a command prints.
    fn ok(&self, command: &str) -> String {
        let printed = self.kv.ok(&format!("kv --type postgres --connection '{}' {command}", self.url));
        printed.trim().to_owned()
    }

    /// A client of the daemon, or of the next one while it is killed and started again.
    async fn client(&self) -> Client {
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

    fn pid(&self) -> u32 {
        self.ok("daemon status | jq .pid").parse().unwrap()
    }

    fn signal(&self, name: &str) {
        for pid in self.kv.daemons() {
            self.kv.ok(&format!("kill -{name} {pid}"));
        }
    }

    /// Kills the daemon, and starts the next one at the same place.
    fn kill_and_start(&self) {
        let pid = self.pid();
        self.kv.ok(&format!("kill -9 {pid}"));
        wait_until("the death of the daemon", || !is_alive(pid));
        self.ok("socket");
    }
}

/// Follows the stream from its beginning to its end, which is told when it is known.
async fn follow(store: &dyn Store, mut end: watch::Receiver<Option<u64>>, mut sees: impl FnMut(Change)) {
    let mut seq = 0;
    let mut subscription = loop {
        match store.subscribe(Subscribe::after(0)).await {
            Ok(subscription) => break subscription,
            Err(error) => assert!(error.retry, "{error:?}"),
        }
    };
    loop {
        let last = *end.borrow_and_update();
        if last.is_some_and(|last| seq >= last) {
            return;
        }
        let late = async {
            match last {
                Some(_) => tokio::time::sleep(Duration::from_secs(60)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = subscription.next() => match event {
                Ok(Event::Change(change)) => {
                    seq = change.seq;
                    sees(change);
                }
                Ok(Event::Progress { .. }) => {}
                Err(error) => assert!(error.retry && !error.maybe, "{error:?}"),
            },
            changed = end.changed() => changed.expect("those who write have failed"),
            () = late => panic!("a follower stands at {seq}"),
        }
    }
}
