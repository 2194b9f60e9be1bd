//! From a kind of engine and a connection string to a store.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
mod sqlite;

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(feature = "postgres")]
use self::postgres::PostgresPlace;
use super::engine::Engine;
use super::engine::migrations;
#[cfg(feature = "postgres")]
use super::engine::postgres::Postgres;
use super::engine::sqlite::Sqlite;
use super::error::{Code, Error, Result};
use super::time::Clock;
use crate::quote::shown;

/// The kinds of database a store can live in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// Where a store lives, checked and complete.
///
/// `Display` and `Debug` show it without a password: what is logged, told by a daemon or part of a message is made by
/// these. Only [`connection`](Address::connection) and [`identity`](Address::identity) hold all of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    place: EnginePlace,
}

/// Where a store of each kind lives.
#[derive(Clone, PartialEq, Eq)]
enum EnginePlace {
    Sqlite(SqlitePlace),
    #[cfg(feature = "postgres")]
    Postgres(PostgresPlace),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            // The connection string of a file has no password.
            EnginePlace::Sqlite(place) => f.write_str(&sqlite::format(place)),
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(place) => place.fmt(f),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

/// Where a SQLite store lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SqlitePlace {
    /// In a file.
    File {
        /// Absolute, its directory resolved as far as it exists.
        path: PathBuf,
        read_only: bool,
    },
    /// In the memory of this process, private to the one who opened it.
    Memory,
}

impl fmt::Display for SqlitePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlitePlace::File { path, .. } => f.write_str(&shown(path)),
            SqlitePlace::Memory => f.write_str("memory"),
        }
    }
}

impl Address {
    /// Reads a connection string. A relative path is taken from the present directory.
    ///
    /// SQLite: a plain path, which is taken literally; `file:PATH` with `?mode=ro|rw|rwc`, where `%HH` stands for a
    /// byte; or `file::memory:?mode=memory&cache=shared`. Only [`init`](super::Store::init) creates a file, whatever
    /// `mode` says.
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
        let place = match kind {
            EngineKind::Sqlite => EnginePlace::Sqlite(sqlite::parse(connection)?),
            #[cfg(feature = "postgres")]
            EngineKind::Postgres => EnginePlace::Postgres(postgres::parse(connection)?),
            #[allow(unreachable_patterns, reason = "with every feature the other kinds are not left")]
            other => {
                let message = format!("this build of kv cannot open {} stores", other.as_str());
                return Err(Error::new(Code::Unsupported, message).hint("use --type sqlite"));
            }
        };
        Ok(Address { place })
    }

    /// The kind of engine.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        match self.place {
            EnginePlace::Sqlite(_) => EngineKind::Sqlite,
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(_) => EngineKind::Postgres,
        }
    }

    /// The number of the newest schema that this version of kv knows for this kind of engine.
    #[must_use]
    pub fn schema(&self) -> i64 {
        migrations::newest(match self.place {
            EnginePlace::Sqlite(_) => migrations::SQLITE,
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(_) => migrations::POSTGRES,
        })
    }

    /// The connection string in full, with the password if it has one: for the daemon or the command that is to open the
    /// same store, and for nothing that is shown. Every path is absolute, so that it means the same in every directory.
    #[must_use]
    pub fn connection(&self) -> String {
        match &self.place {
            EnginePlace::Sqlite(place) => sqlite::format(place),
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(place) => place.connection(),
        }
    }

    /// What makes two addresses the same store, for the name of its daemon's socket.
    #[must_use]
    pub fn identity(&self) -> String {
        let place = match &self.place {
            EnginePlace::Sqlite(place) => sqlite::format(place),
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(place) => place.identity(),
        };
        format!("{}\n{place}", self.kind().as_str())
    }

    /// The file that one daemon at most should serve. One that only reads may stand beside it: the other would write
    /// for a caller who asked for `mode=ro`.
    #[must_use]
    pub fn exclusive_file(&self) -> Option<&Path> {
        self.file().filter(|_| !self.is_read_only())
    }

    /// The file that holds the store.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            EnginePlace::Sqlite(SqlitePlace::File { path, .. }) => Some(path),
            _ => None,
        }
    }

    /// Whether the store is only read through this address.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.place, EnginePlace::Sqlite(SqlitePlace::File { read_only: true, .. }))
    }

    /// Checks that a store is at its place, or could be made there. Changes nothing. What a server says to it shows in the
    /// first request.
    ///
    /// # Errors
    /// `not_initialized` when the directory is not there, `unavailable` when something else than a file stands there or
    /// it cannot be reached, `unsupported` when the file belongs to something else than kv.
    pub async fn check(&self) -> Result<()> {
        match &self.place {
            EnginePlace::Sqlite(place) => Sqlite::new(place.clone(), Clock::System).check_place().await,
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(_) => Ok(()),
        }
    }

    /// Whose file it is, when this process is root and the file is another user's.
    #[must_use]
    pub fn foreign_owner(&self) -> Option<u32> {
        foreign_owner(self.file()?)
    }

    /// Whether the store lives in the memory of the process that opens it, so that no daemon can share it.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        matches!(self.place, EnginePlace::Sqlite(SqlitePlace::Memory))
    }

    /// The store in this file.
    pub(crate) fn of_file(path: &Path, read_only: bool) -> Address {
        Address { place: EnginePlace::Sqlite(SqlitePlace::File { path: path.to_owned(), read_only }) }
    }

    /// Where a SQLite store lives; none for one on a server.
    pub(crate) fn sqlite_place(&self) -> Option<&SqlitePlace> {
        match &self.place {
            EnginePlace::Sqlite(place) => Some(place),
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(_) => None,
        }
    }

    /// Where a PostgreSQL store lives; none for another one.
    #[cfg(feature = "postgres")]
    pub(crate) fn postgres_place(&self) -> Option<&PostgresPlace> {
        match &self.place {
            EnginePlace::Postgres(place) => Some(place),
            EnginePlace::Sqlite(_) => None,
        }
    }

    pub(crate) fn engine(&self, clock: Clock) -> Arc<dyn Engine> {
        match &self.place {
            EnginePlace::Sqlite(place) => Arc::new(Sqlite::new(place.clone(), clock)),
            #[cfg(feature = "postgres")]
            EnginePlace::Postgres(place) => Arc::new(Postgres::new(place.clone(), clock)),
        }
    }
}

/// Replaces each `%HH` by its byte; a `%` without two hex digits stands for itself.
fn percent_decoded(text: &[u8]) -> Vec<u8> {
    percent_encoding::percent_decode(text).collect()
}

/// A text as a part of a URI.
#[cfg(feature = "postgres")]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_has_one_identity_however_it_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().canonicalize().unwrap().join("data.db");
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        let same = [
            file.display().to_string(),
            format!("file:{}", file.display()),
            format!("file:{}?mode=rwc", file.display()),
            format!("{}/link/data.db", directory.path().display()),
            format!("{}/./data.db", directory.path().display()),
        ];
        for connection in &same {
            let address = Address::parse(EngineKind::Sqlite, connection).unwrap();
            assert_eq!(address.exclusive_file(), Some(file.as_path()), "{connection}");
            let again = Address::parse(EngineKind::Sqlite, &address.connection()).unwrap();
            assert_eq!(again.identity(), address.identity());
        }
        let read_only =
            Address::parse(EngineKind::Sqlite, &format!("file:{}?mode=ro", file.display())).unwrap();
        assert_ne!(
            read_only.identity(),
            Address::parse(EngineKind::Sqlite, same[0].as_str()).unwrap().identity()
        );
    }

    #[test]
    fn whatever_is_not_understood_is_refused() {
        for connection in [
            "",
            "file:",
            "file:data.db?mode=rwx",
            "file:data.db?vfs=unix-none",
            "file:data.db?immutable=1",
            "file:data.db?cache=shared",
            "file:data.db?mode=memory",
            "file::memory:?mode=ro",
            "data\0.db",
        ] {
            let error = Address::parse(EngineKind::Sqlite, connection).unwrap_err();
            assert_eq!(error.code, Code::BadRequest, "{connection:?}");
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn a_memory_store_has_no_file() {
        for connection in ["file::memory:?mode=memory&cache=shared", ":memory:", "file::memory:"] {
            assert!(Address::parse(EngineKind::Sqlite, connection).unwrap().is_memory(), "{connection}");
        }
    }
}
