//! `kv patch`

use clap::{Args, ValueEnum};
use kv::store::{self, Error, JsonText, PatchFormat, Result, Store, TypeChange};

use super::output;
use super::put::{condition, read};

#[derive(Debug, Args)]
pub(super) struct Patch {
    /// Key
    #[arg(required_unless_present = "key_flag")]
    key: Option<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY", conflicts_with = "key")]
    key_flag: Option<String>,
    /// Patch, as JSON
    #[arg(long, allow_hyphen_values = true, value_name = "JSON")]
    value: Option<String>,
    /// How the patch is read: JSON Merge Patch (RFC 7396) or JSON Patch (RFC 6902)
    #[arg(long, default_value = "merge")]
    format: Format,
    /// Patch only at this version of the key; 0 = only if it is absent, -1 = always
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    version: i64,
    /// Patch only at this revision of the key; 0 = only if it is absent, -1 = always
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    revision: i64,
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
        let key = self.key.as_ref().or(self.key_flag.as_ref()).cloned().unwrap_or_default();
        Ok(store::Patch {
            format: match self.format {
                Format::Merge => PatchFormat::Merge,
                Format::JsonPatch => PatchFormat::JsonPatch,
            },
            condition: condition(self.version, self.revision)?,
            record_type: self.of_type.clone().map_or(TypeChange::Keep, TypeChange::Set),
            ..store::Patch::merge(key, patch)
        })
    }

    pub(super) async fn run(self, store: &impl Store, patch: store::Patch) -> Result<()> {
        let written = store.patch(patch).await?;
        if self.print_version { output::print_line(&written.version.to_string()) } else { Ok(()) }
    }
}
