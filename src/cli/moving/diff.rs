//! `kv diff`

use clap::{Args, ValueHint};
use kv::limits;
use kv::protocol::RecordBody;
use kv::store::{Record, Result};
use serde::Serialize;

use super::comparison::{Comparison, Difference, differences, reread};
use super::stores;
use super::work::until_interrupted;
use crate::cli::arguments::StoreArguments;
use crate::cli::exit_code;
use crate::cli::format::{self, OutputFormat};
use crate::cli::output::{self, Column, ListPrinter, Listed};
use crate::cli::progress::Completion;

#[derive(Debug, Args)]
pub(in crate::cli) struct Diff {
    /// A store: a path, a URL or a profile
    #[arg(value_hint = ValueHint::AnyPath)]
    one: String,
    /// The store that it is compared with
    #[arg(value_hint = ValueHint::AnyPath)]
    other: String,
    /// Only keys that start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// How differences are printed (default: a line for each)
    #[arg(long, id = "diff_output", value_name = "FORMAT", value_parser = OutputFormat::one_of(format::DIFFERENCES))]
    output: Option<OutputFormat>,
}

impl Diff {
    pub(in crate::cli) async fn run(self, globals: &StoreArguments) -> Result<u8> {
        let (one, other) = stores::pair(&self.one, &self.other, globals)?;
        output::use_color(one.settings.color.value);
        let (first, second) = (one.open().await?, other.open().await?);
        let mut comparison = Comparison::of(&first, &second, self.prefix.as_deref());
        let mut count = 0;
        let printed = until_interrupted(async {
            let next_page = async || {
                let Some(suspects) = comparison.next_suspects().await? else { return Ok(None) };
                // What has changed between the two reads is not a difference.
                let found = reread(&first, &second, suspects).await?;
                count += found.len();
                Ok(Some(found))
            };
            match self.output {
                None | Some(OutputFormat::Text) => print_lines(next_page).await,
                form => ListPrinter::new(form, &one.settings).print(next_page).await.map(drop),
            }
        });
        let printed = printed.await;
        first.close().await;
        second.close().await;
        Ok(match printed? {
            Completion::Finished(()) if count == 0 => exit_code::OK,
            Completion::Finished(()) => exit_code::FAILURE,
            Completion::Interrupted(code) => code,
        })
    }
}

async fn print_lines(mut next_page: impl AsyncFnMut() -> Result<Option<Vec<Difference>>>) -> Result<()> {
    while let Some(found) = next_page().await? {
        let lines: String = found.iter().map(|difference| difference.line() + "\n").collect();
        if output::print_bytes(lines.as_bytes())?.is_break() {
            break;
        }
    }
    Ok(())
}

impl Difference {
    /// The difference as a line for people.
    pub(super) fn line(&self) -> String {
        let key = output::escaped(&self.key);
        match (&self.one, &self.other) {
            (Some(one), Some(other)) => {
                let members: Vec<String> = differences(one, other)
                    .into_iter()
                    .map(|name| format!("{name} {} → {}", member(one, name), member(other, name)))
                    .collect();
                format!("~ {key}: {}", members.join(", "))
            }
            (None, _) => format!("+ {key}"),
            (Some(_), None) => format!("- {key}"),
        }
    }
}

/// A member of a record, as far as a terminal has room for it.
fn member(record: &Record, name: &str) -> String {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    let text = match name {
        "value" => record.value.get().to_owned(),
        "type" => or_none(record.record_type.clone()),
        "version" => record.version.to_string(),
        "created" => record.created.to_string(),
        "updated" => record.updated.to_string(),
        _ => or_none(record.expires.map(|expires| expires.to_string())),
    };
    output::escaped(&if output::is_terminal() {
        output::cut(&text, limits::VALUE_TOLD_COLUMNS)
    } else {
        text
    })
}

/// A difference as JSON.
#[derive(Serialize)]
pub(in crate::cli) struct DifferenceBody {
    key: String,
    /// Of the first store; null when it has no such key.
    one: Option<RecordBody>,
    /// Of the second one.
    other: Option<RecordBody>,
    /// The members of the record that differ; none when only one store has it.
    differs: Vec<&'static str>,
}

impl From<Difference> for DifferenceBody {
    fn from(Difference { key, one, other }: Difference) -> DifferenceBody {
        let differs = match (&one, &other) {
            (Some(one), Some(other)) => differences(one, other),
            _ => Vec::new(),
        };
        DifferenceBody { key, one: one.map(Into::into), other: other.map(Into::into), differs }
    }
}

impl Listed for Difference {
    type Body = DifferenceBody;

    const COLUMNS: &'static [Column] = &[Column::text("KEY")];

    fn cells(&self) -> Vec<String> {
        vec![self.key.clone()]
    }

    fn into_key(self) -> String {
        self.key
    }
}
