//! What a database holds: a store, nothing, or the tables of another application, which kv leaves alone.

use rusqlite::Connection;

use super::connection::{Access, connect, connect_standing};
use super::error::describe;
use super::standing::StandingFiles;
use super::statement::{self, each_row};
use super::{Core, files, place};
use crate::store::engine::migrations::not_initialized;
use crate::store::engine::sql;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// How many tables of another application an error names.
const NAMED_TABLES: usize = 3;

/// The tables and views of a database, without those of SQLite itself.
const TABLES: &str = "select name from sqlite_schema where type in ('table', 'view') and name not glob 'sqlite_*' order by name";

/// What a database holds.
pub(super) enum Contents {
    Store,
    Nothing,
    /// Tables of another application, by name.
    Foreign(Vec<String>),
}

impl Contents {
    /// Reads the names of the tables.
    fn seen_by(connection: &Connection) -> statement::Result<Contents> {
        let mut names = Vec::new();
        each_row(connection, TABLES, &[], |row| {
            names.push(sql::key(row)?);
            Ok(true)
        })?;
        Ok(match names.as_slice() {
            [] => Contents::Nothing,
            names if names.iter().any(|name| name == "kv_migration") => Contents::Store,
            _ => Contents::Foreign(names),
        })
    }

    /// Passes where there is a store, or one can be made.
    pub(super) fn check_for_init(&self, place: &SqlitePlace) -> Result<()> {
        match self {
            Contents::Store | Contents::Nothing => Ok(()),
            Contents::Foreign(tables) => Err(foreign(place, tables)),
        }
    }

    /// Passes where there is a store.
    pub(super) fn check(&self, place: &SqlitePlace) -> Result<()> {
        match self {
            Contents::Nothing => Err(not_initialized(format!("{place} holds no store"))),
            Contents::Store | Contents::Foreign(_) => self.check_for_init(place),
        }
    }
}

fn foreign(place: &SqlitePlace, tables: &[String]) -> Error {
    let mut names: Vec<String> = tables.iter().take(NAMED_TABLES).map(|name| format!("{name:?}")).collect();
    if tables.len() > NAMED_TABLES {
        names.push(format!("and {} more", tables.len() - NAMED_TABLES));
    }
    let message =
        format!("{place} holds no store of kv, but tables of another application: {}", names.join(", "));
    Error::new(Code::Unsupported, message)
        .hint("choose another file with --connection: kv has not changed this one, and makes no store in it")
}

impl Core {
    /// Checks that a store is at its place or can be made there, and changes nothing. Obstacles that may pass are not
    /// errors.
    pub(super) fn check_place(&self) -> Result<()> {
        let SqlitePlace::File { path, .. } = &self.place else { return Ok(()) };
        if !place::is_file_at(path)? {
            return Ok(());
        }
        match self.contents() {
            Ok(contents) => contents.check_for_init(&self.place),
            Err(error) if [Code::Unavailable, Code::Unsupported].contains(&error.code) => Err(error),
            Err(_) => Ok(()),
        }
    }

    /// Reads what the file of the store holds, and leaves it and the files beside it as they are.
    pub(super) fn contents(&self) -> Result<Contents> {
        let SqlitePlace::File { path, read_only } = &self.place else { return Ok(Contents::Nothing) };
        if let Some(standing) = StandingFiles::at(path).filter(StandingFiles::is_idle)
            && let Ok(connection) = connect_standing(path, &standing)
            && let Ok(contents) = Contents::seen_by(&connection)
            // No process has begun to write in the meantime.
            && standing.holds()
            && standing.is_idle()
        {
            return Ok(contents);
        }
        let journal = files::beside(path, "-journal");
        let connection = if !read_only && journal.exists() {
            // What a dead process has left unfinished is rolled back, as by any reader that may write.
            connect(path, Access::Write).map_err(|error| describe(&error, &self.place))?
        } else {
            self.connect_to_read(path)?.0
        };
        Contents::seen_by(&connection).map_err(|trouble| trouble.describe(&self.place))
    }
}
