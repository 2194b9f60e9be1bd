//! Opens and creates SQLite stores.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::Core;
use super::connection::{Access, connect, connect_standing, in_memory};
use super::database::{Database, Open};
use super::error::{describe, in_use, is_busy, is_denied, unrecovered};
use super::files::Files;
use super::history::History;
use super::read::no_memory_store;
use super::retire::Opened;
use super::standing::StandingFiles;
use super::statement::{first_row, number};
use super::{direct, left_log, place};
use crate::limits;
use crate::store::engine::migrations::{self, check_complete};
use crate::store::engine::sql;
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// The release that kv bundles and is tested with. Those before 3.51.3 could corrupt a database when a log was reset
/// (<https://www.sqlite.org/wal.html>, section 11).
const SQLITE_VERSION_MIN: (i32, &str) = (3_054_001, "3.54.1");

/// The pause before another try where SQLite itself does not wait.
const PAUSE: Duration = Duration::from_millis(20);

impl Core {
    /// Opens a store that must exist.
    pub(super) fn open_existing(&self) -> Result<Open> {
        let SqlitePlace::File { path, read_only } = &self.place else { return Err(no_memory_store()) };
        if !place::is_file_at(path)? {
            return Err(self.absent());
        }
        let Some(before) = self.files()? else { return Err(self.absent()) };
        if !read_only {
            left_log::check(path, &self.place)?;
        }
        // Opening and closing the database of another application would change its files.
        self.contents()?.check(&self.place)?;
        let main = if *read_only { None } else { Some(History::open(path).map_err(|_| self.absent())?) };
        if main.as_ref().is_some_and(|main| main.id() != before.database) {
            return Err(in_use(&self.place));
        }
        let (writer, standing) =
            if *read_only { self.connect_to_read(path)? } else { (self.connect(path, Access::Write)?, None) };
        self.check(&writer)?;
        let mut keeper = None;
        let history = match main {
            Some(main) => {
                let history =
                    History::begin(main, &writer).map_err(|trouble| trouble.describe(&self.place))?;
                let connection = self.connect(path, Access::Read)?;
                // It takes part in the locking from its first statement on.
                number(&connection, "select count(*) from kv_meta", &[])
                    .map_err(|trouble| trouble.describe(&self.place))?;
                keeper = Some(connection);
                Some(history)
            }
            None => None,
        };
        // By now SQLite has created the log and its index. A database that was replaced in the meantime is opened
        // again.
        let files = self.files()?.map(|after| Files { database: before.database, ..after });
        let database = Database::in_files(self.place.clone(), path, standing, files, history);
        if let Some(readers) = &database.readers {
            readers.prepare().map_err(|error| describe(&error, &self.place))?;
        }
        Ok(Open { database: Arc::new(database), writer, keeper })
    }

    /// A connection that reads, and the versions of the files when they cannot be shared.
    pub(super) fn connect_to_read(&self, path: &Path) -> Result<(Connection, Option<StandingFiles>)> {
        let shared = connect(path, Access::Read).and_then(|connection| {
            connection.execute_batch("select 1 from sqlite_schema limit 1")?;
            let mode = connection.query_row("pragma journal_mode", [], |row| row.get::<_, String>(0))?;
            Ok((connection, mode))
        });
        let error = match shared {
            Ok((connection, mode)) if mode == "wal" => return Ok((connection, None)),
            // A process that writes to a copy without a log gives it one, which this connection would not know how to
            // read.
            Ok((connection, _)) => return Ok((connection, StandingFiles::at(path))),
            Err(error) if is_denied(&error) => error,
            Err(error) => return Err(describe(&error, &self.place)),
        };
        let standing = StandingFiles::at(path).ok_or_else(|| unrecovered(&error, &self.place))?;
        let connection = connect_standing(path, &standing).map_err(|error| describe(&error, &self.place))?;
        Ok((connection, Some(standing)))
    }

    fn connect(&self, path: &Path, access: Access) -> Result<Connection> {
        connect(path, access).map_err(|error| describe(&error, &self.place))
    }

    /// Checks that this is a store that this version can serve, with the promised durability.
    fn check(&self, connection: &Connection) -> Result<()> {
        if rusqlite::version_number() < SQLITE_VERSION_MIN.0 {
            let (found, needed) = (rusqlite::version(), SQLITE_VERSION_MIN.1);
            let message = format!("this is SQLite {found}, and kv needs {needed} or a newer one");
            return Err(Error::new(Code::Unsupported, message).hint("build kv with its bundled SQLite"));
        }
        let triggers = "select name from sqlite_schema where type = 'trigger' and tbl_name glob 'kv_*'";
        let trigger = first_row(connection, triggers, &[], |row| sql::key(row));
        if let Some(trigger) = trigger.map_err(|trouble| trouble.describe(&self.place))? {
            return Err(Error::new(
                Code::Unsupported,
                format!("{} has the trigger {trigger:?} on a table of kv", self.place),
            )
            .hint("drop it: the tables of kv are written through kv only"));
        }
        if !matches!(self.place, SqlitePlace::File { read_only: true, .. }) {
            self.use_log(connection)?;
        }
        let applied = direct::schema(connection, &self.place)?;
        check_complete(migrations::SQLITE, &applied, &self.place.to_string())
    }

    /// Switches to a write-ahead log with full sync. A backup has no log until it is served.
    fn use_log(&self, connection: &Connection) -> Result<()> {
        let mode = self.patiently(|| {
            connection.query_row("pragma journal_mode = wal", [], |row| row.get::<_, String>(0))
        })?;
        let synchronous = number(connection, "pragma synchronous", &[]);
        if mode == "wal" && synchronous.map_err(|trouble| trouble.describe(&self.place))? == 2 {
            return Ok(());
        }
        let message = format!("{} cannot use a write-ahead log with full sync", self.place);
        Err(Error::new(Code::Unsupported, message).hint("put the store on a local file system"))
    }

    /// Tries again while other processes do the same: SQLite does not wait when a file gets its log.
    fn patiently<T>(&self, attempt: impl Fn() -> rusqlite::Result<T>) -> Result<T> {
        let deadline = Instant::now() + limits::SQLITE_BUSY_TIMEOUT;
        loop {
            match attempt() {
                Err(error) if is_busy(&error) && Instant::now() < deadline => sleep(PAUSE),
                outcome => return outcome.map_err(|error| describe(&error, &self.place)),
            }
        }
    }
}

impl Opened {
    /// Creates the store, or brings its schema up to date.
    pub(super) fn create(&mut self, core: &Core) -> Result<bool> {
        let SqlitePlace::File { path, read_only } = &core.place else { return self.create_in_memory(core) };
        if *read_only {
            return self.open(core).map(|_| false).map_err(|error| match error.code {
                Code::NotInitialized => {
                    Error::new(Code::ReadOnly, format!("{} is opened with mode=ro", core.place))
                        .hint("create it without mode=ro first")
                }
                _ => error,
            });
        }
        core.check_failed()?;
        // When another obstacle is at the path, the open store stays open: its file may be put back.
        place::is_file_at(path)?;
        let files = core.files().ok();
        if !self.present().is_some_and(|open| files == Some(open.database.files) && open.goes_on()) {
            self.retire(core)?;
        }
        if !place::make_file(path)? {
            core.contents()?.check_for_init(&core.place)?;
        }
        let created = {
            let connection = core.connect(path, Access::Write)?;
            core.use_log(&connection)?;
            core.migrate(&connection)?
        };
        self.open(core).map(|_| created)
    }

    fn create_in_memory(&mut self, core: &Core) -> Result<bool> {
        if self.present().is_some() {
            return Ok(false);
        }
        let writer = in_memory().map_err(|error| describe(&error, &core.place))?;
        let created = core.migrate(&writer)?;
        self.begin(core, Open { database: Arc::new(Database::in_memory()), writer, keeper: None });
        Ok(created)
    }
}
