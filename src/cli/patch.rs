//! `kv patch`

use clap::{Args, ValueEnum};
use kv::store::{self, Error, JsonText, PatchFormat, Result, Store, TypeChange};

use super::arguments::{ConditionArguments, KeyArguments};
use super::output;
use super::put::read;

#[derive(Debug, Args)]
pub(super) struct Patch {
    #[command(flatten)]
    key: KeyArguments,
    /// Patch, as JSON
    #[arg(long, allow_hyphen_values = true, value_name = "JSON")]
    value: Option<String>,
    /// How the patch is read: JSON Merge Patch (RFC 7396) or JSON Patch (RFC 6902)
    #[arg(long, default_value = "merge")]
    format: Format,
    #[command(flatten)]
    condition: ConditionArguments,
    /// Give the record this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Print the new version
    #[arg(long)]
    print_version: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Merge,
    JsonPatch,
}

impl Patch {
    pub(super) fn request(&self) -> Result<store::Patch> {
        let text = match &self.value {
            Some(value) => value.clone(),
            None => read(std::io::stdin().lock(), "stdin")?,
        };
        let patch = JsonText::parse(&text)
            .map_err(|error| Error::from(error).hint("for example: echo '{\"age\":31}' | kv patch KEY"))?;
        Ok(store::Patch {
            format: match self.format {
                Format::Merge => PatchFormat::Merge,
                Format::JsonPatch => PatchFormat::JsonPatch,
            },
            condition: self.condition.condition()?,
            record_type: self.of_type.clone().map_or(TypeChange::Keep, TypeChange::Set),
            ..store::Patch::merge(self.key.key(), patch)
        })
    }

    pub(super) async fn run(self, store: &impl Store, patch: store::Patch) -> Result<()> {
        let written = store.patch(patch).await?;
        if self.print_version { output::print_line(&written.version.to_string()) } else { Ok(()) }
    }
}
