//! Arguments that several commands share.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum, ValueHint};
use kv::store::{EngineKind, Fence, Filter, Write};

use super::listing::Rest;

use super::number;

/// A connection string as the user gave it. It may hold a password, so `Debug` does not show it.
#[derive(Clone)]
pub(super) struct ConnectionString(pub(super) OsString);

impl std::fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionString(…)")
    }
}

/// The global options, from one source: the command line, the environment or a profile. [`Settings`] joins them.
///
/// The variable of an option `--some-option` is `KV_SOME_OPTION`, and its key in a profile is `some-option`.
///
/// [`Settings`]: super::settings::Settings
#[derive(Debug, Clone, Default, Args)]
pub(super) struct StoreArguments {
    /// File with profiles, instead of /etc/kv/config.toml and ~/.config/kv/config.toml
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) config: Option<PathBuf>,
    /// Profile of these files that says where the store is
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) profile: Option<String>,
    /// Kind of database (default: what the scheme of the store tells, or sqlite)
    #[arg(long = "type", global = true, value_name = "ENGINE")]
    pub(super) engine: Option<Engine>,
    /// Where the store is: a path, file:PATH?mode=ro|rw|rwc (default: file:data.db?mode=rwc),
    /// http://USER:PASSWORD@HOST:PORT,HOST:PORT (default: http://localhost:4001), or
    /// postgres://USER@HOST/DATABASE (default: what PGHOST and its like say)
    #[arg(
        long,
        global = true,
        value_name = "STORE",
        value_hint = ValueHint::AnyPath,
        allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().map(ConnectionString)
    )]
    pub(super) connection: Option<ConnectionString>,
    /// File that holds such a connection string, which may have a password
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) connection_file: Option<PathBuf>,
    /// Trust the certificates of this file, instead of those of the system
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) ca: Option<PathBuf>,
    /// Certificate that is shown to the server
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) client_cert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, global = true, value_name = "FILE", allow_hyphen_values = true)]
    pub(super) client_key: Option<PathBuf>,
    /// Socket of the daemon, instead of the one that belongs to the store
    #[arg(long, global = true, value_name = "PATH", allow_hyphen_values = true)]
    pub(super) socket: Option<PathBuf>,
    /// Start the daemon when needed, require that it runs, or open the store in this process (default: auto)
    #[arg(long = "daemon", global = true, value_name = "MODE")]
    pub(super) daemon: Option<DaemonMode>,
    /// Time after which a daemon without connections ends, as 600 (seconds), 10m or 1h; 0 = never (default: 10m)
    #[arg(long, global = true, value_name = "TIME", value_parser = super::duration::idle_timeout)]
    pub(super) idle_timeout: Option<Duration>,
    /// What a daemon that is started writes into its log (default: info, or what RUST_LOG says)
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(super) log_level: Option<LogLevel>,
    /// When to print colours: auto is on a terminal, unless NO_COLOR is set (default: auto)
    #[arg(long, global = true, value_name = "WHEN")]
    pub(super) color: Option<ColorMode>,
    /// Program that shows long listings on a terminal (default: what PAGER says, or less -FRX)
    #[arg(long, global = true, value_name = "COMMAND", allow_hyphen_values = true)]
    pub(super) pager: Option<String>,
    /// Print on the terminal itself
    #[arg(long, global = true, conflicts_with = "pager")]
    pub(super) no_pager: bool,
}

impl StoreArguments {
    /// The first of these options that says which store is meant, or how to reach it.
    pub(super) fn naming_option(&self) -> Option<&'static str> {
        let options = [
            (self.profile.is_some(), "profile"),
            (self.engine.is_some(), "type"),
            (self.connection.is_some(), "connection"),
            (self.connection_file.is_some(), "connection-file"),
            (self.ca.is_some(), "ca"),
            (self.client_cert.is_some(), "client-cert"),
            (self.client_key.is_some(), "client-key"),
            (self.socket.is_some(), "socket"),
        ];
        options.into_iter().find_map(|(is_given, option)| is_given.then_some(option))
    }
}

/// When colours are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ColorMode {
    Auto,
    Always,
    Never,
}

/// How much a daemon logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Engine {
    Sqlite,
    Rqlite,
    Postgres,
}

impl Engine {
    pub(super) fn kind(self) -> EngineKind {
        match self {
            Engine::Sqlite => EngineKind::Sqlite,
            Engine::Rqlite => EngineKind::Rqlite,
            Engine::Postgres => EngineKind::Postgres,
        }
    }

    pub(super) fn of(kind: EngineKind) -> Option<Engine> {
        Engine::value_variants().iter().copied().find(|engine| engine.kind() == kind)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DaemonMode {
    Auto,
    Require,
    Never,
}

/// What must hold for a write to happen.
#[derive(Debug, Args)]
pub(super) struct ConditionArguments {
    /// Only at this version; 0 = absent (default: -1, any)
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true, value_parser = number::signed)]
    version: i64,
    /// Only at this revision; 0 = absent (default: -1, any)
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = -1, hide_default_value = true, value_parser = number::signed)]
    revision: i64,
    /// Only if the key is absent, which is version 0 too
    #[arg(long, conflicts_with = "if_present")]
    if_absent: bool,
    /// Only if the key is present
    #[arg(long)]
    if_present: bool,
}

impl ConditionArguments {
    pub(super) fn condition(&self) -> kv::store::Result<kv::store::Condition> {
        let numbers = kv::store::Condition::of_numbers(Some(self.version), Some(self.revision))?;
        let exists = (self.if_absent || self.if_present).then_some(self.if_present);
        Ok(kv::store::Condition { exists, ..numbers })
    }
}

/// The guards of a write besides its condition.
#[derive(Debug, Args)]
pub(super) struct GuardArguments {
    /// Apply this id once, even if repeated within 24 h
    #[arg(long, value_name = "ID")]
    once: Option<String>,
    /// Only while the lock has this fencing token
    #[arg(long, value_name = "LOCK:TOKEN", value_parser = fence)]
    fence: Option<Fence>,
}

impl GuardArguments {
    pub(super) fn write(&self, operation: impl Into<Write>) -> Write {
        Write { once: self.once.clone(), fence: self.fence.clone(), ..operation.into() }
    }
}

fn fence(text: &str) -> Result<Fence, String> {
    let (lock, token) = text.rsplit_once(':').ok_or("a fence is LOCK:TOKEN")?;
    let token = number::count(token)
        .map_err(|_| format!("{token:?} is not a token: a token is the fence that lock acquire printed"))?;
    Ok(Fence { lock: lock.to_owned(), token })
}

/// The key of a write, as a word or as a flag, and what is written.
#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// Key
    #[arg(required_unless_present = "key_flag")]
    key: Option<String>,
    /// The same as --value
    #[arg(value_name = "VALUE")]
    word: Option<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY")]
    key_flag: Option<String>,
}

impl KeyArguments {
    pub(super) fn key(&self) -> String {
        // clap ensures that one of them is given.
        self.key_flag.as_ref().or(self.key.as_ref()).cloned().unwrap_or_default()
    }

    /// The word behind the key; the first word, when the key is a flag.
    ///
    /// # Errors
    /// `bad_request` when it is given besides an option that says the same, or besides another word.
    pub(super) fn word_unless(&self, has_option: bool) -> kv::store::Result<Option<&str>> {
        let (word, more) = match (&self.key_flag, &self.key, &self.word) {
            (Some(_), first, more) => (first, more.is_some()),
            (None, _, word) => (word, false),
        };
        if more || (has_option && word.is_some()) {
            let word = word.as_deref().unwrap_or_default();
            return Err(usage(
                &format!("{word:?} is one value too many"),
                "the key and the value are given once each, as words or as options",
            ));
        }
        Ok(word.as_deref())
    }
}

/// A value of an option as it is written on the command line.
pub(super) fn spelled(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// Which changes of the stream are wanted.
#[derive(Debug, Args)]
pub(super) struct FilterArguments {
    /// Only changes of keys that start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Only changes of records of this type
    #[arg(long = "of-type", value_name = "TYPE", allow_hyphen_values = true)]
    of_type: Option<String>,
}

impl FilterArguments {
    /// A command with these options.
    pub(super) fn tell(&self, rest: Rest) -> Rest {
        rest.option("--prefix", self.prefix.as_deref()).option("--of-type", self.of_type.as_deref())
    }

    /// The filter, for this key or for any.
    pub(super) fn filter(&self, key: Option<String>) -> Filter {
        Filter { key, prefix: self.prefix.clone(), record_type: self.of_type.clone() }
    }
}

/// The error for arguments that clap cannot check.
pub(super) fn usage(message: &str, hint: &str) -> kv::store::Error {
    kv::store::Error::new(kv::store::Code::BadRequest, message).hint(hint)
}
