//! From a kind of engine and a connection string to a store.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "rqlite")]
pub(crate) mod rqlite;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

#[cfg(feature = "sqlite")]
pub(crate) use self::sqlite::SqlitePlace;
use super::engine::Engine;
use super::engine::migrations::{self, Migration};
use super::error::{Code, Error, Result};
use super::maintenance::{Checked, Finding, Watcher};
use super::original::Row;
use super::time::Clock;

#[cfg(not(any(feature = "sqlite", feature = "rqlite", feature = "postgres")))]
compile_error!("name a kind of database: features = [\"sqlite\"], [\"rqlite\"] or [\"postgres\"]");

/// The kinds of database a store can live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EngineKind {
    /// A file, or memory, of this process.
    Sqlite,
    /// A cluster of rqlite nodes.
    Rqlite,
    /// A PostgreSQL server.
    Postgres,
}

impl EngineKind {
    /// Every kind.
    pub const ALL: &[EngineKind] = &[EngineKind::Sqlite, EngineKind::Rqlite, EngineKind::Postgres];

    /// The kind as it stands on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            EngineKind::Sqlite => "sqlite",
            EngineKind::Rqlite => "rqlite",
            EngineKind::Postgres => "postgres",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn from_name(text: &str) -> Option<EngineKind> {
        EngineKind::ALL.iter().copied().find(|kind| kind.as_str() == text)
    }

    /// The kind that the scheme of a connection string tells: `postgres://` or `postgresql://`, `http://` or `https://` for
    /// rqlite. None without such a scheme.
    #[must_use]
    pub fn of_scheme(connection: &str) -> Option<EngineKind> {
        let has = |schemes: [&str; 2]| schemes.iter().any(|scheme| connection.starts_with(scheme));
        if has(["postgres://", "postgresql://"]) {
            Some(EngineKind::Postgres)
        } else {
            has(["http://", "https://"]).then_some(EngineKind::Rqlite)
        }
    }
}

/// Where a store lives, checked and complete.
///
/// `Display` and `Debug` show it without a password: what is logged, told by a daemon or part of a message is made by
/// these. Only [`connection`](Address::connection) holds all of it.
#[derive(Clone)]
pub struct Address {
    place: Arc<dyn Place>,
}

/// Where a store of one kind lives.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    fn kind(&self) -> EngineKind;

    /// The steps of the schema that this version of kv knows.
    fn migrations(&self) -> &'static [Migration];

    /// See [`Address::connection`].
    fn connection(&self) -> String;

    /// The place for people, without a password.
    fn shown(&self) -> String;

    /// What makes two places the same store.
    fn identity(&self) -> String;

    fn engine(&self, clock: Clock) -> Arc<dyn Engine>;

    /// See [`Address::check`].
    async fn check(&self) -> Result<()>;

    /// The rows of the Go original behind a key, or the first ones: see [`original::page`](super::original::page).
    async fn original_page(&self, after: Option<&str>) -> Result<Vec<Row>>;

    /// See [`maintenance::check`](super::maintenance::check).
    fn check_store(&self, finding: &mut dyn FnMut(Finding), watcher: &mut Watcher<'_>) -> Result<Checked>;

    /// The place of a store that lives in this process or in a file of this machine.
    #[cfg(feature = "sqlite")]
    fn sqlite(&self) -> Option<&SqlitePlace> {
        None
    }
}

impl PartialEq for Address {
    fn eq(&self, other: &Address) -> bool {
        (self.kind(), self.connection()) == (other.kind(), other.connection())
    }
}

impl Eq for Address {}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place.shown())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

impl Address {
    /// Reads a connection string. A relative path is taken from the present directory.
    ///
    /// SQLite: a plain path, which is taken literally; `file:PATH` with `?mode=ro|rw|rwc`, where `%HH` stands for a
    /// byte; or `file::memory:?mode=memory&cache=shared`. Only [`init`](super::Store::init) creates a file, whatever
    /// `mode` says.
    ///
    /// rqlite: `http://HOST:PORT,HOST:PORT` or `https://…`, with a user and a password in front of the hosts or as
    /// `?user=` and `password=`, and the files of certificates as `ca=`, `cert=` and `key=`. The variables of a proxy are
    /// read now.
    ///
    /// PostgreSQL: a URI as libpq reads it
    /// (<https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>), which may leave to its
    /// environment variables, service file and password file what it does not say. All of that is read now.
    ///
    /// # Errors
    /// `bad_request` for anything else in the string, a directory, and a path that is not UTF-8 or too long;
    /// `unavailable` when a relative path is given and the present directory is gone; `unsupported` for a parameter of
    /// libpq that kv does not have, and for an engine that this build does not have.
    pub fn parse(kind: EngineKind, connection: &str) -> Result<Address> {
        let place: Arc<dyn Place> = match kind {
            #[cfg(feature = "sqlite")]
            EngineKind::Sqlite => Arc::new(sqlite::parse(connection)?),
            #[cfg(feature = "rqlite")]
            EngineKind::Rqlite => Arc::new(rqlite::parse(connection)?),
            #[cfg(feature = "postgres")]
            EngineKind::Postgres => Arc::new(postgres::parse(connection)?),
            #[allow(unreachable_patterns, reason = "with every feature the other kinds are not left")]
            other => {
                let message = format!("this build of kv cannot open {} stores", other.as_str());
                return Err(Error::new(Code::Unsupported, message).hint("use another --type"));
            }
        };
        Ok(Address { place })
    }

    /// The address that a daemon tells: complete, and without its password.
    pub(crate) fn told(kind: EngineKind, store: &str) -> Result<Address> {
        match kind {
            #[cfg(feature = "rqlite")]
            EngineKind::Rqlite => Ok(Address { place: Arc::new(rqlite::parse_complete(store)?) }),
            #[cfg(feature = "postgres")]
            EngineKind::Postgres => Ok(Address { place: Arc::new(postgres::parse_complete(store)?) }),
            kind => Address::parse(kind, store),
        }
    }

    /// Reads a connection string of any kind, which its scheme tells: `postgres://` or `postgresql://`, `http://` or
    /// `https://` for rqlite, anything else is a path, or a `file:` of SQLite. `:memory:` is a store of this process alone.
    ///
    /// # Errors
    /// As [`parse`](Address::parse).
    pub fn of(connection: &str) -> Result<Address> {
        Address::parse(EngineKind::of_scheme(connection).unwrap_or(EngineKind::Sqlite), connection)
    }

    /// The kind of engine.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        self.place.kind()
    }

    /// The number of the newest schema that this version of kv knows for this kind of engine.
    #[must_use]
    #[doc(hidden)]
    pub fn schema(&self) -> i64 {
        migrations::newest(self.place.migrations())
    }

    /// The connection string in full, with the password if it has one: for the daemon or the command that is to open the
    /// same store, and for nothing that is shown. Every path is absolute, so that it means the same in every directory.
    #[must_use]
    pub fn connection(&self) -> String {
        self.place.connection()
    }

    /// Whether the connection string has a password: the only thing that `Display` leaves out.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.connection() != self.to_string()
    }

    /// What makes two addresses the same store, for the name of its daemon's socket.
    #[must_use]
    #[doc(hidden)]
    pub fn identity(&self) -> String {
        format!("{}\n{}", self.kind().as_str(), self.place.identity())
    }

    /// The file that one daemon at most should serve. One that only reads may stand beside it: the other would write
    /// for a caller who asked for `mode=ro`.
    #[must_use]
    #[doc(hidden)]
    pub fn exclusive_file(&self) -> Option<&Path> {
        self.file().filter(|_| !self.is_read_only())
    }

    /// The file that holds the store.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        #[cfg(feature = "sqlite")]
        if let Some(SqlitePlace::File { path, .. }) = self.place.sqlite() {
            return Some(path);
        }
        None
    }

    /// Whether the store is only read through this address.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        #[cfg(feature = "sqlite")]
        if let Some(SqlitePlace::File { read_only, .. }) = self.place.sqlite() {
            return *read_only;
        }
        false
    }

    /// Checks that a store is at its place, or could be made there. Changes nothing. What a server says to it shows in the
    /// first request.
    ///
    /// # Errors
    /// `not_initialized` when the directory is not there, `unavailable` when something else than a file stands there or
    /// it cannot be reached, `unsupported` when the file belongs to something else than kv.
    pub async fn check(&self) -> Result<()> {
        self.place.check().await
    }

    /// Whose file it is, when this process is root and the file is another user's.
    #[must_use]
    #[doc(hidden)]
    pub fn foreign_owner(&self) -> Option<u32> {
        foreign_owner(self.file()?)
    }

    /// Whether the store lives in the memory of the process that opens it, so that no daemon can share it.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        #[cfg(feature = "sqlite")]
        if matches!(self.place.sqlite(), Some(SqlitePlace::Memory)) {
            return true;
        }
        false
    }

    /// Where the store lives.
    pub(crate) fn place(&self) -> &dyn Place {
        &*self.place
    }

    pub(crate) fn engine(&self, clock: Clock) -> Arc<dyn Engine> {
        self.place.engine(clock)
    }
}

#[cfg(feature = "sqlite")]
impl Address {
    /// The store in this file.
    pub(crate) fn of_file(path: &Path, read_only: bool) -> Address {
        Address { place: Arc::new(SqlitePlace::File { path: path.to_owned(), read_only }) }
    }
}

/// Replaces each `%HH` by its byte; a `%` without two hex digits stands for itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// A host and its port, which may be empty; an IPv6 address stands in brackets. None when the closing one is missing.
#[cfg(any(feature = "postgres", feature = "rqlite"))]
fn split_port(host: &str) -> Option<(&str, &str)> {
    if let Some(rest) = host.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        return Some((address, rest.strip_prefix(':').unwrap_or(rest)));
    }
    Some(host.split_once(':').unwrap_or((host, "")))
}

/// A text as a part of a URI.
#[cfg(any(feature = "postgres", feature = "rqlite"))]
fn percent_encoded(text: &str) -> String {
    /// What RFC 3986 calls unreserved stands for itself.
    const RESERVED: &percent_encoding::AsciiSet =
        &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    percent_encoding::utf8_percent_encode(text, RESERVED).to_string()
}

/// Whose file this is, when this process is root and the file is another user's.
pub(crate) fn foreign_owner(path: &Path) -> Option<u32> {
    let owner = path.metadata().ok()?.uid();
    (rustix::process::geteuid().is_root() && owner != 0).then_some(owner)
}
