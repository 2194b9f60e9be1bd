//! Whether the store answers, where it is, and what its servers say.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Instant;

use kv::client::Client;
use kv::limits;
use kv::protocol::{ServerStatus, server_statuses};
use kv::store::{Address, Clock, LocalStore, Result, Store as _};
use rustix::fs::FsWord;

use super::Finding;
use crate::cli::connect;
use crate::cli::settings::Settings;

const STORE: &str = "store";
const SERVERS: &str = "servers";
const FILE: &str = "file";

/// What a store tells of itself.
struct Answer {
    head: u64,
    servers: Vec<ServerStatus>,
    warnings: Vec<String>,
    by: String,
}

pub(super) async fn findings(settings: &Settings) -> Vec<Finding> {
    let Ok(address) = connect::address(settings) else { return Vec::new() };
    let mut findings = Vec::new();
    let begun = Instant::now();
    match ask(settings, &address).await {
        Ok(Answer { head, servers, warnings, by }) => {
            let message =
                format!("it answers {by} after {} ms; its head is {head}", begun.elapsed().as_millis());
            findings.push(Finding::ok(STORE, message));
            findings.extend(of_servers(&servers, warnings));
        }
        Err(error) => findings.push(Finding::problem(STORE, &error)),
    }
    if let Some(file) = address.file().filter(|file| file.exists()) {
        findings.extend(of_file(file));
    }
    findings
}

/// Asks the store through the daemon that runs, or else in this process.
async fn ask(settings: &Settings, address: &Address) -> Result<Answer> {
    address.check().await?;
    if let Some(client) = Client::find(connect::running(settings)?).await? {
        let head = client.stream_seq().await?;
        let status = client.status().await?;
        let by = format!("through the daemon, process {},", status.hello.pid);
        return Ok(Answer { head, servers: status.servers, warnings: status.warnings, by });
    }
    let store = LocalStore::open(address, Clock::System);
    let head = store.stream_seq().await;
    let (servers, warnings) = server_statuses(store.servers().await);
    store.close().await;
    Ok(Answer { head: head?, servers, warnings, by: "in this process".to_owned() })
}

fn of_servers(servers: &[ServerStatus], warnings: Vec<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for server in servers {
        let version = server.version.as_deref().unwrap_or("of unknown version");
        let text = format!("{} at {}, {version}", server.name, server.address);
        findings.push(match (&server.error, server.reachable) {
            (None, true) if server.leader => Finding::ok(SERVERS, format!("{text}, leads")),
            (None, true) => Finding::ok(SERVERS, text),
            (error, _) => {
                let reason = error.as_deref().unwrap_or("it is not reached");
                Finding::warning(SERVERS, format!("{text}: {reason}"), "look at that server")
            }
        });
    }
    let hint = "docs/postgresql.md and docs/rqlite.md tell what kv needs of a server";
    findings.extend(warnings.into_iter().map(|warning| Finding::warning(SERVERS, warning, hint)));
    findings
}

/// Who may read the file, whether its file system suits SQLite, and how much room it has.
fn of_file(file: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let shown = file.display();
    if let Ok(metadata) = file.metadata() {
        const OTHERS: u32 = 0o007;
        if metadata.mode() & OTHERS != 0 {
            findings.push(Finding::warning(
                FILE,
                format!("other users can open {shown} past the daemon"),
                format!("chmod o= {shown}"),
            ));
        }
    }
    if let Some(kind) = network_file_system(file) {
        findings.push(Finding::warning(
            FILE,
            format!("{shown} is on {kind}, whose locks SQLite cannot rely on"),
            "move the store to a disk of this machine: kv backup, kv restore",
        ));
    }
    if let Ok(space) = rustix::fs::statvfs(file) {
        let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
        let message = format!("{} MiB are free on the disk of {shown}", free_bytes >> 20);
        findings.push(match free_bytes < limits::DISK_FREE_LOW_BYTES {
            true => Finding::warning(FILE, message, "kv stream trim and kv compact make room"),
            false => Finding::ok(FILE, message),
        });
    }
    findings
}

/// The name of the network file system that holds a file (statfs(2)); none for a disk.
fn network_file_system(file: &Path) -> Option<&'static str> {
    const KINDS: [(FsWord, &str); 4] =
        [(0x6969, "NFS"), (0xff53_4d42, "CIFS"), (0xfe53_4d42, "SMB"), (0x0102_1997, "9p")];
    let kind = rustix::fs::statfs(file).ok()?.f_type;
    KINDS.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}
