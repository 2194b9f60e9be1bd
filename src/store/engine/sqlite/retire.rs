//! Lets go of files that are no longer those at their paths.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};

use super::Sqlite;
use super::database::Database;
use super::error::{damaged, in_use};
use super::files::{self, lay_log_aside};
use super::header::MainFile;
use super::run::{Arguments, run};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::file_id::FileId;
use crate::store::open::SqlitePlace;

/// How often it is looked whether what is waited for is there.
const PAUSE: Duration = Duration::from_millis(1);

/// What an engine has open.
#[derive(Default)]
pub(super) struct Opened {
    /// None until the first request finds a store.
    pub(super) database: Option<Arc<Database>>,
    /// Connections to files that are no longer the store's, and since when: nothing else is opened before they are closed.
    leaving: Option<(Arc<Database>, Instant)>,
    /// Whether the file at the path was written over while it was open, so that it may not be whole.
    is_in_doubt: bool,
}

impl Sqlite {
    /// Closes connections to files that are no longer at their paths, or were written over. Nothing may be opened before: the
    /// log of the old database would be played into the new one.
    ///
    /// What the log holds is saved as far as there is a file that it belongs to: one that was moved, or whose log alone was
    /// deleted, gets it back. Else the log is laid aside; one that came with the next database stays.
    ///
    /// # Errors
    /// `busy` while a request is under way with the old files, or another process keeps the log from being saved.
    pub(super) async fn retire(&self, open: &mut Opened) -> Result<()> {
        if let Some(database) = open.database.take() {
            tracing::warn!(place = %self.place, "a file of the store was replaced: opening it again");
            self.begin_to_leave(open, database);
        }
        if let Some((leaving, since)) = open.leaving.take() {
            self.leave(open, leaving, since, limits::RETIRE_PATIENCE).await?;
        }
        match &self.place {
            SqlitePlace::File { path, .. } if open.is_in_doubt => {
                self.check_whole(path).await?;
                open.is_in_doubt = false;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A log that does not belong to the file at the path goes out of its way at once, because this process may be killed
    /// before the last request with the old files has ended. Connections go on using a log that was renamed.
    fn begin_to_leave(&self, open: &mut Opened, database: Arc<Database>) {
        if let SqlitePlace::File { path, .. } = &self.place
            && self.is_log_stale(path, &database)
        {
            lay_log_aside(path);
        }
        open.leaving = Some((database, Instant::now()));
    }

    /// Whether the log at the path is that of these connections, and the database there is not.
    fn is_log_stale(&self, path: &Path, database: &Database) -> bool {
        let SqlitePlace::File { read_only: false, .. } = &self.place else { return false };
        let is_in_place = FileId::of(path).ok() == database.files.map(|files| files.database);
        let log = files::log_path(path);
        let is_elsewhere = !is_in_place && database.is_deleted() && path.exists();
        (database.is_written_over() || is_elsewhere)
            && database.files.is_some_and(|old| old.log.is_some() && FileId::of(&log).ok() == old.log)
            && files::length_bytes(&log) > 0
    }

    /// Closes every connection, so that another file can be put at the path. What cannot be closed stays open.
    ///
    /// # Errors
    /// `busy` while a request is under way, or another process keeps the log from being written back.
    pub(super) async fn clear(&self, open: &mut Opened) -> Result<()> {
        if let Some(database) = open.database.take() {
            open.leaving = Some((database, Instant::now()));
        }
        if let Some((leaving, _)) = open.leaving.take() {
            let left = self.leave(open, leaving, Instant::now(), limits::SQLITE_BUSY_TIMEOUT).await;
            if let Err(error) = left {
                open.database = open.leaving.take().map(|(database, _)| database);
                return Err(if error.code == Code::Busy { in_use(&self.place) } else { error });
            }
        }
        open.is_in_doubt = false;
        Ok(())
    }

    async fn leave(
        &self,
        open: &mut Opened,
        mut leaving: Arc<Database>,
        since: Instant,
        patience: Duration,
    ) -> Result<()> {
        let SqlitePlace::File { path, read_only, .. } = &self.place else { return Ok(()) };
        let database = loop {
            match Arc::try_unwrap(leaving) {
                Ok(database) => break database,
                Err(shared) if since.elapsed() < patience => leaving = shared,
                Err(shared) => {
                    open.leaving = Some((shared, since));
                    return Err(
                        self.busy("a request is still under way with the files that were there before")
                    );
                }
            }
            sleep(PAUSE).await;
        };
        let is_in_place = FileId::of(path).ok() == database.files.map(|files| files.database);
        let is_written_over = database.is_written_over();
        let has_file =
            !is_written_over && !database.is_deleted() && database.standing.is_none() && !read_only;
        if has_file && let Err(error) = database.write_log_back().await {
            if is_in_place {
                open.leaving = Some((Arc::new(database), since));
                return Err(error);
            }
            tracing::warn!(%error, "the log of a database that was moved could not be written back into it");
        }
        let old = database.files;
        let log = files::log_path(path);
        let is_log_stale = !read_only
            && (is_written_over || (!is_in_place && path.exists()))
            && old.is_some_and(|old| old.log.is_some() && FileId::of(&log).ok() == old.log)
            && files::length_bytes(&log) > 0;
        // SQLite removes the log of a file that is in its place, and leaves any other.
        if is_written_over && is_log_stale {
            lay_log_aside(path);
        }
        database.close().await;
        if !is_written_over && is_log_stale {
            lay_log_aside(path);
        }
        open.is_in_doubt |= is_written_over;
        Ok(())
    }

    pub(super) fn busy(&self, why: &str) -> Error {
        Error::new(Code::Busy, format!("{} was replaced, and {why}", self.place))
            .hint("try again in a moment")
    }

    /// Passes once a file that was written over is a whole database again. Whoever copies a file over another one has it
    /// half written for a while.
    async fn check_whole(&self, path: &Path) -> Result<()> {
        let begun = Instant::now();
        while !is_settled(path) {
            if begun.elapsed() >= limits::WRITTEN_OVER_PATIENCE {
                return Err(self.busy("it is still being written"));
            }
            sleep(PAUSE).await;
        }
        let mut connection = self.connect(self.options().read_only(true).immutable(true)).await?;
        let checked = run(&mut connection, "pragma integrity_check(1)", Arguments::default()).await;
        let closed = sqlx::Connection::close(connection).await;
        let told = checked.map_err(|stopped| super::error::describe(&stopped.error, &self.place))?;
        closed.map_err(|error| super::error::describe(&error, &self.place))?;
        let found = told.first().and_then(|told| super::column::column::<String>(told.rows.first()?, 0).ok());
        match found.as_deref() {
            Some("ok") => Ok(()),
            found => {
                let found = found.unwrap_or("integrity_check says nothing");
                Err(damaged(&self.place, &format!("it was written over while it was open: {found}")))
            }
        }
    }

    /// Lets go of a store that is no longer where it was, so that whoever moved it finds all of it there; else shrinks a log
    /// that was left large.
    pub(super) async fn let_go_or_shrink(&self) {
        let SqlitePlace::File { path, .. } = &self.place else { return };
        let Ok(mut open) = self.open.try_lock() else { return };
        if let Some(database) = open.database.clone() {
            let files = self.files();
            if files.as_ref().is_ok_and(|files| *files == database.files) && database.is_sound().await {
                return database.shrink_log(path).await;
            }
            // A file that cannot be reached just now may be put back, and one that was deleted is nowhere else.
            let is_gone = files.is_err_and(|error| error.code != Code::NotInitialized);
            if is_gone
                || (database.is_deleted() && !path.exists())
                || self.failed.load(std::sync::atomic::Ordering::SeqCst)
            {
                return;
            }
            drop(database);
            tracing::info!(place = %self.place, "the store is no longer where it was");
            if let Some(database) = open.database.take() {
                self.begin_to_leave(&mut open, database);
            }
        }
        if let Some((leaving, since)) = open.leaving.take()
            && let Err(error) = self.leave(&mut open, leaving, since, Duration::ZERO).await
        {
            tracing::debug!(%error, "the store cannot be let go of yet");
        }
    }

    /// Closes what is open, for an engine that is not used any more. What somebody still uses after the time that a request
    /// may take stays as it is: the next process recovers it.
    pub(super) async fn close_all(&self) {
        let mut open = self.open.lock().await;
        if let Some(database) = open.database.take() {
            // Without a file at its path the log stays where it is: the file may yet be put back beside it.
            let is_current = self.files().map_or(true, |files| files == database.files);
            if is_current && database.is_sound().await {
                return match Arc::try_unwrap(database) {
                    Ok(database) => database.close().await,
                    Err(_) => tracing::warn!("a request is under way: the next process recovers its outcome"),
                };
            }
            self.begin_to_leave(&mut open, database);
        }
        if let Some((leaving, _)) = open.leaving.take()
            && let Err(error) =
                self.leave(&mut open, leaving, Instant::now(), limits::SQLITE_BUSY_TIMEOUT).await
        {
            tracing::error!(%error, "what the log held could not be saved");
        }
    }
}

/// Whether a database file has all the pages that its header counts, and was not written to for a moment.
fn is_settled(path: &Path) -> bool {
    let is_whole = || {
        let main = MainFile::open(path).ok()?;
        let header = main.header().ok().filter(super::header::Header::is_database)?;
        (main.size_bytes().ok()? >= header.size_bytes()).then_some(())
    };
    let age = path
        .metadata()
        .and_then(|metadata| metadata.modified())
        .map(|modified| SystemTime::now().duration_since(modified).unwrap_or_default());
    is_whole().is_some() && age.is_ok_and(|age| age >= limits::WRITTEN_OVER_QUIET)
}
