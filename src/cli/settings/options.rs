//! The global options of one source.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args as _, Command, FromArgMatches as _};
use kv::environment::variable;
use kv::store::{Error, Result};

use super::config_file::Profile;
use super::{Origin, StoreArguments, usage};

/// The name of the credential that holds a connection string (systemd.exec(5), `LoadCredential=`).
const CREDENTIAL: &str = "kv.connection";

/// The global options of one source.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Options {
    pub(super) values: StoreArguments,
    pub(super) origin: Origin,
}

impl Options {
    /// The names of all global options that have a value: those that other sources than the command line know too.
    pub(in crate::cli) fn names() -> Vec<String> {
        let command = StoreArguments::augment_args(Command::new("kv"));
        let with_value = command.get_arguments().filter(|option| option.get_action().takes_values());
        with_value.filter_map(|option| Some(option.get_long()?.to_owned())).collect()
    }

    /// The variable that stands for an option: `KV_CLIENT_CERT` for `client-cert`.
    pub(in crate::cli) fn variable_of(name: &str) -> String {
        format!("KV_{}", name.to_uppercase().replace('-', "_"))
    }

    /// The variables that say which store is meant, and how to reach it.
    pub(in crate::cli) fn variables_of_store() -> impl Iterator<Item = String> {
        ["type", "connection", "connection-file", "ca", "client-cert", "client-key", "socket"]
            .into_iter()
            .map(Options::variable_of)
    }

    /// What the variables say.
    pub(super) fn of_environment() -> Result<Options> {
        let set: Vec<(String, OsString)> = Options::names()
            .iter()
            .filter_map(|name| {
                let variable_name = Options::variable_of(name);
                let word = word(name, &variable(&variable_name)?);
                Some((variable_name, word))
            })
            .collect();
        let values = parse(set.iter().map(|(_, word)| word.clone()).collect(), "the environment");
        let values = values.map_err(|error| {
            // Each alone, so that the error names the variable.
            let refused = |(name, word): &(String, OsString)| parse(vec![word.clone()], name).err();
            set.iter().find_map(refused).unwrap_or(error)
        })?;
        Ok(Options { values, origin: Origin::Environment })
    }

    /// What a profile says.
    pub(super) fn of_profile(profile: &Profile) -> Result<Options> {
        let words = profile.options.iter().map(|(name, value)| word(name, value.as_ref())).collect();
        let what = format!("the profile {} in {}", profile.name, profile.file.display());
        let origin = Origin::Profile { name: profile.name.clone(), file: profile.file.clone() };
        Ok(Options { values: parse(words, &what)?, origin })
    }

    /// The credential in the directory of a system service.
    pub(super) fn of_credential(directory: Option<PathBuf>) -> Option<Options> {
        let file = directory?.join(CREDENTIAL);
        let values = StoreArguments { connection_file: Some(file), ..StoreArguments::default() };
        let is_there = values.connection_file.as_ref().is_some_and(|file| file.exists());
        is_there.then_some(Options { values, origin: Origin::Credential })
    }

    /// Whether they say which store is meant.
    pub(super) fn name_store(&self) -> bool {
        let StoreArguments { engine, connection, connection_file, socket, .. } = &self.values;
        engine.is_some() || connection.is_some() || connection_file.is_some() || socket.is_some()
    }

    /// These options without those that say which store is meant, and how to reach it.
    pub(super) fn without_store(self) -> Options {
        let values = StoreArguments {
            engine: None,
            connection: None,
            connection_file: None,
            ca: None,
            client_cert: None,
            client_key: None,
            socket: None,
            ..self.values
        };
        Options { values, ..self }
    }
}

/// An option with its value, as a word of a command line.
fn word(name: &str, value: &std::ffi::OsStr) -> OsString {
    let mut word = OsString::from(format!("--{name}="));
    word.push(value);
    word
}

/// Reads options as those of a command line are read.
fn parse(words: Vec<OsString>, source: &str) -> Result<StoreArguments> {
    let command =
        StoreArguments::augment_args(Command::new("kv").no_binary_name(true).disable_help_flag(true));
    let parsed =
        command.try_get_matches_from(words).and_then(|found| StoreArguments::from_arg_matches(&found));
    parsed.map_err(|error| refusal(&error, source))
}

/// What clap says about an option, as an error of its source.
fn refusal(error: &clap::Error, source: &str) -> Error {
    let text = error.to_string();
    // The paragraphs behind the first one are about the command line.
    let paragraph = text.split("\n\n").next().unwrap_or_default();
    let lines: Vec<&str> = paragraph.trim_start_matches("error: ").lines().map(str::trim).collect();
    usage(
        &format!("{source}: {}", lines.join(" ")),
        "kv config show tells what is set, and where; kv --help, what can be",
    )
}
