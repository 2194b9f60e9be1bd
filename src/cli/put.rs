//! `kv put`

use std::path::{Path, PathBuf};

use clap::Args;
use kv::quote::shell_word;
use kv::store::JsonTextErrorKind;
use kv::store::{self, Error, ExpiryChange, JsonText, Mutation, Reply, Result, Write};

use super::arguments::{ConditionArguments, GuardArguments, KeyArguments};
use super::{WriteCommand, input, output};

#[derive(Debug, Args)]
pub(super) struct Put {
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    source: Source,
    #[command(flatten)]
    condition: ConditionArguments,
    #[command(flatten)]
    guard: GuardArguments,
    /// Give the record this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
    /// Remove the record after this time, as 30s, 10m or 7d; none = it stays, which is the default
    #[arg(long, value_name = "TIME", value_parser = super::duration::expiry)]
    ttl: Option<ExpiryChange>,
    /// Keep the expiry of the record
    #[arg(long, conflicts_with = "ttl")]
    keep_ttl: bool,
    /// Print the new version
    #[arg(long)]
    print_version: bool,
}

/// Where the value comes from, unless it is a word behind the key.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct Source {
    /// Value, as JSON; - = stdin
    #[arg(long, allow_hyphen_values = true, value_name = "JSON")]
    value: Option<String>,
    /// Value, as text that becomes a JSON string; - = stdin
    #[arg(long, allow_hyphen_values = true, value_name = "STRING")]
    text: Option<String>,
    /// Value, as the JSON in a file; - = stdin
    #[arg(long, allow_hyphen_values = true, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Value, as the text in a file, every byte of it; - = stdin
    #[arg(long, allow_hyphen_values = true, value_name = "PATH")]
    text_file: Option<PathBuf>,
}

impl WriteCommand for Put {
    fn write(&self) -> Result<Write> {
        let mut put = store::Put::new(self.key.key(), self.read_value()?);
        put.condition = self.condition.condition()?;
        put.expiry = match self.keep_ttl {
            true => ExpiryChange::Keep,
            false => self.ttl.unwrap_or(ExpiryChange::Clear),
        };
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
        let Source { value, text, file, text_file } = &self.source;
        let word = self
            .key
            .word_unless(value.is_some() || text.is_some() || file.is_some() || text_file.is_some())?;
        if let Some(text) = text {
            return Ok(JsonText::of(&input::text_word(text)?)?);
        }
        if let Some(path) = text_file {
            return Ok(JsonText::of(&input::text_of(path)?)?);
        }
        let text = match (value.as_deref().or(word), file) {
            (Some(word), _) => input::json_word(word)?,
            (None, Some(path)) => input::json_of(path)?,
            (None, None) => input::json_of_stdin()?,
        };
        JsonText::parse(&text).map_err(|error| match error.kind {
            JsonTextErrorKind::Syntax => Error::from(error).hint(self.as_text(value.as_deref().or(word))),
            _ => Error::from(error),
        })
    }

    /// The words that store this as a text.
    fn as_text(&self, word: Option<&str>) -> String {
        let key = self.key.key();
        let given = |word: &str| shell_word(Path::new(word));
        match word {
            Some(word) if word != input::STDIN && !word.starts_with('-') && !key.starts_with('-') => {
                format!("a text is given with --text: kv put {} --text {}", given(&key), given(word))
            }
            _ => "a text is given with --text TEXT, or read with --text-file PATH; - is stdin".to_owned(),
        }
    }
}
