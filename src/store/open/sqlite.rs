//! Connection strings of SQLite: plain paths, and `file:` URIs as SQLite reads them
//! (<https://www.sqlite.org/uri.html>).
//!
//! A plain path is taken literally. SQLite itself is only ever given absolute paths, which it takes literally too, so
//! nothing is decoded twice.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;

use super::{EngineKind, Place, percent_decoded};
use crate::limits;
use crate::quote::{shell_word, shown};
use crate::store::engine::Engine;
use crate::store::engine::migrations::{self, Migration};
use crate::store::engine::sqlite::{self, Sqlite};
use crate::store::error::{Code, Error, Result};
use crate::store::maintenance::{Checked, Finding, Watcher};
use crate::store::original::Row;
use crate::store::time::Clock;

/// How much of a path that is too long is shown.
const SHOWN_CHARACTERS: usize = 80;

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

#[async_trait]
impl Place for SqlitePlace {
    fn kind(&self) -> EngineKind {
        EngineKind::Sqlite
    }

    fn migrations(&self) -> &'static [Migration] {
        migrations::SQLITE
    }

    fn connection(&self) -> String {
        format(self)
    }

    fn shown(&self) -> String {
        // The connection string of a file has no password.
        format(self)
    }

    fn identity(&self) -> String {
        format(self)
    }

    fn engine(&self, clock: Clock) -> Arc<dyn Engine> {
        Arc::new(Sqlite::new(self.clone(), clock))
    }

    async fn check(&self) -> Result<()> {
        Sqlite::new(self.clone(), Clock::System).check_place().await
    }

    async fn original_page(&self, after: Option<&str>) -> Result<Vec<Row>> {
        let (place, after) = (self.clone(), after.map(str::to_owned));
        let read = tokio::task::spawn_blocking(move || sqlite::original::page(&place, after.as_deref()));
        read.await.map_err(|error| Error::new(Code::Internal, error.to_string()))?
    }

    fn check_store(&self, finding: &mut dyn FnMut(Finding), watcher: &mut Watcher<'_>) -> Result<Checked> {
        self.file()?;
        sqlite::check::check(self, finding, watcher)
    }

    fn sqlite(&self) -> Option<&SqlitePlace> {
        Some(self)
    }
}

impl SqlitePlace {
    /// The file.
    ///
    /// # Errors
    /// `unsupported` for a memory store.
    pub(crate) fn file(&self) -> Result<&Path> {
        match self {
            SqlitePlace::File { path, .. } => Ok(path),
            SqlitePlace::Memory => {
                Err(Error::new(Code::Unsupported, "a memory store has no file: it is gone with its process"))
            }
        }
    }
}

/// Where this connection string leads. A relative path is taken from the present directory.
pub(super) fn parse(connection: &str) -> Result<SqlitePlace> {
    if connection.contains('\0') {
        return Err(refused("it holds a NUL character"));
    }
    // It would be shown as the path of a file, with its password.
    for (scheme, kind) in [
        ("postgres://", "postgres"),
        ("postgresql://", "postgres"),
        ("http://", "rqlite"),
        ("https://", "rqlite"),
    ] {
        if connection.starts_with(scheme) {
            return Err(refused(&format!("it begins with {scheme}, so it is that of a server"))
                .hint(format!("add --type {kind}; a path that begins like that is written ./{scheme}")));
        }
    }
    match connection.strip_prefix("file:") {
        Some(uri) => parse_uri(uri),
        None if connection == ":memory:" => Ok(SqlitePlace::Memory),
        None => Ok(SqlitePlace::File { path: absolute(connection)?, read_only: false }),
    }
}

/// The connection string of a place: [`parse`] makes the same place of it, in every directory.
///
/// Only what means something in a URI is encoded, and control characters, which do harm in a log.
pub(super) fn format(place: &SqlitePlace) -> String {
    let SqlitePlace::File { path, read_only } = place else {
        return "file::memory:?mode=memory&cache=shared".to_owned();
    };
    let mut uri = String::from("file:");
    for character in path.to_string_lossy().chars() {
        if character.is_control() || "%?#".contains(character) {
            let mut bytes = [0; 4];
            let encoded = character.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}"));
            uri.extend(encoded);
        } else {
            uri.push(character);
        }
    }
    uri.push_str(if *read_only { "?mode=ro" } else { "?mode=rw" });
    uri
}

fn parse_uri(uri: &str) -> Result<SqlitePlace> {
    // SQLite would cut it off without a word, and open another file than the one that was meant.
    if uri.contains('#') {
        return Err(refused("# begins a fragment, which means nothing here; a # of the path is written %23"));
    }
    let (path, parameters) = uri.split_once('?').unwrap_or((uri, ""));
    let path = decoded(without_authority(path)?)?;
    let mut mode = "rwc".to_owned();
    let mut cache = None;
    for parameter in parameters.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (decoded(name)?, decoded(value)?);
        match (name.as_str(), value.as_str()) {
            ("mode", "ro" | "rw" | "rwc" | "memory") => mode = value,
            ("cache", "shared" | "private") => cache = Some(value),
            _ => {
                return Err(refused(&format!(
                    "{parameter:?} is not understood; mode=ro, mode=rw and mode=rwc are, and a ? of the path is \
                     written %3F"
                )));
            }
        }
    }
    if path == ":memory:" || mode == "memory" {
        if path != ":memory:" || !matches!(mode.as_str(), "memory" | "rwc") {
            return Err(refused("a memory store is file::memory:?mode=memory&cache=shared"));
        }
        return Ok(SqlitePlace::Memory);
    }
    if cache.is_some() {
        return Err(refused("cache is for memory stores only"));
    }
    Ok(SqlitePlace::File { path: absolute(&path)?, read_only: mode == "ro" })
}

/// The path of a URI, which may follow an empty authority or `localhost`.
fn without_authority(uri: &str) -> Result<&str> {
    let Some(rest) = uri.strip_prefix("//") else { return Ok(uri) };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if ["", "localhost"].contains(&authority) {
        return Ok(path);
    }
    Err(refused(&format!("behind // stands a host, and {authority:?} is not this one; a path is file:PATH")))
}

/// Replaces each `%HH` by its byte. A `%` without two hex digits stands for itself, as in SQLite.
fn decoded(text: &str) -> Result<String> {
    let bytes = percent_decoded(text.as_bytes());
    if bytes.contains(&0) {
        return Err(refused("it holds a NUL character"));
    }
    String::from_utf8(bytes).map_err(|_| refused("its path is not UTF-8"))
}

/// Resolves symbolic links of the directory, so that two ways to one file make one identity. The file itself may
/// not be there yet; a link to it is followed when it is.
fn absolute(path: &str) -> Result<PathBuf> {
    if path.is_empty() {
        return Err(refused("it names no file"));
    }
    let absolute = std::path::absolute(path).map_err(|error| {
        let message =
            format!("the present directory cannot be found ({error}), and {path:?} is relative to it");
        let mut error = Error::new(Code::Unavailable, message)
            .hint("was it deleted? cd to one that is there, or name the store by an absolute path");
        error.retry = false;
        error
    })?;
    let last = path.rsplit('/').next().unwrap_or_default();
    if ["", ".", ".."].contains(&last) || absolute.is_dir() {
        return Err(directory(&absolute));
    }
    let real = match (absolute.canonicalize(), absolute.parent(), absolute.file_name()) {
        (Ok(real), ..) => real,
        (Err(_), Some(parent), Some(file)) => {
            parent.canonicalize().unwrap_or_else(|_| parent.to_owned()).join(file)
        }
        _ => return Err(refused(&format!("{} names no file", shown(&absolute)))),
    };
    // A second slash at the beginning would be that of an authority.
    let real: PathBuf = real.components().skip_while(|component| *component == Component::RootDir).collect();
    let real = Path::new("/").join(real);
    if real.to_str().is_none() {
        return Err(refused(&format!("its path is not UTF-8: {}", shown(&real))));
    }
    let name_bytes = real.file_name().map_or(0, std::ffi::OsStr::len);
    if real.as_os_str().len() > limits::STORE_PATH_BYTES || name_bytes > limits::STORE_NAME_BYTES {
        return Err(too_long(&real));
    }
    Ok(real)
}

fn refused(reason: &str) -> Error {
    Error::new(Code::BadRequest, format!("the connection string cannot be used: {reason}"))
        .hint("for example: --connection data.db, or --connection 'file:data.db?mode=ro'")
}

fn directory(path: &Path) -> Error {
    let path = path.components().collect::<PathBuf>();
    Error::new(Code::BadRequest, format!("{} is a directory, and a store is a file", shown(&path)))
        .hint(format!("name a file in it: --connection {}", shell_word(&path.join("data.db"))))
}

fn too_long(path: &Path) -> Error {
    let name_bytes = path.file_name().map_or(0, std::ffi::OsStr::len);
    let message = if name_bytes > limits::STORE_NAME_BYTES {
        format!(
            "the name of the file has {name_bytes} bytes, and at most {} are possible",
            limits::STORE_NAME_BYTES
        )
    } else {
        let bytes = path.as_os_str().len();
        format!("the path of the store has {bytes} bytes, and SQLite allows {}", limits::STORE_PATH_BYTES)
    };
    let beginning: String = shown(path).chars().take(SHOWN_CHARACTERS).collect();
    Error::new(Code::BadRequest, format!("{message}: {beginning}…"))
        .hint("choose a shorter one with --connection")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::store::Address;

    fn place_of(connection: &str) -> (PathBuf, bool) {
        match parse(connection).unwrap() {
            SqlitePlace::File { path, read_only } => (path, read_only),
            SqlitePlace::Memory => panic!("{connection:?} is a memory store"),
        }
    }

    #[test]
    fn a_plain_path_is_taken_literally_and_a_uri_as_sqlite_takes_it() {
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let (none, here) = (Path::new("/no/where"), here.as_path());
        for (connection, directory, file) in [
            ("100%.db", here, "100%.db"),
            ("a%20b.db", here, "a%20b.db"),
            ("a.db?mode=ro", here, "a.db?mode=ro"),
            ("#1", here, "#1"),
            ("-x.db", here, "-x.db"),
            (" a b ", here, " a b "),
            ("a\nb", here, "a\nb"),
            ("./:memory:", here, ":memory:"),
            ("./file:x", here, "file:x"),
            ("FILE:x", here, "FILE:x"),
            ("~", here, "~"),
            ("//no/where/x.db", none, "x.db"),
            ("file:a%20b.db", here, "a b.db"),
            ("file:%e2%82%ac%3f%23%25.db", here, "€?#%.db"),
            ("file:100%.db", here, "100%.db"),
            ("file:100%2.db", here, "100%2.db"),
            ("file:%+1.db", here, "%+1.db"),
            ("file:file:x", here, "file:x"),
            ("file:/no/where/x.db", none, "x.db"),
            ("file:///no/where/x.db", none, "x.db"),
            ("file:////no/where/x.db", none, "x.db"),
            ("file://localhost/no/where/x.db", none, "x.db"),
            ("file:/no/wh%65re/x.db?mode=r%77", none, "x.db"),
        ] {
            assert_eq!(place_of(connection), (directory.join(file), false), "{connection:?}");
        }
        assert_eq!(place_of("file:///no/where/x%3Fmode=rwc?mode=ro").0, none.join("x?mode=rwc"));
        assert!(place_of("file:x?mode=ro").1);
    }

    #[test]
    fn what_a_uri_cannot_mean_is_refused() {
        for (connection, words) in [
            ("file:a#b.db", "%23"),
            ("file:a.db?mode=ro#x", "%23"),
            ("file:what?.db", "%3F"),
            ("file://host/x.db", "\"host\""),
            ("file://data.db", "file:PATH"),
            ("file://LOCALHOST/x.db", "file:PATH"),
            ("file://localhost", "names no file"),
            ("file:?mode=ro", "names no file"),
            ("file:a%00b", "NUL"),
            ("file:%ff.db", "UTF-8"),
            ("file:a.db?mode", "\"mode\""),
        ] {
            let error = parse(connection).unwrap_err();
            assert_eq!(error.code, Code::BadRequest, "{connection:?}");
            assert!(error.message.contains(words), "{connection:?}: {}", error.message);
        }
    }

    #[test]
    fn a_directory_and_a_path_that_is_too_long_are_named_as_what_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_str().unwrap();
        for connection in [".", "..", "/", "file:.", "nodir/", "nodir/.", path, &format!("{path}/data.db/")] {
            let error = parse(connection).unwrap_err();
            assert!(error.message.contains("is a directory"), "{connection:?}: {}", error.message);
        }
        let fits = format!("/{}/{}", "d".repeat(limits::STORE_PATH_BYTES - 4), "xx");
        assert_eq!(place_of(&fits).0, Path::new(&fits));
        for (connection, words) in [
            (format!("/{}/{}", "d".repeat(limits::STORE_PATH_BYTES - 4), "xxx"), "505 bytes"),
            ("n".repeat(limits::STORE_NAME_BYTES + 1), "241 bytes"),
            (format!("{}x.db", "d/".repeat(3_000)), "bytes"),
        ] {
            let error = parse(&connection).unwrap_err();
            assert!(error.code == Code::BadRequest && error.message.contains(words), "{}", error.message);
        }
    }

    proptest! {
        /// What a child command or a daemon is told leads to the same file, in whatever directory it runs.
        #[test]
        fn a_connection_string_leads_to_the_same_place_again(
            name in r"[^/\x00]{1,40}",
            directory in r"(/[^/\x00]{1,12}){0,3}",
            read_only: bool,
        ) {
            prop_assume!(![".", ".."].contains(&name.as_str()));
            let plain = format!("/nowhere{directory}/{name}");
            let (path, _) = place_of(&plain);
            prop_assert_eq!(path.file_name().unwrap(), name.as_str());
            let place = SqlitePlace::File { path, read_only };
            let formatted = format(&place);
            prop_assert!(!formatted.contains(char::is_control));
            prop_assert_eq!(parse(&formatted).unwrap(), place);
        }

        /// A URI means to kv what it means to SQLite, wherever kv takes it.
        #[test]
        fn a_path_encoded_in_any_way_is_the_same_path(name in r"[^/\x00]{1,20}", all: bool) {
            prop_assume!(![".", ".."].contains(&name.as_str()));
            let encoded: String = name
                .bytes()
                .map(|byte| {
                    let is_plain = !all && byte.is_ascii_alphanumeric();
                    if is_plain { char::from(byte).to_string() } else { format!("%{byte:02x}") }
                })
                .collect();
            let found = place_of(&format!("file:///nowhere/{encoded}?mode=rw")).0;
            prop_assert_eq!(found, Path::new("/nowhere").join(name));
        }
    }

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
