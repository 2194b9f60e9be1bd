//! `kv daemon list` and `kv daemon stop --all`

use std::path::Path;

use clap::Args;
use futures_util::future::join_all;
use kv::client::{Client, Target};
use kv::limits;
use kv::meeting::discovery::{self, LiveDaemon as Found};
use kv::protocol::{Hello, Status};
use kv::store::{Address, Code, EngineKind, Error, Result};
use serde::Serialize;

use super::super::format::{self, OutputFormat};
use super::super::output::Column;
use super::super::{duration, output};
use super::{check_unmanaged, followers_note};

#[derive(Debug, Args)]
pub(crate) struct List {
    /// A table for people, or JSON for programs
    #[arg(long, default_value = "table", value_name = "FORMAT", value_parser = OutputFormat::one_of(format::REPORT))]
    output: OutputFormat,
}

/// A daemon with the status that it told; none when it did not answer.
struct QueriedDaemon {
    found: Found,
    answer: Option<(Client, Status)>,
}

/// A daemon in the form in which it is printed.
#[derive(Serialize)]
struct DaemonView<'a> {
    socket: &'a Path,
    pid: Option<u32>,
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spawned: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    started: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uptime_s: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    clients: Option<usize>,
}

impl QueriedDaemon {
    async fn all() -> Vec<QueriedDaemon> {
        let mut asked = join_all(discovery::daemons().into_iter().map(QueriedDaemon::ask)).await;
        // Daemons that do not answer come last.
        let name =
            |asked: &QueriedDaemon| asked.answer.as_ref().map(|(_, status)| status.hello.store.clone());
        asked.sort_by_key(|asked| (asked.answer.is_none(), name(asked)));
        asked
    }

    async fn ask(found: Found) -> QueriedDaemon {
        let target = Target { place: found.place.clone(), address: None, launch: None };
        let answer = async {
            let client = Client::find(target).await.ok()??;
            let status = client.status().await.ok()?;
            Some((client, status))
        };
        let answer = tokio::time::timeout(limits::LIST_TIMEOUT, answer).await.ok().flatten();
        QueriedDaemon { found, answer }
    }

    fn pid(&self) -> Option<u32> {
        self.answer.as_ref().map(|(_, status)| status.hello.pid).or(self.found.pid)
    }

    /// The error for a daemon that systemd runs: it is not ended here.
    fn managed(&self) -> Option<Error> {
        self.answer.as_ref().and_then(|(client, _)| check_unmanaged(client, "stop").err())
    }

    fn view(&self) -> DaemonView<'_> {
        let status = self.answer.as_ref().map(|(_, status)| status);
        let hello = status.map(|status| &status.hello);
        DaemonView {
            socket: self.found.place.socket(),
            pid: self.pid(),
            answers: status.is_some(),
            store: hello.map(store),
            version: hello.map(|hello| hello.version.as_str()),
            spawned: hello.map(|hello| hello.spawned),
            started: status.map(|status| status.started.as_str()),
            uptime_s: status.and_then(uptime_s),
            // Without the connection of this command.
            clients: status.map(|status| status.connections.saturating_sub(1)),
        }
    }
}

/// The store of a daemon; for a file its path.
fn store(hello: &Hello) -> String {
    let address = EngineKind::from_name(&hello.engine).map(|kind| Address::parse(kind, &hello.store));
    let path = address.and_then(|address| Some(address.ok()?.file()?.display().to_string()));
    path.unwrap_or_else(|| hello.store.clone())
}

fn uptime_s(status: &Status) -> Option<i64> {
    let started: jiff::Timestamp = status.started.parse().ok()?;
    Some((jiff::Timestamp::now().as_second() - started.as_second()).max(0))
}

impl List {
    pub(super) async fn run(self) -> Result<()> {
        let asked = QueriedDaemon::all().await;
        let views: Vec<DaemonView> = asked.iter().map(QueriedDaemon::view).collect();
        match self.output {
            OutputFormat::Json => output::print_document(&views),
            _ if views.is_empty() => {
                output::note("no daemon runs");
                Ok(())
            }
            _ => output::print_table(COLUMNS, views.iter().map(row).collect()),
        }
    }
}

const COLUMNS: &[Column] = &[
    Column::path("STORE"),
    Column::number("PID"),
    Column::word("VERSION").spare(1),
    Column::number("UPTIME"),
    Column::number("CLIENTS").spare(2),
    Column::word("SOCKET").spare(3),
];

fn row(view: &DaemonView) -> Vec<String> {
    let text = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    vec![
        view.store.clone().unwrap_or_else(|| "(does not answer)".to_owned()),
        text(view.pid.map(|pid| pid.to_string())),
        text(view.version.map(str::to_owned)),
        text(view.uptime_s.map(duration::told)),
        text(view.clients.map(|clients| clients.to_string())),
        view.socket.display().to_string(),
    ]
}

/// Ends every daemon of this user, and lists them.
pub(super) async fn stop_all() -> Result<()> {
    let mut left = Vec::new();
    let asked = QueriedDaemon::all().await;
    if asked.is_empty() {
        output::note("no daemon runs");
    }
    let (asked, managed): (Vec<_>, Vec<_>) = asked.into_iter().partition(|asked| asked.managed().is_none());
    for error in managed.iter().filter_map(QueriedDaemon::managed) {
        output::note(&format!("{}; it goes on: {}", error.message, error.hint.unwrap_or_default()));
    }
    let ended = join_all(asked.iter().map(|asked| async move {
        match &asked.answer {
            Some((client, _)) => client.end_daemon().await,
            None => Err(Error::new(Code::Timeout, "it does not answer")),
        }
    }));
    for (asked, ended) in asked.iter().zip(ended.await) {
        match (&asked.answer, ended) {
            (Some((_, status)), Ok(())) => {
                let Hello { pid, .. } = status.hello;
                output::note(&format!("ended process {pid}, which served {}", store(&status.hello)));
                followers_note(status);
            }
            _ => left.push(asked),
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let words = |word: fn(&QueriedDaemon) -> String, separator: &str| {
        left.iter().map(|asked| word(asked)).collect::<Vec<_>>().join(separator)
    };
    let pid = |asked: &QueriedDaemon| asked.pid().map_or_else(String::new, |pid| pid.to_string());
    let process = |asked: &QueriedDaemon| {
        let pid = asked.pid().map_or_else(|| "of unknown number".to_owned(), |pid| pid.to_string());
        format!("process {pid} at {}", asked.found.place.socket().display())
    };
    Err(Error::new(Code::Timeout, format!("these daemons do not end: {}", words(process, ", ")))
        .hint(format!("kill -9 {}: no acknowledged write is lost", words(pid, " "))))
}
