//! From a kind of engine and a connection string to a store.

mod connection;

use std::fmt;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::engine::Engine;
use super::engine::migrations;
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
    place: SqlitePlace,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The connection string of a file has no password.
        f.write_str(&self.connection())
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
    /// # Errors
    /// `bad_request` for anything else in the string, a directory, and a path that is not UTF-8 or too long;
    /// `unavailable` when a relative path is given and the present directory is gone; `unsupported` for an engine that
    /// is not there yet.
    pub fn parse(kind: EngineKind, connection: &str) -> Result<Address> {
        match kind {
            EngineKind::Sqlite => Ok(Address { place: connection::parse(connection)? }),
            EngineKind::Rqlite | EngineKind::Postgres => Err(Error::new(
                Code::Unsupported,
                format!("this version of kv cannot open {} stores", kind.as_str()),
            )
            .hint("use --type sqlite")),
        }
    }

    /// The kind of engine.
    #[must_use]
    pub fn kind(&self) -> EngineKind {
        EngineKind::Sqlite
    }

    /// The number of the newest schema that this version of kv knows for this kind of engine.
    #[must_use]
    pub fn schema(&self) -> i64 {
        migrations::newest(migrations::SQLITE)
    }

    /// The connection string in full, with the password if it has one: for the daemon or the command that is to open the
    /// same store, and for nothing that is shown. Every path is absolute, so that it means the same in every directory.
    #[must_use]
    pub fn connection(&self) -> String {
        connection::format(&self.place)
    }

    /// What makes two addresses the same store, for the name of its daemon's socket.
    #[must_use]
    pub fn identity(&self) -> String {
        format!("{}\n{}", self.kind().as_str(), self.connection())
    }

    /// The file that one daemon at most should serve. One that only reads may stand beside it: the other would write
    /// for a caller who asked for `mode=ro`.
    #[must_use]
    pub fn exclusive_file(&self) -> Option<&Path> {
        match &self.place {
            SqlitePlace::File { path, read_only: false } => Some(path),
            _ => None,
        }
    }

    /// The file that holds the store.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.place {
            SqlitePlace::File { path, .. } => Some(path),
            SqlitePlace::Memory => None,
        }
    }

    /// Whether the store is only read through this address.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        matches!(self.place, SqlitePlace::File { read_only: true, .. })
    }

    /// Checks that a store is at its place, or could be made there. Changes nothing.
    ///
    /// # Errors
    /// `not_initialized` when the directory is not there, `unavailable` when something else than a file stands there or
    /// it cannot be reached, `unsupported` when the file belongs to something else than kv.
    pub async fn check(&self) -> Result<()> {
        Sqlite::new(self.place.clone(), Clock::System).check_place().await
    }

    /// Whose file it is, when this process is root and the file is another user's.
    #[must_use]
    pub fn foreign_owner(&self) -> Option<u32> {
        foreign_owner(self.file()?)
    }

    /// Whether the store lives in the memory of the process that opens it, so that no daemon can share it.
    #[must_use]
    pub fn is_memory(&self) -> bool {
        self.place == SqlitePlace::Memory
    }

    /// The store in this file.
    pub(crate) fn of_file(path: &Path, read_only: bool) -> Address {
        Address { place: SqlitePlace::File { path: path.to_owned(), read_only } }
    }

    /// Where the store lives.
    pub(crate) fn place(&self) -> &SqlitePlace {
        &self.place
    }

    pub(crate) fn engine(&self, clock: Clock) -> Arc<dyn Engine> {
        Arc::new(Sqlite::new(self.place.clone(), clock))
    }
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
