//! `kv doctor`: whether an installation is sound, and what a report of a fault needs.

mod daemons;
mod process;
mod report;
mod settings;
mod store;

use clap::Args;
use kv::store::Result;
use serde::Serialize;

use super::format::{self, OutputFormat};
use super::output::Column;
use super::settings::Settings;
use super::{exit_code, hint, output};

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// A table for people, or JSON for programs
    #[arg(long, default_value = "table", value_name = "FORMAT", value_parser = OutputFormat::one_of(format::REPORT))]
    output: OutputFormat,
    /// Print what a report of a fault needs: the findings, the settings, the status and the end of the log, without passwords,
    /// keys and values
    #[arg(long, conflicts_with = "output")]
    report: bool,
}

/// What was found about one thing.
#[derive(Debug, Serialize)]
struct Finding {
    verdict: Verdict,
    /// What was looked at.
    about: &'static str,
    message: String,
    /// What can be done about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    /// It works, and should be looked at.
    Warning,
    /// It does not work.
    Problem,
}

impl Finding {
    fn ok(about: &'static str, message: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Ok, about, message: message.into(), hint: None }
    }

    fn warning(about: &'static str, message: impl Into<String>, hint: impl Into<String>) -> Finding {
        Finding { verdict: Verdict::Warning, about, message: message.into(), hint: Some(hint.into()) }
    }

    fn problem(about: &'static str, error: &kv::store::Error) -> Finding {
        let message = format!("{} ({})", error.message, error.code);
        Finding { verdict: Verdict::Problem, about, message, hint: error.hint.clone() }
    }
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Warning => "warning",
            Verdict::Problem => "problem",
        }
    }
}

const COLUMNS: &[Column] = &[Column::word("VERDICT"), Column::word("ABOUT"), Column::prose("FINDING")];

impl Doctor {
    /// Answers the exit code: FAILURE when there is a problem.
    pub(super) async fn run(self, settings: Result<Settings>) -> Result<u8> {
        let mut findings = findings(&settings).await;
        if let Ok(settings) = &settings {
            output::use_color(settings.color.value);
            for hint in findings.iter_mut().filter_map(|finding| finding.hint.as_mut()) {
                *hint = hint::repeated(hint, settings);
            }
        }
        if self.report {
            output::print_line(&report::text(&findings, settings.as_ref().ok()).await)?;
        } else {
            match self.output {
                OutputFormat::Json => output::print_document(&findings)?,
                _ => output::print_table(COLUMNS, lines(&findings))?,
            }
        }
        let is_sick = findings.iter().any(|finding| finding.verdict == Verdict::Problem);
        Ok(if is_sick { exit_code::FAILURE } else { exit_code::OK })
    }
}

/// Everything that is looked at. Without settings there is no store to look at.
async fn findings(settings: &Result<Settings>) -> Vec<Finding> {
    let mut findings = settings::findings(settings);
    if let Ok(settings) = settings {
        findings.extend(daemons::findings(settings).await);
        findings.extend(store::findings(settings).await);
    }
    findings.extend(process::findings());
    findings
}

/// The findings as rows of a table, with each hint below its finding.
fn lines(findings: &[Finding]) -> Vec<Vec<String>> {
    let row = |one: &str, two: &str, three: &str| vec![one.to_owned(), two.to_owned(), three.to_owned()];
    let mut lines = Vec::new();
    for Finding { verdict, about, message, hint } in findings {
        lines.push(row(verdict.as_str(), about, message));
        lines.extend(hint.as_ref().map(|hint| row("", "", &format!("hint: {hint}"))));
    }
    lines
}
