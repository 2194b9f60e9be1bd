//! `kv patch`

use clap::{Args, ValueEnum};
use kv::store::{
    self, Error, ExpiryChange, JsonText, Mutation, PatchFormat, Reply, Result, TypeChange, Write, Written,
};
use serde::Deserialize;

use super::arguments::{ConditionArguments, GuardArguments, KeyArguments, usage};
use super::put::print_version;
use super::{WriteCommand, input, output};

#[derive(Debug, Args)]
pub(super) struct Patch {
    #[command(flatten)]
    key: KeyArguments,
    /// Patch, as JSON; - = stdin
    #[arg(long, allow_hyphen_values = true, value_name = "JSON")]
    value: Option<String>,
    /// How the patch is read: JSON Merge Patch (RFC 7396, the default) or JSON Patch (RFC 6902)
    #[arg(long)]
    format: Option<Format>,
    #[command(flatten)]
    condition: ConditionArguments,
    #[command(flatten)]
    guard: GuardArguments,
    /// Give the record this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Remove the record after this time, as 30s, 10m or 7d; none = it stays (default: as it is)
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

/// What every operation of a JSON Patch has.
#[derive(Deserialize)]
struct Operation {
    op: String,
    path: String,
}

/// Whether a patch is an array of operations.
fn is_json_patch(patch: &JsonText) -> bool {
    patch.to::<Vec<Operation>>().is_ok_and(|operations| {
        operations.first().is_some_and(|Operation { op, path }| {
            !op.is_empty() && (path.is_empty() || path.starts_with('/'))
        })
    })
}

impl WriteCommand for Patch {
    fn write(&self) -> Result<Write> {
        let word = self.key.word_unless(self.value.is_some())?;
        let text = self.value.as_deref().or(word).map_or_else(input::json_of_stdin, input::json_word)?;
        let patch = JsonText::parse(&text)
            .map_err(|error| Error::from(error).hint("for example: kv patch KEY '{\"age\":31}'"))?;
        if self.format.is_none() && is_json_patch(&patch) {
            return Err(usage(
                "this looks like a JSON Patch, and as a merge patch it would replace the whole value",
                "--format json-patch applies its operations; --format merge stores the array",
            ));
        }
        let patch = store::Patch {
            format: match self.format {
                None | Some(Format::Merge) => PatchFormat::Merge,
                Some(Format::JsonPatch) => PatchFormat::JsonPatch,
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
