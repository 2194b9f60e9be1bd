//! `kv daemon status`

use std::time::Duration;

use clap::{Args, ValueEnum};
use kv::client::Client;
use kv::limits;
use kv::protocol::{RecentFigures, Status, SubscriptionStatus};
use kv::store::Result;

use super::{connect, output};
use crate::cli::duration;
use crate::cli::settings::Settings;

#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    /// Text for people, or JSON for programs (default: text on a terminal, and JSON elsewhere)
    #[arg(long)]
    output: Option<Format>,
    /// Show it again and again, each time after this time, as 1s or 500ms (1s when TIME is left out)
    #[arg(
        long,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "1s",
        value_parser = crate::cli::duration::pause
    )]
    watch: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A few lines for people
    Text,
    /// One JSON object
    Json,
}

impl StatusArguments {
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        let default = if output::is_terminal() { Format::Text } else { Format::Json };
        let format = self.output.unwrap_or(default);
        let client = Client::connect_to(connect::running(settings)?).await?;
        let Some(pause) = self.watch else {
            let status = client.status().await?;
            return match format {
                Format::Text => output::print_line(&text(&status, &client, None)),
                Format::Json => output::print_document(&status),
            };
        };
        let mut before: Option<Status> = None;
        while !output::is_reader_gone() {
            let status = client.status().await?;
            match format {
                Format::Text => output::print_screen(&text(&status, &client, before.as_ref()))?,
                Format::Json => output::print_item(&status)?,
            }
            before = Some(status);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = output::reader_is_gone() => {}
            }
        }
        Ok(())
    }
}

/// The status for people. With an earlier one, rates are those since then.
fn text(status: &Status, client: &Client, before: Option<&Status>) -> String {
    let Status { hello, requests, commits, .. } = status;
    let begun_by = if hello.spawned { "started by a command" } else { "started as a service or by hand" };
    let mut lines = vec![
        format!(
            "kv {}, process {}, {begun_by}, up {}",
            hello.version,
            hello.pid,
            duration::told(i64::try_from(status.uptime_ms / 1_000).unwrap_or(i64::MAX))
        ),
        row("store", &format!("{} {}, schema {}", hello.engine, hello.store, hello.schema)),
        row("socket", &client.socket().display().to_string()),
        row(
            "head",
            &status.head.map_or_else(|| "there is no store that answers".to_owned(), |head| head.to_string()),
        ),
        row(
            "clients",
            &format!(
                "{} of {}; {} waiting",
                output::counted(status.connections, "connection", "connections"),
                output::counted(status.processes.len(), "process", "processes"),
                output::counted(requests.waiting, "request is", "requests are"),
            ),
        ),
        row(
            "requests",
            &format!(
                "{} answered, {}",
                requests.count,
                rate(&requests.recent, since(before, status, |status| status.requests.count))
            ),
        ),
        row("", &times(&requests.recent)),
        row("errors", &errors(status)),
        row(
            "commits",
            &format!(
                "{} with {}, {}",
                commits.count,
                output::counted(commits.writes, "write", "writes"),
                rate(&commits.recent, since(before, status, |status| status.commits.count))
            ),
        ),
        row("", &times(&commits.recent)),
        row(
            "batches",
            &match commits.recent.count {
                0 => "-".to_owned(),
                _ => format!(
                    "half have up to {}, the largest {}",
                    output::counted(commits.recent_writes_p50, "write", "writes"),
                    commits.recent_writes_max
                ),
            },
        ),
        row("subscriptions", &status.subscriptions.to_string()),
    ];
    let slowest = status.slowest_subscriptions.iter().take(limits::SUBSCRIPTIONS_SHOWN);
    lines.extend(slowest.map(|subscription| row("", &followed(subscription))));
    for server in &status.servers {
        let state = match (&server.error, server.leader) {
            (Some(error), _) => error.clone(),
            (None, true) => "leads".to_owned(),
            (None, false) => "follows".to_owned(),
        };
        let version = server.version.as_deref().unwrap_or("of unknown version");
        lines.push(row("server", &format!("{} at {}, {version}: {state}", server.name, server.address)));
    }
    lines.extend(status.warnings.iter().map(|warning| row("warning", warning)));
    lines.join("\n")
}

fn row(name: &str, value: &str) -> String {
    format!("{name:<14}{}", output::escaped(value)).trim_end().to_owned()
}

/// How many more there are than before, and in how many seconds.
fn since(before: Option<&Status>, now: &Status, count: impl Fn(&Status) -> u64) -> Option<(u64, f64)> {
    let before = before?;
    let seconds = now.uptime_ms.saturating_sub(before.uptime_ms) as f64 / 1e3;
    Some((count(now).saturating_sub(count(before)), seconds)).filter(|_| seconds > 0.0)
}

fn rate(recent: &RecentFigures, since: Option<(u64, f64)>) -> String {
    let per_second = since.map_or_else(|| recent.per_second(), |(count, seconds)| count as f64 / seconds);
    format!("{per_second:.1} a second")
}

/// The percentiles of recent times.
fn times(recent: &RecentFigures) -> String {
    if recent.count == 0 {
        return "none in the last minute".to_owned();
    }
    let RecentFigures { p50_us, p90_us, p99_us, max_us, .. } = recent;
    let [p50, p90, p99, max] = [p50_us, p90_us, p99_us, max_us].map(|time| time_of(*time));
    format!("p50 {p50}, p90 {p90}, p99 {p99}, max {max}")
}

fn time_of(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn errors(status: &Status) -> String {
    let errors: Vec<String> =
        status.requests.errors.iter().map(|(code, count)| format!("{code} {count}")).collect();
    if errors.is_empty() { "none".to_owned() } else { errors.join(", ") }
}

/// A subscription: what it wants, and how far it is behind.
fn followed(subscription: &SubscriptionStatus) -> String {
    let SubscriptionStatus { process, key, prefix, record_type, consumer, seq, lag } = subscription;
    let mut words =
        vec![process.map_or_else(|| "a process".to_owned(), |process| format!("process {process}"))];
    words.extend(consumer.as_ref().map(|name| format!("as {name}")));
    words.extend(key.as_ref().map(|key| format!("key {key}")));
    words.extend(prefix.as_ref().map(|prefix| format!("prefix {prefix}")));
    words.extend(record_type.as_ref().map(|name| format!("type {name}")));
    words.push(format!("at {seq}, {lag} behind"));
    words.join(", ")
}
