//! Closes files that are no longer those at their paths.

use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::Core;
use super::connection::connect_immutable;
use super::database::{Database, Open};
use super::error::{damaged, describe, in_use};
use super::files::{self, lay_log_aside};
use super::header::MainFile;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::file_id::FileId;
use crate::store::open::SqlitePlace;

/// Pause between two checks whether a condition that is waited for holds.
const PAUSE: Duration = Duration::from_millis(1);

/// The stores that an engine has open: the present one, and one that is being closed.
#[derive(Default)]
pub(super) struct Opened {
    /// None until the first request finds a store.
    open: Option<Open>,
    /// Connections to files that no longer belong to the store, and since when. No other store is opened before they
    /// are closed.
    leaving: Option<(Open, Instant)>,
    /// Whether the file at the path was written over while it was open, so that it may be incomplete.
    is_in_doubt: bool,
    /// The name of the last lock whose expiry was checked by the sweep; empty at the beginning.
    pub(super) lock_sweep: String,
}

impl Opened {
    /// The open store; opens it when it is not open, or its files are no longer those that were opened.
    pub(super) fn open(&mut self, core: &Core) -> Result<&mut Open> {
        core.check_failed()?;
        // A store whose file is out of reach stays open: the file may be put back, and while it is open its inode is
        // not given to another file.
        let files = core.files()?;
        if !self.open.as_ref().is_some_and(|open| open.database.files == files && open.goes_on()) {
            self.retire(core)?;
            let open = core.open_existing()?;
            self.begin(core, open);
        }
        self.open.as_mut().ok_or_else(|| core.absent())
    }

    /// The open store, as it is now.
    pub(super) fn present(&self) -> Option<&Open> {
        self.open.as_ref()
    }

    /// Makes this the open store.
    pub(super) fn begin(&mut self, core: &Core, open: Open) {
        core.publish(Some(Arc::clone(&open.database)));
        self.open = Some(open);
    }

    /// Whether the opening with this number is still the present one, and its files are still those that were opened.
    pub(super) fn goes_on(&self, opened: u64) -> bool {
        self.open.as_ref().is_some_and(|open| open.database.opened == opened && open.goes_on())
    }

    fn take(&mut self, core: &Core) -> Option<Open> {
        core.publish(None);
        self.open.take()
    }

    /// Closes connections to files that are no longer at their paths, or were written over. No store may be opened
    /// before: the log of the old database would be played into the new one.
    ///
    /// The content of the log is saved when there is a file that it belongs to: a database that was moved, or whose log
    /// alone was deleted, gets it back. Otherwise the log is moved aside; a log that came with the next database stays.
    ///
    /// # Errors
    /// `busy` while a request still uses the old files, or another process keeps the log from being saved.
    pub(super) fn retire(&mut self, core: &Core) -> Result<()> {
        if let Some(open) = self.take(core) {
            tracing::warn!(place = %core.place, "a file of the store was replaced: opening it again");
            self.begin_to_leave(core, open);
        }
        if let Some((leaving, since)) = self.leaving.take() {
            self.leave(core, leaving, since, limits::RETIRE_PATIENCE)?;
        }
        if let SqlitePlace::File { path, .. } = &core.place
            && self.is_in_doubt
        {
            core.check_whole(path)?;
            self.is_in_doubt = false;
        }
        Ok(())
    }

    /// A log that does not belong to the file at the path is moved out of its way at once, because this process may be
    /// killed before the last request with the old files has ended. Connections go on using a log that was renamed.
    fn begin_to_leave(&mut self, core: &Core, open: Open) {
        if let SqlitePlace::File { path, .. } = &core.place
            && core.is_log_stale(path, &open.database)
        {
            lay_log_aside(path);
        }
        self.leaving = Some((open, Instant::now()));
    }

    /// Closes every connection, so that another file can be put at the path. A connection that cannot be closed stays
    /// open.
    ///
    /// # Errors
    /// `busy` while a request is under way, or another process keeps the log from being written back.
    pub(super) fn clear(&mut self, core: &Core) -> Result<()> {
        if let Some(open) = self.take(core) {
            self.leaving = Some((open, Instant::now()));
        }
        if let Some((leaving, _)) = self.leaving.take()
            && let Err(error) = self.leave(core, leaving, Instant::now(), limits::SQLITE_BUSY_TIMEOUT)
        {
            if let Some((open, _)) = self.leaving.take() {
                self.begin(core, open);
            }
            return Err(if error.code == Code::Busy { in_use(&core.place) } else { error });
        }
        self.is_in_doubt = false;
        Ok(())
    }

    fn leave(&mut self, core: &Core, leaving: Open, since: Instant, patience: Duration) -> Result<()> {
        let SqlitePlace::File { path, read_only, .. } = &core.place else { return Ok(()) };
        while Arc::strong_count(&leaving.database) > 1 {
            if since.elapsed() >= patience {
                self.leaving = Some((leaving, since));
                return Err(core.old_files_in_use());
            }
            sleep(PAUSE);
        }
        let database = &leaving.database;
        let is_in_place = FileId::of(path).ok() == database.files.map(|files| files.database);
        let is_written_over = database.is_written_over();
        let has_file =
            !is_written_over && !database.is_deleted() && database.standing.is_none() && !read_only;
        if has_file && let Err(error) = leaving.write_log_back() {
            if is_in_place {
                self.leaving = Some((leaving, since));
                return Err(error);
            }
            tracing::warn!(%error, "the log of a database that was moved could not be written back into it");
        }
        let is_log_stale = !read_only
            && (is_written_over || (!is_in_place && path.exists()))
            && database.has_its_log_at(path);
        // SQLite removes the log of a file that is at its path, and leaves any other.
        if is_written_over && is_log_stale {
            lay_log_aside(path);
        }
        if let Some(open) = leaving.close() {
            // A read has begun in the meantime, before the store was published as closed.
            self.leaving = Some((open, since));
            return Err(core.old_files_in_use());
        }
        if !is_written_over && is_log_stale {
            lay_log_aside(path);
        }
        self.is_in_doubt |= is_written_over;
        Ok(())
    }

    /// Closes a store that is no longer at its path, so that the user who moved it finds everything in it; otherwise
    /// shrinks a log that was left large.
    pub(super) fn let_go_or_shrink(&mut self, core: &Core) {
        let SqlitePlace::File { path, .. } = &core.place else { return };
        if let Some(open) = &self.open {
            let files = core.files();
            if files.as_ref().is_ok_and(|files| *files == open.database.files) && open.goes_on() {
                return open.shrink_log();
            }
            // A file that cannot be reached just now may be put back, and one that was deleted has no other path.
            let is_gone = files.is_err_and(|error| error.code != Code::NotInitialized);
            if is_gone || (open.database.is_deleted() && !path.exists()) || core.has_failed() {
                return;
            }
            tracing::info!(place = %core.place, "the store is no longer where it was");
            if let Some(open) = self.take(core) {
                self.begin_to_leave(core, open);
            }
        }
        if let Some((leaving, since)) = self.leaving.take()
            && let Err(error) = self.leave(core, leaving, since, Duration::ZERO)
        {
            tracing::debug!(%error, "the store cannot be let go of yet");
        }
    }

    /// Closes the open store, for an engine that is not used any more. Connections that are still in use after the
    /// longest time of a request are left open: the next process recovers the store.
    pub(super) fn close_all(&mut self, core: &Core) {
        if let Some(open) = self.take(core) {
            // Without a file at its path the log stays where it is: the file may still be put back beside it.
            let is_current = core.files().map_or(true, |files| files == open.database.files);
            if is_current && open.goes_on() {
                if !open.is_left_within(limits::SQLITE_BUSY_TIMEOUT) || open.close().is_some() {
                    tracing::warn!("a request is under way: the next process recovers its outcome");
                }
                return;
            }
            self.begin_to_leave(core, open);
        }
        if let Some((leaving, _)) = self.leaving.take()
            && let Err(error) = self.leave(core, leaving, Instant::now(), limits::SQLITE_BUSY_TIMEOUT)
        {
            tracing::error!(%error, "what the log held could not be saved");
        }
    }
}

impl Database {
    /// Whether the log at this path belongs to this store, and is not empty.
    fn has_its_log_at(&self, path: &Path) -> bool {
        let log = files::log_path(path);
        self.files.is_some_and(|old| old.log.is_some() && FileId::of(&log).ok() == old.log)
            && files::length_bytes(&log) > 0
    }
}

impl Open {
    /// Waits until there is no reader any more.
    fn is_left_within(&self, patience: Duration) -> bool {
        let begun = Instant::now();
        while Arc::strong_count(&self.database) > 1 {
            if begun.elapsed() >= patience {
                return false;
            }
            sleep(PAUSE);
        }
        true
    }
}

impl Core {
    /// Whether the log at the path belongs to these connections, and the database there does not.
    fn is_log_stale(&self, path: &Path, database: &Database) -> bool {
        let SqlitePlace::File { read_only: false, .. } = &self.place else { return false };
        let is_in_place = FileId::of(path).ok() == database.files.map(|files| files.database);
        let is_elsewhere = !is_in_place && database.is_deleted() && path.exists();
        (database.is_written_over() || is_elsewhere) && database.has_its_log_at(path)
    }

    /// The error while a request uses files that are no longer those at the path of the store.
    pub(super) fn old_files_in_use(&self) -> Error {
        self.replaced("a request is still under way with the files that were there before")
    }

    pub(super) fn replaced(&self, why: &str) -> Error {
        Error::new(Code::Busy, format!("{} was replaced, and {why}", self.place))
            .hint("try again in a moment")
    }

    /// Passes once a file that was written over is a complete database again: a program that copies a file over another
    /// one leaves it half written for a while.
    fn check_whole(&self, path: &Path) -> Result<()> {
        let begun = Instant::now();
        while !is_settled(path) {
            if begun.elapsed() >= limits::WRITTEN_OVER_PATIENCE {
                return Err(self.replaced("it is still being written"));
            }
            sleep(PAUSE);
        }
        let checked = connect_immutable(path).and_then(|connection| {
            connection.query_row("pragma integrity_check(1)", [], |row| row.get::<_, String>(0))
        });
        let found = match checked {
            Err(rusqlite::Error::QueryReturnedNoRows) => None,
            checked => Some(checked.map_err(|error| describe(&error, &self.place))?),
        };
        match found.as_deref() {
            Some("ok") => Ok(()),
            found => {
                let found = found.unwrap_or("integrity_check says nothing");
                Err(damaged(&self.place, &format!("it was written over while it was open: {found}")))
            }
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
