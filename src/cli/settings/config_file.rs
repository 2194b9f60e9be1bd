//! Files with profiles: `/etc/kv/config.toml` for all users, and `~/.config/kv/config.toml`.

use std::collections::BTreeMap;
use std::fs::read_to_string;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use directories::BaseDirs;
use kv::plain_words;
use kv::store::{Code, Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Options, Origin, Setting, usage};

/// The file for all users.
const SYSTEM_FILE: &str = "/etc/kv/config.toml";

/// What has to be encoded in the path of a URI.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// The profiles of all files that were read.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct ConfigFiles {
    /// The files that were looked for; of two profiles with one name the one in the later file is used.
    pub(in crate::cli) searched: Vec<PathBuf>,
    /// Those of them that are there.
    pub(in crate::cli) read: Vec<PathBuf>,
    profiles: BTreeMap<String, Profile>,
    /// The profile that is used by default, and the file that says so.
    default: Option<(String, PathBuf)>,
}

/// Options under a name.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// Why this profile is used.
    origin: Origin,
    /// The name of each option with its value.
    pub(super) options: Vec<(String, String)>,
}

/// The contents of a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    profile: Option<String>,
    #[serde(default)]
    profiles: BTreeMap<String, BTreeMap<String, Value>>,
}

/// What an option can be set to.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a text or a whole number")]
enum Value {
    Text(String),
    Number(i64),
}

impl ConfigFiles {
    /// Reads the file that is named or, when none is, that of the system and that of the user. A profile of the user replaces
    /// one of the system with the same name.
    ///
    /// # Errors
    /// `bad_request` when a file is not like that, or the named one is not there; `unavailable` when one cannot be read.
    pub(super) fn read(named: Option<Setting<PathBuf>>) -> Result<ConfigFiles> {
        let searched = match &named {
            Some(named) => vec![named.value.clone()],
            None => {
                let own = BaseDirs::new().map(|directories| directories.config_dir().join("kv/config.toml"));
                std::iter::once(PathBuf::from(SYSTEM_FILE)).chain(own).collect()
            }
        };
        let mut files = ConfigFiles { searched: searched.clone(), ..ConfigFiles::default() };
        for file in searched {
            match (text_of(&file)?, &named) {
                (Some(text), _) => files.add(&file, &text)?,
                (None, None) => {}
                (None, Some(named)) => {
                    let message = format!(
                        "there is no file {}, which {} names",
                        file.display(),
                        named.origin.spell("config")
                    );
                    return Err(usage(
                        &message,
                        "without it, the files of the system and of the user are read",
                    ));
                }
            }
        }
        Ok(files)
    }

    fn add(&mut self, file: &Path, text: &str) -> Result<()> {
        let contents: Contents = toml::from_str(text).map_err(|error| syntax(file, text, &error))?;
        self.read.push(file.to_owned());
        if let Some(name) = contents.profile {
            self.default = Some((name, file.to_owned()));
        }
        let known = Options::names();
        for (name, values) in contents.profiles {
            let mut options = Vec::new();
            for (option, value) in values {
                if !known.contains(&option) || ["config", "profile"].contains(&option.as_str()) {
                    return Err(unknown(file, &name, &option, &known));
                }
                let value = match value {
                    Value::Number(number) => number.to_string(),
                    Value::Text(text) => complete(&option, text).map_err(|what| {
                        let place = format!("{option} of the profile {name} in {}", file.display());
                        usage(
                            &format!("{place} {what}"),
                            "a profile is used in every directory: write /PATH or ~/PATH",
                        )
                    })?,
                };
                options.push((option, value));
            }
            let origin = Origin::Default;
            self.profiles.insert(name.clone(), Profile { name, file: file.to_owned(), origin, options });
        }
        Ok(())
    }

    /// The names of all profiles.
    pub(in crate::cli) fn names(&self) -> Vec<&str> {
        self.profiles.keys().map(String::as_str).collect()
    }

    /// The profile that is named or, when none is, the one that is used by default.
    ///
    /// # Errors
    /// `bad_request` when there is no such profile.
    pub(super) fn profile(&self, named: Option<&Setting<String>>) -> Result<Option<Profile>> {
        let (name, origin) = match (named, &self.default) {
            (Some(named), _) => (&named.value, named.origin.clone()),
            (None, Some((name, file))) => (name, Origin::Files(file.clone())),
            (None, None) => return Ok(None),
        };
        match self.profiles.get(name) {
            Some(profile) => Ok(Some(Profile { origin, ..profile.clone() })),
            None => {
                let hint = match self.names().as_slice() {
                    [] => "no file has profiles: kv config show names the files".to_owned(),
                    names => format!("there are: {}", names.join(", ")),
                };
                Err(usage(
                    &format!("there is no profile {name:?}, which {} names", origin.spell("profile")),
                    &hint,
                ))
            }
        }
    }
}

impl Profile {
    /// The name of this profile, and why it is used.
    pub(super) fn as_setting(&self) -> Setting<String> {
        Setting { value: self.name.clone(), origin: self.origin.clone() }
    }
}

/// The text of a file; none when it is not there.
fn text_of(file: &Path) -> Result<Option<String>> {
    match read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => {
            Err(Error::new(Code::Unavailable, format!("{} cannot be read: {error}", file.display()))
                .hint("correct it, or name another file with --config or KV_CONFIG"))
        }
    }
}

/// What is wrong with the text of a file. The words of the library that come with a copy of the line are left out: there may
/// be a password on it.
fn syntax(file: &Path, text: &str, error: &toml::de::Error) -> Error {
    let line =
        error.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    let line = line.map_or_else(String::new, |line| format!(", line {line}"));
    usage(
        &format!("{}{line}: {}", file.display(), plain_words::of_message(error.message().trim())),
        "a file of profiles has profile = \"NAME\" and tables [profiles.NAME]",
    )
}

fn unknown(file: &Path, profile: &str, option: &str, known: &[String]) -> Error {
    let known: Vec<&str> =
        known.iter().map(String::as_str).filter(|name| !["config", "profile"].contains(name)).collect();
    usage(
        &format!("the profile {profile} in {} has no setting {option:?}", file.display()),
        &format!("there are: {}", known.join(", ")),
    )
}

/// A value that means the same in every directory, with the home directory in the place of a `~`.
fn complete(option: &str, value: String) -> std::result::Result<String, &'static str> {
    let (scheme, path) = match option {
        // An address of a server has a colon and two slashes.
        "connection" if value.contains("://") || value.contains(":memory:") => return Ok(value),
        "connection" => value.strip_prefix("file:").map_or(("", value.as_str()), |path| ("file:", path)),
        "connection-file" | "ca" | "client-cert" | "client-key" | "socket" => ("", value.as_str()),
        _ => return Ok(value),
    };
    if let Some(rest) = path.strip_prefix("~/") {
        let directories = BaseDirs::new().ok_or("begins with ~, and this user has no home directory")?;
        let home =
            directories.home_dir().to_str().ok_or("begins with ~, and the home directory is not UTF-8")?;
        // A path in a URI is written in another way than a plain one.
        let home =
            if scheme.is_empty() { home.to_owned() } else { utf8_percent_encode(home, IN_PATH).to_string() };
        return Ok(format!("{scheme}{home}/{rest}"));
    }
    if path.starts_with('/') { Ok(value) } else { Err("is a relative path") }
}
