//! `kv patch`

use clap::{Args, ValueEnum};
use kv::store::{
    self, Error, ExpiryChange, JsonText, Mutation, PatchFormat, Reply, Result, TypeChange, Write, Written,
};

use super::arguments::{ConditionArguments, GuardArguments, KeyArguments};
use super::put::{print_version, read};
use super::{WriteCommand, output};

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
    #[command(flatten)]
    guard: GuardArguments,
    /// Give the record this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Remove the record after this time, as 30s, 10m or 24h; none = it stays (default: as it is)
    #[arg(long, value_name = "TIME", value_parser = super::duration::expiry)]
    ttl: Option<ExpiryChange>,
    /// Print the new version
    #[arg(long, conflicts_with = "print_value")]
    print_version: bool,
    /// Print the new value
    #[arg(long)]
    print_value: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Merge,
    JsonPatch,
}

impl WriteCommand for Patch {
    fn write(&self) -> Result<Write> {
        let text = match &self.value {
            Some(value) => value.clone(),
            None => read(std::io::stdin().lock(), "stdin")?,
        };
        let patch = JsonText::parse(&text)
            .map_err(|error| Error::from(error).hint("for example: echo '{\"age\":31}' | kv patch KEY"))?;
        let patch = store::Patch {
            format: match self.format {
                Format::Merge => PatchFormat::Merge,
                Format::JsonPatch => PatchFormat::JsonPatch,
            },
            condition: self.condition.condition()?,
            record_type: self.of_type.clone().map_or(TypeChange::Keep, TypeChange::Set),
            expiry: self.ttl.unwrap_or_default(),
            return_value: self.print_value,
            ..store::Patch::merge(self.key.key(), patch)
        };
        Ok(self.guard.write(Mutation::Patch(patch)))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        match reply {
            Reply::Written(Written { value: Some(value), .. }) => output::print_line(&value.pretty()),
            reply => print_version(self.print_version, &reply),
        }
    }
}
