//! The directory of the socket, and the daemons of this user.

use std::path::Path;

use futures_util::future::join_all;
use kv::client::{Client, Target};
use kv::limits;
use kv::meeting::discovery::{self, LiveDaemon};
use kv::meeting::place::Place;
use kv::protocol::Hello;

use super::Finding;
use crate::cli::connect;
use crate::cli::settings::Settings;

const SOCKET: &str = "socket";
const DAEMONS: &str = "daemons";

pub(super) async fn findings(settings: &Settings) -> Vec<Finding> {
    let place = match connect::place(settings) {
        Ok(place) => place,
        // A memory store has no daemon.
        Err(error) => return vec![Finding::problem(SOCKET, &error)],
    };
    let mut findings = vec![directory(&place)];
    let mut serving = Vec::new();
    let own = connect::address(settings).ok();
    let daemons = discovery::daemons();
    findings.extend(left());
    // Together, so that those that do not answer are waited for once.
    let hellos = join_all(daemons.iter().map(hello)).await;
    for (daemon, hello) in daemons.iter().zip(hellos) {
        match hello {
            Some(hello) => {
                let serves = own
                    .as_ref()
                    .is_some_and(|own| own.kind().as_str() == hello.engine && own.to_string() == hello.store);
                if serves {
                    serving.push(hello.pid);
                }
                if hello.version != env!("CARGO_PKG_VERSION") {
                    let message = format!(
                        "process {} serves {} with kv {}, and this is kv {}",
                        hello.pid,
                        hello.store,
                        hello.version,
                        env!("CARGO_PKG_VERSION")
                    );
                    findings.push(Finding::warning(DAEMONS, message, "kv daemon restart"));
                }
            }
            None => {
                let process =
                    daemon.pid.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
                let message = format!("{process} does not answer at {}", daemon.place.socket().display());
                let hint = daemon.pid.map_or_else(
                    || "end that process: no acknowledged write is lost".to_owned(),
                    |pid| format!("kill -9 {pid}: no acknowledged write is lost"),
                );
                findings.push(Finding::warning(DAEMONS, message, hint));
            }
        }
    }
    let message = format!("{} run as this user, {} for this store", daemons.len(), serving.len());
    findings.push(match serving.len() {
        0 | 1 => Finding::ok(DAEMONS, message),
        _ => {
            let pids: Vec<String> = serving.iter().map(u32::to_string).collect();
            let message = format!("{message}: processes {}", pids.join(", "));
            Finding::warning(DAEMONS, message, "each is right, but one is enough: kv daemon list shows them")
        }
    });
    findings
}

fn directory(place: &Place) -> Finding {
    let directory = place.socket().parent().unwrap_or(Path::new("/"));
    match place.check() {
        Err(error) => Finding::problem(SOCKET, &error),
        Ok(()) if directory.exists() => Finding::ok(SOCKET, format!("{} is private", directory.display())),
        Ok(()) => Finding::ok(SOCKET, format!("{} will be made by the first daemon", directory.display())),
    }
}

/// Sockets on which nobody listens any more: a daemon that was killed leaves its own.
fn left() -> Option<Finding> {
    let left = discovery::left_sockets();
    let names: Vec<String> = left.iter().map(|socket| socket.display().to_string()).collect();
    (!names.is_empty()).then(|| {
        let message = format!("nobody listens at {}: its daemon was killed", names.join(", "));
        Finding::warning(SOCKET, message, "the next daemon for the same store replaces it; or remove it")
    })
}

/// The description that a daemon gives of itself; none when it does not answer in time.
async fn hello(daemon: &LiveDaemon) -> Option<Hello> {
    let target = Target { place: daemon.place.clone(), address: None, launch: None };
    let found = tokio::time::timeout(limits::LIST_TIMEOUT, Client::find(target)).await;
    Some(found.ok()?.ok()??.hello())
}
