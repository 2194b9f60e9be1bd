//! Where a setting comes from, in words.

use std::fmt;
use std::path::PathBuf;

use super::Options;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Origin {
    /// An option of the command line.
    CommandLine,
    /// A variable of the environment.
    Environment,
    /// A credential of the system service that this process belongs to.
    Credential,
    /// A profile, by its name and its file.
    Profile { name: String, file: PathBuf },
    /// A file of profiles, outside its profiles.
    Files(PathBuf),
    /// Nothing says it.
    Default,
}

impl Origin {
    /// How this origin calls an option: `--client-cert`, `KV_CLIENT_CERT` or `client-cert in the profile work`.
    pub(in crate::cli) fn spell(&self, option: &str) -> String {
        match self {
            Origin::CommandLine => format!("--{option}"),
            Origin::Environment => Options::variable_of(option),
            Origin::Credential | Origin::Default => option.to_owned(),
            Origin::Files(file) => format!("{option} in {}", file.display()),
            Origin::Profile { name, .. } => format!("{option} in the profile {name}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::CommandLine => f.write_str("command line"),
            Origin::Environment => f.write_str("environment"),
            Origin::Credential => f.write_str("credential"),
            Origin::Profile { name, file } => write!(f, "profile {name} in {}", file.display()),
            Origin::Files(file) => write!(f, "{}", file.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}
