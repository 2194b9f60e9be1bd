//! Sees to it that a database file goes on as the one that was opened, see [`header`](super::header).

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::header::{Header, MainFile};
use super::statement::{Result, number};
use crate::limits;
use crate::store::damage::Damage;
use crate::store::plan::Plan;

/// The history of a database, as far as this process knows it.
#[derive(Debug)]
pub(super) struct History {
    main: MainFile,
    known: Mutex<Known>,
    /// Set for good once the file was written over.
    is_broken: AtomicBool,
    /// Rows that were written since the number of checkpoints was raised.
    rows: AtomicUsize,
    /// Whether nothing was committed through this process yet.
    is_fresh: AtomicBool,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    header: Header,
    /// The number of checkpoints that the database itself told last.
    checkpoints: u32,
    /// What the writing connection saw then of the commits of others.
    data_version: i64,
}

impl History {
    /// The file at this path, before the first connection to it is opened.
    pub(super) fn open(path: &Path) -> io::Result<MainFile> {
        MainFile::open(path)
    }

    /// Begins with the file as it is now.
    pub(super) fn begin(main: MainFile, writer: &Connection) -> Result<History> {
        // A file that another process is making has no header yet, and what it holds is looked at by others.
        let header = main.header().map_err(|error| Damage::new(error.to_string()))?;
        let known = Known { header, checkpoints: checkpoints(writer)?, data_version: data_version(writer)? };
        Ok(History {
            main,
            known: Mutex::new(known),
            is_broken: AtomicBool::new(false),
            rows: AtomicUsize::new(usize::MAX),
            is_fresh: AtomicBool::new(true),
        })
    }

    /// The file itself.
    pub(super) fn main(&self) -> &MainFile {
        &self.main
    }

    /// Whether the file was found to be written over.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    /// Whether nothing at all was written to the file since it was looked at last.
    pub(super) fn is_unchanged(&self) -> bool {
        !self.is_broken() && self.main.header().is_ok_and(|header| header == self.known().header)
    }

    /// Whether the file goes on as the one that was opened. The log may have been written back into it meanwhile, by this
    /// process or another one.
    pub(super) fn goes_on(&self, writer: &Connection) -> bool {
        if self.is_unchanged() {
            return true;
        }
        let known = *self.known();
        let goes_on = || {
            let header = self.main.header().ok()?;
            let data_version = data_version(writer).ok()?;
            // Without a commit of another process the number cannot have grown. It is not asked for then: it would be read
            // from the file that is in doubt.
            let checkpoints = match data_version == known.data_version {
                true => known.checkpoints,
                false => checkpoints(writer).ok()?,
            };
            header.follows(&known.header, checkpoints).then_some(Known { header, checkpoints, data_version })
        };
        match goes_on() {
            Some(now) if !self.is_broken() => {
                // The log was written back: the next commit may be the first of a log that begins anew.
                self.rows.store(usize::MAX, Ordering::SeqCst);
                *self.known() = now;
                true
            }
            _ => {
                self.is_broken.store(true, Ordering::SeqCst);
                false
            }
        }
    }

    /// Whether this is the first commit of this process.
    pub(super) fn is_first_commit(&self) -> bool {
        self.is_fresh.swap(false, Ordering::SeqCst)
    }

    /// How many rows a batch writes; the most where that is not known.
    pub(super) fn rows_of(plan: &Plan) -> usize {
        if plan.range_delete.is_some() || plan.trims() {
            return usize::MAX;
        }
        plan.stream.len() + plan.puts.len() + plan.locks.len() + plan.consumers.len() + plan.once.len()
    }

    /// The number of checkpoints that a batch of so many rows writes along, when it is time: at least once between two checkpoints, which
    /// SQLite makes when the log has 1,000 pages.
    pub(super) fn next_checkpoint(&self, rows: usize, writer: &Connection) -> Result<Option<u32>> {
        let rows = self.rows.load(Ordering::SeqCst).saturating_add(rows);
        if rows < limits::CHECKPOINT_NUMBER_ROWS {
            self.rows.store(rows, Ordering::SeqCst);
            return Ok(None);
        }
        let next = checkpoints(writer)?.wrapping_add(1);
        self.rows.store(0, Ordering::SeqCst);
        self.known().checkpoints = next;
        Ok(Some(next))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nobody panics while holding this mutex; a poisoned one would still hold a good value.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checkpoints(connection: &Connection) -> Result<u32> {
    let version = number(connection, "pragma user_version", &[])?;
    // It is a number of 32 bits, and SQLite shows the upper half of them as negative.
    Ok((version & i64::from(u32::MAX)) as u32)
}

fn data_version(connection: &Connection) -> Result<i64> {
    number(connection, "pragma data_version", &[])
}
