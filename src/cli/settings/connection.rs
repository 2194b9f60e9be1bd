//! The connection string, which may be in a file of its own.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use kv::limits;
use kv::store::{Code, EngineKind, Error, Result};

use super::{ConnectionString, Engine, Options, OrDefault as _, Origin, Setting, spelled, usage};

/// The store of a kind, when nothing says which one is meant.
pub(super) fn default(engine: Engine) -> Setting<ConnectionString> {
    let text = match engine {
        Engine::Sqlite => "file:data.db?mode=rwc",
        Engine::Rqlite => "http://localhost:4001",
        Engine::Postgres => "postgres://",
    };
    Setting { value: ConnectionString(text.into()), origin: Origin::Default }
}

/// The kind of database that a connection string leads to: the one that is named, or that its scheme tells. The scheme counts
/// for more than what a weaker source names, which is about another connection string.
///
/// # Errors
/// `bad_request` when they contradict each other.
pub(super) fn engine(
    named: Option<Setting<Engine>>,
    connection: &Setting<ConnectionString>,
    sources: &[&Options],
) -> Result<Setting<Engine>> {
    let scheme = connection.value.0.to_str().and_then(EngineKind::of_scheme).and_then(Engine::of);
    let rank = |origin: &Origin| sources.iter().position(|source| source.origin == *origin);
    match (scheme, named) {
        (None, named) => Ok(named.or_default(Engine::Sqlite)),
        (Some(scheme), Some(named)) if named.value == scheme => Ok(named),
        (Some(scheme), Some(named)) if rank(&named.origin) <= rank(&connection.origin) => Err(usage(
            &format!(
                "{} says {}, and the connection string is one of {}",
                named.origin.spell("type"),
                spelled(&named.value),
                spelled(&scheme)
            ),
            "leave the type out: the scheme of the connection string tells it",
        )),
        (Some(value), _) => Ok(Setting { value, origin: connection.origin.clone() }),
    }
}

/// How a connection string is given.
pub(super) enum Named {
    Itself(Setting<ConnectionString>),
    InFile(Setting<PathBuf>),
}

/// The connection string of the first source that has one.
///
/// # Errors
/// `bad_request` when a source has two.
pub(super) fn named(sources: &[&Options]) -> Result<Option<Named>> {
    for options in sources {
        let origin = options.origin.clone();
        return Ok(Some(match (&options.values.connection, &options.values.connection_file) {
            (None, None) => continue,
            (Some(value), None) => Named::Itself(Setting { value: value.clone(), origin }),
            (None, Some(value)) => Named::InFile(Setting { value: value.clone(), origin }),
            (Some(_), Some(_)) => {
                return Err(usage(
                    &format!(
                        "{} and {} both say which store is meant",
                        origin.spell("connection"),
                        origin.spell("connection-file")
                    ),
                    "leave one of them out",
                ));
            }
        }));
    }
    Ok(None)
}

impl Named {
    /// The connection string, and the file that holds it.
    pub(super) fn read(self) -> Result<(Setting<ConnectionString>, Option<Setting<PathBuf>>)> {
        match self {
            Named::Itself(connection) => Ok((connection, None)),
            Named::InFile(file) => {
                let connection = Setting { value: of_file(&file.value)?, origin: file.origin.clone() };
                Ok((connection, Some(file)))
            }
        }
    }
}

/// The only line of a file. White space at its end does not count: editors and `echo` end the line.
fn of_file(path: &Path) -> Result<ConnectionString> {
    let failed = |error: std::io::Error| {
        Error::new(
            Code::Unavailable,
            format!("the connection file {} cannot be read: {error}", path.display()),
        )
        .hint("--connection-file names the file that holds the connection string")
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(limits::CONNECTION_FILE_BYTES + 1).read_to_end(&mut text).map_err(failed)?;
    let length = text.trim_ascii_end().len();
    let wrong = |what: &str| {
        Err(usage(
            &format!("the connection file {} {what}", path.display()),
            "it holds the connection string, on one line",
        ))
    };
    if text.len() as u64 > limits::CONNECTION_FILE_BYTES {
        return wrong(&format!("has more than {} bytes", limits::CONNECTION_FILE_BYTES));
    }
    text.truncate(length);
    match text.as_slice() {
        [] => wrong("is empty"),
        text if text.contains(&b'\n') => wrong("has more than one line"),
        _ => Ok(ConnectionString(std::ffi::OsString::from_vec(text))),
    }
}
