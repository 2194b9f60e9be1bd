//! `kv check`

use clap::{Args, ValueEnum};
use kv::store::Result;
use kv::store::maintenance::{self, Checked, Finding};

use super::progress::{Completion, watched};
use super::settings::Settings;
use super::{connect, exit_code, output};

#[derive(Debug, Args)]
pub(super) struct Check {
    /// How findings are printed
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: CheckFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// One line each, for people
    Text,
    /// One JSON object per line
    Ndjson,
}

impl Check {
    pub(super) async fn run(self, settings: &Settings) -> Result<u8> {
        let address = connect::address_of_file(settings).await?;
        let work = watched("checking", move |watcher| {
            let mut printed = Ok(());
            let mut print = |finding: Finding| {
                if printed.is_ok() {
                    printed = self.print(&finding);
                }
            };
            let checked = maintenance::check(&address, &mut print, watcher)?;
            printed.map(|()| checked)
        });
        match work.await? {
            Completion::Interrupted(code) => Ok(code),
            Completion::Finished(Checked { records, changes, findings, .. }) => {
                let looked_at = format!(
                    "{} and {} were looked at",
                    output::counted(records, "record", "records"),
                    output::counted(changes, "change", "changes")
                );
                output::note(&match findings {
                    0 => format!("{looked_at}: the store is sound"),
                    1 => format!("{looked_at}: 1 finding"),
                    _ => format!("{looked_at}: {findings} findings"),
                });
                Ok(if findings == 0 { exit_code::OK } else { exit_code::FAILURE })
            }
        }
    }

    fn print(&self, finding: &Finding) -> Result<()> {
        match self.output {
            CheckFormat::Ndjson => output::print_line(&output::to_line(finding)?),
            CheckFormat::Text => output::print_line(&line(finding)),
        }
    }
}

/// A finding as one line, whatever a damaged file holds.
pub(super) fn line(Finding { table, row, problem, .. }: &Finding) -> String {
    // A seq is a number; all other fields are texts.
    let row = row.as_ref().map_or_else(String::new, |row| match row.parse::<i64>() {
        Ok(_) if *table == "kv_stream" => format!(" {row}"),
        _ => format!(" {row:?}"),
    });
    let text = format!("{table}{row}: {problem}");
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}
