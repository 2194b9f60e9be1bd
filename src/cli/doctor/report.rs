//! The report of a fault: everything that somebody who looks into it asks for, without secrets.

use kv::client::Client;
use kv::limits;
use kv::store::Result;

use super::{Finding, lines};
use crate::cli::settings::Settings;
use crate::cli::{config, connect, logs, output};

/// The report as text. What cannot be had is left out, with the reason.
pub(super) async fn text(findings: &[Finding], settings: Option<&Settings>) -> String {
    let system = rustix::system::uname();
    let words = [system.sysname(), system.release(), system.machine()].map(|word| word.to_string_lossy());
    let mut sections = vec![
        ("Versions".to_owned(), format!("kv {}\n{}", env!("CARGO_PKG_VERSION"), words.join(" "))),
        ("Findings".to_owned(), findings_text(findings)),
    ];
    if let Some(settings) = settings {
        sections.push(("Settings".to_owned(), told(output::to_document(&config::views(settings)))));
        sections.push(("Status".to_owned(), told(status(settings).await)));
        let log = logs::last(settings, limits::REPORT_LOG_LINES).await;
        sections.push((format!("Log (the last {} lines)", limits::REPORT_LOG_LINES), told(log)));
    }
    let sections = sections.iter().map(|(name, text)| format!("## {name}\n\n{}\n", text.trim_end()));
    sections.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn findings_text(findings: &[Finding]) -> String {
    let rows = lines(findings);
    rows.iter().map(|row| row.join("  ").trim().to_owned()).collect::<Vec<_>>().join("\n")
}

async fn status(settings: &Settings) -> Result<String> {
    match Client::find(connect::running(settings)?).await? {
        Some(client) => {
            let mut status = client.status().await?;
            // They begin as keys do.
            status.slowest_subscriptions.iter_mut().for_each(|subscription| subscription.prefix = None);
            output::to_document(&status)
        }
        None => Ok("no daemon runs".to_owned()),
    }
}

fn told(text: Result<String>) -> String {
    text.unwrap_or_else(|error| format!("{} ({})", error.message, error.code))
}
