//! Opens and creates SQLite stores.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection};

use super::column::{self, Damage, column, count};
use super::database::Database;
use super::error::{describe, in_use, is_busy, is_denied, unrecovered};
use super::files::Files;
use super::history::History;
use super::left_log;
use super::run::{Arguments, Statement, Stopped, run};
use super::standing::Standing;
use super::{Sqlite, failed, place};
use crate::limits;
use crate::store::engine::Engine as _;
use crate::store::engine::migrations::{self, check_complete, not_initialized, pending};
use crate::store::error::{Code, Error, Result};
use crate::store::open::SqlitePlace;

/// The first release without the bug that could corrupt a database when a WAL was reset
/// (<https://www.sqlite.org/wal.html>, section 11).
const SQLITE_VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

impl Sqlite {
    /// Opens a store that must be there.
    pub(super) async fn open_existing(&self) -> Result<Database> {
        let SqlitePlace::File { path, read_only } = &self.place else {
            return Err(not_initialized("this memory store is not initialized".to_owned()));
        };
        if !place::is_file_at(path)? {
            return Err(self.absent());
        }
        let Some(before) = self.files()? else { return Err(self.absent()) };
        if !read_only {
            left_log::check(path, &self.place)?;
        }
        // Opening and closing it would change the files of another application.
        self.contents().await?.check(&self.place)?;
        let main = if *read_only { None } else { Some(History::open(path).map_err(|_| self.absent())?) };
        if main.as_ref().is_some_and(|main| main.id() != before.database) {
            return Err(in_use(&self.place));
        }
        let (mut writer, reader, standing) = if *read_only {
            self.connect_to_read(path).await?
        } else {
            (self.connect(self.options()).await?, self.options().read_only(true), None)
        };
        self.check(&mut writer).await?;
        let writes = match main {
            Some(main) => {
                let history = History::begin(main, &mut writer).await;
                let history = history.map_err(|error| describe(&error, &self.place))?;
                let mut keeper = self.connect(reader.clone()).await?;
                // It takes part from the first statement on.
                self.run(&mut keeper, "select 1 from kv_meta", Arguments::default()).await?;
                Some((history, keeper))
            }
            None => None,
        };
        // SQLite has made the log and its index by now. A database that was replaced meanwhile is opened again.
        let files = self.files()?.map(|after| Files { database: before.database, ..after });
        Ok(Database::in_files(self.place.clone(), writer, reader, standing, files, writes))
    }

    /// A connection that reads, how to make more of them, and the files as they stand if they cannot be shared.
    pub(super) async fn connect_to_read(
        &self,
        path: &Path,
    ) -> Result<(SqliteConnection, SqliteConnectOptions, Option<Standing>)> {
        let options = self.options().read_only(true);
        let shared = async {
            let mut connection = options.connect().await?;
            sqlx::query("select 1 from sqlite_schema limit 1").fetch_optional(&mut connection).await?;
            let mode =
                sqlx::query_scalar::<_, String>("pragma journal_mode").fetch_one(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, mode))
        };
        let error = match shared.await {
            Ok((connection, mode)) if mode == "wal" => return Ok((connection, options, None)),
            // Who writes to a copy without a log gives it one, and this connection would not know how to read it.
            Ok((connection, _)) => return Ok((connection, options, Standing::at(path))),
            Err(error) if is_denied(&error) => error,
            Err(error) => return Err(describe(&error, &self.place)),
        };
        let standing = Standing::at(path).ok_or_else(|| unrecovered(&error, &self.place))?;
        let options = standing.options(options);
        Ok((self.connect(options.clone()).await?, options, Some(standing)))
    }

    /// Creates the store, or brings its schema up to date.
    pub(super) async fn create(&self) -> Result<bool> {
        let mut open = self.open.lock().await;
        if let (SqlitePlace::Memory, Some(_)) = (&self.place, &open.database) {
            return Ok(false);
        }
        if matches!(self.place, SqlitePlace::File { read_only: true, .. }) {
            drop(open);
            return self.database().await.map(|_| false).map_err(|error| match error.code {
                Code::NotInitialized => {
                    Error::new(Code::ReadOnly, format!("{} is opened with mode=ro", self.place))
                        .hint("create it without mode=ro first")
                }
                _ => error,
            });
        }
        if self.has_failed() {
            return Err(failed());
        }
        if let SqlitePlace::File { path, .. } = &self.place {
            // Where something else stands in the way, what is open stays open: the file may be put back.
            place::is_file_at(path)?;
        }
        let files = self.files().ok();
        match &open.database {
            Some(database) if files == Some(database.files) && database.is_sound().await => {}
            _ => self.retire(&mut open).await?,
        }
        if let SqlitePlace::File { path, .. } = &self.place
            && !place::make_file(path)?
        {
            self.contents().await?.check_for_init(&self.place)?;
        }
        let is_memory = self.place == SqlitePlace::Memory;
        let options = self.options().create_if_missing(is_memory).journal_mode(SqliteJournalMode::Wal);
        // Switching a fresh file to WAL does not wait for the other process that does the same.
        let deadline = Instant::now() + limits::SQLITE_BUSY_TIMEOUT;
        let mut connection = loop {
            match options.connect().await {
                Ok(connection) => break connection,
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(describe(&error, &self.place)),
            }
        };
        let created = self.migrate(&mut connection).await?;
        if self.place == SqlitePlace::Memory {
            open.database = Some(Arc::new(Database::in_memory(connection, self.options())));
            return Ok(created);
        }
        sqlx::Connection::close(connection).await.map_err(|error| describe(&error, &self.place))?;
        drop(open);
        self.database().await.map(|_| created)
    }

    /// Runs the steps that are missing in one transaction that excludes every other process.
    async fn migrate(&self, connection: &mut SqliteConnection) -> Result<bool> {
        let table = migrations::SQLITE_TABLE;
        let applied = format!("begin immediate; {table}; select number from kv_migration order by number");
        let outcome = async {
            let applied = self.numbers(&self.run(connection, &applied, Arguments::default()).await?)?;
            let now_ms = self.clock.now_ms();
            for step in pending(migrations::SQLITE, &applied)? {
                let recorded = "insert into kv_migration (number, name, applied) values (?, ?, ?)";
                self.run(connection, step.sql, Arguments::default()).await?;
                let number = Arguments::default().milliseconds(step.number);
                self.run(connection, recorded, number.text(step.name).milliseconds(now_ms)).await?;
            }
            if applied.is_empty() {
                let identity = "insert into kv_meta (one, store_id, epoch, head, first, last_ms)
                    values (1, ?, ?, 0, 1, 0)";
                let random = || uuid::Uuid::new_v4().simple().to_string();
                self.run(connection, identity, Arguments::default().text(random()).text(random())).await?;
            }
            self.run(connection, "commit", Arguments::default()).await?;
            Ok(applied.is_empty())
        }
        .await;
        if outcome.is_err() {
            // "No transaction is active" means that SQLite has ended it itself.
            let _ = run(connection, "rollback", Arguments::default()).await;
        }
        outcome
    }

    /// Checks that this is a store that this version can serve, with the durability that it promises.
    async fn check(&self, connection: &mut SqliteConnection) -> Result<()> {
        let facts = "select sqlite_version(); pragma synchronous;
            select name from sqlite_schema where type = 'trigger' and tbl_name glob 'kv_*'";
        let facts = self.run(connection, facts, Arguments::default()).await?;
        let text = |index: usize| facts[index].rows.first().map(|row| column(row, 0)).transpose();
        let text = |index| text(index).map_err(|damage: Damage| damage.describe(&self.place));

        let version: String = text(0)?.unwrap_or_default();
        let mut numbers_of_version = version.split('.').map(|part| part.parse().unwrap_or(0));
        let mut part = || numbers_of_version.next().unwrap_or(0);
        if (part(), part(), part()) < SQLITE_VERSION_MIN {
            return Err(Error::new(
                Code::Unsupported,
                format!("SQLite {version} has a bug that can corrupt databases; kv needs 3.51.3"),
            )
            .hint("build kv with its bundled SQLite"));
        }
        if let Some(trigger) = text(2)? {
            return Err(Error::new(
                Code::Unsupported,
                format!("{} has the trigger {trigger:?} on a table of kv", self.place),
            )
            .hint("drop it: the tables of kv are written through kv only"));
        }
        if !matches!(self.place, SqlitePlace::File { read_only: true, .. }) {
            let synchronous = facts[1].rows.first().and_then(|row| column::<i64>(row, 0).ok());
            self.use_log(connection, synchronous).await?;
        }
        let applied = self.run(connection, "select number from kv_migration", Arguments::default()).await?;
        check_complete(migrations::SQLITE, &self.numbers(&applied)?, &self.place.to_string())
    }

    /// Makes sure of a write-ahead log with full sync. A backup has none until it is served. Several processes may begin it at
    /// once, and SQLite does not wait for that.
    async fn use_log(&self, connection: &mut SqliteConnection, synchronous: Option<i64>) -> Result<()> {
        let deadline = Instant::now() + limits::SQLITE_BUSY_TIMEOUT;
        let mode = loop {
            let pragma = sqlx::query_scalar::<_, String>("pragma journal_mode = wal");
            match pragma.fetch_one(&mut *connection).await {
                Ok(mode) => break mode,
                Err(error) if is_busy(&error) && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(error) => return Err(describe(&error, &self.place)),
            }
        };
        if mode == "wal" && synchronous == Some(2) {
            return Ok(());
        }
        let message = format!("{} cannot use a write-ahead log with full sync", self.place);
        Err(Error::new(Code::Unsupported, message).hint("put the store on a local file system"))
    }

    pub(super) fn options(&self) -> SqliteConnectOptions {
        let options = match &self.place {
            SqlitePlace::File { path, read_only: false } => {
                SqliteConnectOptions::new().filename(path).synchronous(SqliteSynchronous::Full)
            }
            SqlitePlace::File { path, read_only: true } => {
                SqliteConnectOptions::new().filename(path).read_only(true)
            }
            SqlitePlace::Memory => SqliteConnectOptions::new().in_memory(true),
        };
        options
            .busy_timeout(limits::SQLITE_BUSY_TIMEOUT)
            // A database file may come from a hostile hand (https://www.sqlite.org/security.html).
            .pragma("trusted_schema", "off")
            .pragma("cell_size_check", "on")
            // With mmap a read could see pages of a commit that is not synced yet.
            .pragma("mmap_size", "0")
            // Only macOS knows a sync that reaches the platter; elsewhere the pragma does nothing.
            .pragma("fullfsync", "on")
            // A log that a reader or a large batch made long shrinks to this when it begins anew.
            .pragma("journal_size_limit", limits::SQLITE_LOG_BYTES.to_string())
            .disable_statement_logging()
    }

    pub(super) async fn connect(&self, options: SqliteConnectOptions) -> Result<SqliteConnection> {
        options.connect().await.map_err(|error| describe(&error, &self.place))
    }

    pub(super) async fn run(
        &self,
        connection: &mut SqliteConnection,
        text: &str,
        arguments: Arguments,
    ) -> Result<Vec<Statement>> {
        run(connection, text, arguments).await.map_err(|Stopped { error, .. }| describe(&error, &self.place))
    }

    fn numbers(&self, statements: &[Statement]) -> Result<Vec<i64>> {
        let rows = statements.last().map_or(&[][..], |last| &last.rows);
        let number = |row| count(row, 0).map(u64::cast_signed);
        let numbers = rows.iter().map(number).collect::<column::Result<_>>();
        numbers.map_err(|damage| damage.describe(&self.place))
    }
}
