//! `kv daemon metrics`: the figures of a daemon in the text format of Prometheus
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{Display, Write as _};

use kv::client::Client;
use kv::protocol::{RecentFigures, Status};
use kv::store::Result;

use super::{connect, output};
use crate::cli::settings::Settings;

pub(super) async fn run(settings: &Settings) -> Result<()> {
    let client = Client::connect_to(connect::running(settings)?).await?;
    output::print_line(exposition(&client.status().await?).trim_end())
}

/// Families of samples, one after the other.
struct Exposition {
    text: String,
    /// The labels of each sample.
    labels: String,
}

impl Exposition {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, label: Option<(&str, &str)>, value: impl Display) {
        let label = label.map_or_else(String::new, |(key, value)| format!(",{key}=\"{}\"", escaped(value)));
        let _ = writeln!(self.text, "{name}{{{}{label}}} {value}", self.labels);
    }

    /// A family with one sample.
    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, None, value);
    }

    /// A summary: recent quantiles, with the sum and the count since the start.
    fn summary(&mut self, name: &str, help: &str, recent: &RecentFigures, sum: f64, count: u64) {
        self.family(name, "summary", help);
        for (quantile, us) in [("0.5", recent.p50_us), ("0.9", recent.p90_us), ("0.99", recent.p99_us)] {
            self.sample(name, Some(("quantile", quantile)), us as f64 / 1e6);
        }
        self.sample(&format!("{name}_sum"), None, sum);
        self.sample(&format!("{name}_count"), None, count);
    }
}

fn exposition(status: &Status) -> String {
    let Status { hello, requests, commits, .. } = status;
    let labels = format!("engine=\"{}\",store=\"{}\"", escaped(&hello.engine), escaped(&hello.store));
    let mut shown = Exposition { text: String::new(), labels };
    shown.family("kv_info", "gauge", "The daemon; its version is a label.");
    shown.sample("kv_info", Some(("version", &hello.version)), 1);
    shown.single(
        "kv_uptime_seconds",
        "gauge",
        "Time since the daemon was started.",
        status.uptime_ms as f64 / 1e3,
    );
    if let Some(head) = status.head {
        shown.single("kv_stream_head", "counter", "The seq of the last change.", head);
    }
    shown.single("kv_connections", "gauge", "Connections that are served.", status.connections);
    shown.single(
        "kv_waiting_requests",
        "gauge",
        "Requests that wait for a lock or a consumer.",
        requests.waiting,
    );
    shown.single("kv_subscriptions", "gauge", "Subscriptions.", status.subscriptions);
    let lag = status.slowest_subscriptions.first().map_or(0, |slowest| slowest.lag);
    shown.single("kv_subscription_lag_max", "gauge", "Changes that the slowest subscription is behind.", lag);
    shown.single(
        "kv_in_flight_bytes",
        "gauge",
        "Bytes of small requests and replies under way.",
        status.in_flight_bytes,
    );
    shown.single("kv_requests_total", "counter", "Requests that were answered.", requests.count);
    shown.family("kv_errors_total", "counter", "Requests that were answered with an error, by its code.");
    for (code, count) in &requests.errors {
        shown.sample("kv_errors_total", Some(("code", code)), count);
    }
    shown.summary(
        "kv_request_seconds",
        "Time of a request in the daemon.",
        &requests.recent,
        requests.seconds,
        requests.timed,
    );
    shown.summary(
        "kv_commit_seconds",
        "Time of a commit, which holds a batch of writes.",
        &commits.recent,
        commits.seconds,
        commits.count,
    );
    shown.single("kv_committed_writes_total", "counter", "Writes that were committed.", commits.writes);
    if !status.servers.is_empty() {
        shown.family("kv_server_up", "gauge", "Whether a server of the store is reached.");
    }
    for server in &status.servers {
        shown.sample("kv_server_up", Some(("server", &server.name)), u8::from(server.reachable));
    }
    shown.text
}

/// A text as the value of a label.
fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}
