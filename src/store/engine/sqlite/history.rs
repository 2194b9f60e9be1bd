//! Checks that a database file is still the one that was opened, see [`header`](super::header).

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

/// The history of a database file, as far as this process has observed it.
#[derive(Debug)]
pub(super) struct History {
    main: MainFile,
    observed: Mutex<Observation>,
    /// Set for good once the file was written over.
    is_broken: AtomicBool,
    /// Rows that were written since the number of checkpoints was raised.
    rows: AtomicUsize,
    /// Whether nothing was committed through this process yet.
    is_fresh: AtomicBool,
}

/// What the file held when it was last found to be the one that was opened.
#[derive(Debug, Clone, Copy)]
struct Observation {
    header: Header,
    /// The number of checkpoints that the database itself held.
    checkpoints: u32,
    /// SQLite's `data_version` of the writing connection at that time.
    data_version: i64,
}

impl History {
    /// The file at this path, before the first connection to it is opened.
    pub(super) fn open(path: &Path) -> io::Result<MainFile> {
        MainFile::open(path)
    }

    /// Begins with the present state of the file.
    pub(super) fn begin(main: MainFile, writer: &Connection) -> Result<History> {
        // A file that another process is creating has no header yet; other code checks what it holds.
        let header = main.header().map_err(|error| Damage::new(error.to_string()))?;
        let observed =
            Observation { header, checkpoints: checkpoints(writer)?, data_version: data_version(writer)? };
        Ok(History {
            main,
            observed: Mutex::new(observed),
            is_broken: AtomicBool::new(false),
            rows: AtomicUsize::new(usize::MAX),
            is_fresh: AtomicBool::new(true),
        })
    }

    /// The file itself.
    pub(super) fn main(&self) -> &MainFile {
        &self.main
    }

    /// Whether the file is known to have been written over.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::SeqCst)
    }

    /// Whether nothing at all was written to the file since the last observation.
    pub(super) fn is_unchanged(&self) -> bool {
        !self.is_broken() && self.main.header().is_ok_and(|header| header == self.observed().header)
    }

    /// Whether the file is still the one that was opened. This process or another one may have written the log back
    /// into it since.
    pub(super) fn goes_on(&self, writer: &Connection) -> bool {
        if self.is_unchanged() {
            return true;
        }
        let observed = *self.observed();
        let goes_on = || {
            let header = self.main.header().ok()?;
            let data_version = data_version(writer).ok()?;
            // Without a commit of another process the number cannot have grown. It is not read then: the read would
            // come from the file that is in doubt.
            let checkpoints = match data_version == observed.data_version {
                true => observed.checkpoints,
                false => checkpoints(writer).ok()?,
            };
            header.follows(&observed.header, checkpoints).then_some(Observation {
                header,
                checkpoints,
                data_version,
            })
        };
        match goes_on() {
            Some(now) if !self.is_broken() => {
                // The log was written back: the next commit may be the first one in a new log.
                self.rows.store(usize::MAX, Ordering::SeqCst);
                *self.observed() = now;
                true
            }
            _ => {
                self.is_broken.store(true, Ordering::SeqCst);
                false
            }
        }
    }

    /// Whether this is the first commit of this process: true for the first call only.
    pub(super) fn is_first_commit(&self) -> bool {
        self.is_fresh.swap(false, Ordering::SeqCst)
    }

    /// The number of rows that a batch writes; `usize::MAX` when it is not known.
    pub(super) fn rows_of(plan: &Plan) -> usize {
        if plan.range_delete.is_some() || plan.trims() {
            return usize::MAX;
        }
        plan.stream.len() + plan.puts.len() + plan.locks.len() + plan.consumers.len() + plan.once.len()
    }

    /// The number of checkpoints that a batch of this many rows must write too, when it is due: at least once between
    /// two checkpoints, which SQLite makes when the log has 1,000 pages.
    pub(super) fn next_checkpoint(&self, rows: usize, writer: &Connection) -> Result<Option<u32>> {
        let rows = self.rows.load(Ordering::SeqCst).saturating_add(rows);
        if rows < limits::CHECKPOINT_NUMBER_ROWS {
            self.rows.store(rows, Ordering::SeqCst);
            return Ok(None);
        }
        let next = checkpoints(writer)?.wrapping_add(1);
        self.rows.store(0, Ordering::SeqCst);
        self.observed().checkpoints = next;
        Ok(Some(next))
    }

    fn observed(&self) -> MutexGuard<'_, Observation> {
        // No code panics while it holds this mutex; a poisoned one would still hold a good value.
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn checkpoints(connection: &Connection) -> Result<u32> {
    let version = number(connection, "pragma user_version", &[])?;
    // The number has 32 bits, and SQLite shows the upper half of its range as negative.
    Ok((version & i64::from(u32::MAX)) as u32)
}

fn data_version(connection: &Connection) -> Result<i64> {
    number(connection, "pragma data_version", &[])
}
