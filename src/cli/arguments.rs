//! Arguments that several commands share.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, ValueEnum};
use kv::store::{Fence, Write};

/// A connection string as the user gave it. It may hold a password, so `Debug` does not show it.
#[derive(Clone)]
pub(super) struct ConnectionString(pub(super) OsString);

impl std::fmt::Debug for ConnectionString {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ConnectionString(…)")
    }
}

/// The store of a command, and how to reach it.
#[derive(Debug, Clone, Args)]
pub(super) struct StoreArguments {
    /// Kind of database
    #[arg(long = "type", global = true, env = "KV_TYPE", default_value = "sqlite", value_name = "ENGINE")]
    pub(super) engine: Engine,
    /// Where the store is: a path, file:PATH?mode=ro|rw|rwc (default: file:data.db?mode=rwc),
    /// http://USER:PASSWORD@HOST:PORT,HOST:PORT (default: http://localhost:4001), or
    /// postgres://USER@HOST/DATABASE (default: what PGHOST and its like say)
    #[arg(
        long,
        global = true,
        env = "KV_CONNECTION",
        hide_env_values = true,
        allow_hyphen_values = true,
        value_parser = OsStringValueParser::new().map(ConnectionString)
    )]
    pub(super) connection: Option<ConnectionString>,
    #[command(flatten)]
    pub(super) certificates: CertificateArguments,
    /// Socket of the daemon, instead of the one that belongs to the store
    #[arg(long, global = true, env = "KV_SOCKET", value_name = "PATH", allow_hyphen_values = true)]
    pub(super) socket: Option<PathBuf>,
    /// Start the daemon when needed, require that it runs, or open the store in this process
    #[arg(long = "daemon", global = true, env = "KV_DAEMON", default_value = "auto", value_name = "MODE")]
    pub(super) daemon: DaemonMode,
    /// Seconds after which a daemon without connections ends; 0 = never
    #[arg(long = "idle-timeout", global = true, value_name = "SECONDS")]
    pub(super) idle_timeout_s: Option<u64>,
}

impl StoreArguments {
    /// The connection string: the one that was given, or that of a store of this kind that nobody has named.
    pub(super) fn connection(&self) -> &OsStr {
        let nobody_named = match self.engine {
            Engine::Sqlite => "file:data.db?mode=rwc",
            Engine::Rqlite => "http://localhost:4001",
            Engine::Postgres => "postgres://",
        };
        self.connection.as_ref().map_or(OsStr::new(nobody_named), |given| &given.0)
    }
}

/// The files by which a server and this side prove who they are, as they may also stand in the connection string.
#[derive(Debug, Clone, Args)]
pub(super) struct CertificateArguments {
    /// Trust the certificates of this file, instead of those of the system
    #[arg(long, global = true, env = "KV_CA", value_name = "FILE", allow_hyphen_values = true)]
    ca: Option<PathBuf>,
    /// Certificate that is shown to the server
    #[arg(long, global = true, env = "KV_CLIENT_CERT", value_name = "FILE", allow_hyphen_values = true)]
    client_cert: Option<PathBuf>,
    /// Key of that certificate
    #[arg(long, global = true, env = "KV_CLIENT_KEY", value_name = "FILE", allow_hyphen_values = true)]
    client_key: Option<PathBuf>,
}

impl CertificateArguments {
    /// The variables that stand for them.
    pub(super) const VARIABLES: [&str; 3] = ["KV_CA", "KV_CLIENT_CERT", "KV_CLIENT_KEY"];

    /// Adds them to a connection string.
    pub(super) fn add_to(&self, engine: Engine, connection: &str) -> kv::store::Result<String> {
        let names = match engine {
            Engine::Sqlite => ["", "", ""],
            Engine::Rqlite => ["ca", "cert", "key"],
            Engine::Postgres => ["sslrootcert", "sslcert", "sslkey"],
        };
        let given =
            [("--ca", &self.ca), ("--client-cert", &self.client_cert), ("--client-key", &self.client_key)];
        let mut connection = connection.to_owned();
        for (((flag, file), name), variable) in given.into_iter().zip(names).zip(Self::VARIABLES) {
            let Some(file) = file else { continue };
            if name.is_empty() {
                return Err(usage(
                    &format!("{flag} is for a store on a server, and this one is in a file"),
                    &format!("leave it out, or unset {variable}; --type names the kind of database"),
                ));
            }
            let (_, query) = connection.split_once('?').unwrap_or_default();
            if query.split('&').any(|part| part.split('=').next() == Some(name)) {
                return Err(usage(
                    &format!("{flag} is given, and the connection string has {name} too"),
                    &format!("leave one of them out, or unset {variable}"),
                ));
            }
            let file =
                file.to_str().ok_or_else(|| usage(&format!("{flag} is not UTF-8"), "rename the file"))?;
            let file = percent_encoding::utf8_percent_encode(file, percent_encoding::NON_ALPHANUMERIC);
            let separator = if connection.contains('?') { '&' } else { '?' };
            connection.push_str(&format!("{separator}{name}={file}"));
        }
        Ok(connection)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Engine {
    Sqlite,
    Rqlite,
    Postgres,
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
    /// Only at this version of the key; 0 = only if it is absent, -1 = always
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    version: i64,
    /// Only at this revision of the key; 0 = only if it is absent, -1 = always
    #[arg(long, allow_negative_numbers = true, default_value_t = -1)]
    revision: i64,
}

impl ConditionArguments {
    pub(super) fn condition(&self) -> kv::store::Result<kv::store::Condition> {
        kv::store::Condition::of_numbers(Some(self.version), Some(self.revision))
    }
}

/// The guards of a write besides its condition.
#[derive(Debug, Args)]
pub(super) struct GuardArguments {
    /// Apply the write once, however often it is repeated with this id within 24 h
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
    let token = token
        .parse()
        .map_err(|_| format!("{token:?} is not a token: a token is the fence that lock acquire printed"))?;
    Ok(Fence { lock: lock.to_owned(), token })
}

/// The key of a write, as a word or as a flag.
#[derive(Debug, Args)]
pub(super) struct KeyArguments {
    /// Key
    #[arg(required_unless_present = "key_flag")]
    key: Option<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY", conflicts_with = "key")]
    key_flag: Option<String>,
}

impl KeyArguments {
    pub(super) fn key(&self) -> String {
        // clap ensures that exactly one of them is given.
        self.key.as_ref().or(self.key_flag.as_ref()).cloned().unwrap_or_default()
    }
}

/// The format in which items are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// One JSON array
    Json,
    /// One record per line
    Ndjson,
}

/// The error for arguments that clap cannot check.
pub(super) fn usage(message: &str, hint: &str) -> kv::store::Error {
    kv::store::Error::new(kv::store::Code::BadRequest, message).hint(hint)
}

/// Reads an OFFSET, a LIMIT or another number, which may be negative.
pub(super) fn number(what: &str, word: Option<&String>, default: i64) -> kv::store::Result<i64> {
    word.map_or(Ok(default), |word| {
        word.parse().map_err(|_| usage(&format!("{what} is a number, not {word:?}"), "see kv help"))
    })
}
