//! `kv put`

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use kv::limits;
use kv::store::json_text::JsonTextErrorKind;
use kv::store::{self, Code, Error, JsonText, Mutation, Reply, Result, Write};

use super::arguments::{ConditionArguments, GuardArguments, KeyArguments, usage};
use super::{WriteCommand, output};

#[derive(Debug, Args)]
pub(super) struct Put {
    #[command(flatten)]
    key: KeyArguments,
    /// Value, as JSON
    #[arg(long, allow_hyphen_values = true, value_name = "JSON", conflicts_with_all = ["text", "file"])]
    value: Option<String>,
    /// Value, as text that becomes a JSON string
    #[arg(long, allow_hyphen_values = true, value_name = "STRING", conflicts_with = "file")]
    text: Option<String>,
    /// Value, as the JSON in a file
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    #[command(flatten)]
    condition: ConditionArguments,
    #[command(flatten)]
    guard: GuardArguments,
    /// Give the record this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Remove the record after this time, as 30s, 10m or 24h (default: it stays)
    #[arg(long, value_name = "TIME", value_parser = super::duration::ttl)]
    ttl: Option<u64>,
    /// Print the new version
    #[arg(long)]
    print_version: bool,
}

impl WriteCommand for Put {
    fn write(&self) -> Result<Write> {
        let mut put = store::Put::new(self.key.key(), self.read_value()?);
        put.condition = self.condition.condition()?;
        put.ttl_ms = self.ttl;
        if let Some(record_type) = &self.of_type {
            put = put.of_type(record_type);
        }
        Ok(self.guard.write(Mutation::Put(put)))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        print_version(self.print_version, &reply)
    }
}

/// Prints the version of the written record, when the user asked for it.
pub(super) fn print_version(wanted: bool, reply: &Reply) -> Result<()> {
    match reply {
        Reply::Written(written) if wanted => output::print_line(&written.version.to_string()),
        _ => Ok(()),
    }
}

impl Put {
    fn read_value(&self) -> Result<JsonText> {
        if let Some(text) = &self.text {
            return Ok(JsonText::of(text)?);
        }
        let text = match (&self.value, &self.file) {
            (Some(value), _) => value.clone(),
            (None, Some(path)) => {
                let file = std::fs::File::open(path)
                    .map_err(|error| usage(&format!("{}: {error}", path.display()), "check the path"))?;
                read(file, &path.display().to_string())?
            }
            (None, None) => read(std::io::stdin().lock(), "stdin")?,
        };
        JsonText::parse(&text).map_err(|error| match error.kind {
            JsonTextErrorKind::Syntax => Error::from(error)
                .hint("quote a string as JSON, or give it with --text: kv put KEY --text hello"),
            _ => Error::from(error),
        })
    }
}

/// Reads a value. White space is not stored, so the input may be longer than the largest value, but it is bounded.
pub(super) fn read(source: impl std::io::Read, name: &str) -> Result<String> {
    let bytes_max = 2 * limits::VALUE_BYTES;
    let mut bytes = Vec::new();
    source
        .take(bytes_max as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| usage(&format!("{name} cannot be read: {error}"), "give the value with --value"))?;
    if bytes.len() > bytes_max {
        return Err(Error::new(Code::TooLarge, format!("{name} holds more than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| usage(&format!("{name} is not UTF-8"), "values are JSON in UTF-8"))
}
