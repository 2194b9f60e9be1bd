//! One attempt to commit a batch: lock, read, plan, apply, commit, all on one thread.

use std::sync::atomic::Ordering;

use rusqlite::Connection;

use super::Core;
use super::apply::{self, Steps};
use super::database::Open;
use super::error::{describe, is_cut_off, is_fatal, is_pointless_alone};
use super::history::History;
use super::load::{Loaded, load, load_meta};
use super::retire::Opened;
use super::room::no_room;
use super::statement::{Trouble, execute};
use crate::limits;
use crate::store::commit::Batch;
use crate::store::engine::{Decision, Failure};
use crate::store::error::{Code, Error, Result};
use crate::store::plan::Plan;
use crate::store::position::Position;

impl Opened {
    pub(super) fn attempt(&mut self, core: &Core, batch: &Batch) -> std::result::Result<Decision, Failure> {
        let mut lock_sweep = std::mem::take(&mut self.lock_sweep);
        let outcome = self.open(core).map_err(rejected).and_then(|open| {
            let outcome = open.attempt(core, batch, Steps::One, &mut lock_sweep);
            match outcome {
                // The log may hold much that is in the database by now, or could be.
                Err(Failure::Rejected { error: Error { code: Code::StoreFull, .. }, .. }) => {
                    open.database.shorten_log(&open.writer, limits::LOG_READERS_TIMEOUT);
                    open.attempt(core, batch, Steps::Many, &mut lock_sweep)
                }
                outcome => outcome,
            }
        });
        self.lock_sweep = lock_sweep;
        outcome
    }
}

/// Nothing was written, and no part of the batch would fare better alone.
fn rejected(error: Error) -> Failure {
    Failure::Rejected { error, alone_may_help: false }
}

/// A transaction that writes. It is rolled back when it is dropped, unless it was committed; SQLite itself may have rolled it
/// back before, as it does when the disk is full.
struct Transaction<'a> {
    core: &'a Core,
    open: &'a Open,
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        let writer = &self.open.writer;
        if !writer.is_autocommit()
            && let Err(error) = execute(writer, "rollback", &[])
        {
            tracing::warn!(%error, "rollback");
        }
    }
}

impl Open {
    fn attempt(
        &self,
        core: &Core,
        batch: &Batch,
        steps: Steps,
        lock_sweep: &mut String,
    ) -> std::result::Result<Decision, Failure> {
        core.check_failed().map_err(rejected)?;
        let database = &*self.database;
        let room = database.room(&self.writer);
        let needs = batch.needs();
        let transaction = self.begin(core).map_err(rejected)?;
        // Read with the lock held: what waits for it for long must not be decided by an old time.
        let now_ms = core.clock.now_ms();
        let loaded = load(&self.writer, &needs, lock_sweep, now_ms);
        let Loaded { rows, oldest } = loaded.map_err(|trouble| transaction.failure(&trouble))?;
        if needs.sweeps_locks {
            *lock_sweep = rows.swept_to();
        }
        let plan = batch.decide(&needs, rows, now_ms);
        let leaves_trimmed = oldest.is_some_and(|oldest| oldest < plan.meta.first);
        if plan.is_empty() {
            let Plan { outcomes, unfinished, .. } = plan;
            return Ok(Decision { outcomes, unfinished, position: None, leaves_trimmed });
        }
        plan.meta.check().map_err(|damage| transaction.failure(&damage.into()))?;
        room.check(&plan, &core.place).map_err(|error| Failure::Rejected { error, alone_may_help: true })?;
        transaction.prepare(History::rows_of(&plan))?;
        let steps = if room.is_short() { Steps::Many } else { steps };
        apply::apply(&self.writer, &plan, oldest, steps)
            .map_err(|error| transaction.failure(&error.into()))?;
        if room.is_to_be_watched(&plan) && !database.fits(&self.writer) {
            return Err(Failure::Rejected { error: no_room(&core.place), alone_may_help: true });
        }
        transaction.commit()?;
        self.check_committed(core)?;
        let Plan { outcomes, unfinished, meta, .. } = plan;
        let position = Some(Position::of(meta, database.opened));
        Ok(Decision { outcomes, unfinished, position, leaves_trimmed })
    }

    /// Removes a part of what was trimmed, and answers whether something is left. Nothing that anybody sees depends on it.
    pub(super) fn sweep(&self, core: &Core) -> Result<bool> {
        if core.has_failed() {
            return Ok(false);
        }
        self.database.room(&self.writer);
        let transaction = self.begin(core)?;
        let (meta, oldest) = load_meta(&self.writer).map_err(|trouble| trouble.describe(&core.place))?;
        if oldest.is_none_or(|oldest| oldest >= meta.first) {
            return Ok(false);
        }
        let swept = transaction.prepare(usize::MAX).and_then(|()| {
            apply::sweep(&self.writer, meta.first).map_err(|error| transaction.failure(&error.into()))
        });
        swept.and_then(|()| transaction.commit()).map_err(Failure::into_error)?;
        Ok(true)
    }

    /// Takes the write lock first: a transaction that reads before it writes would fail at once when another process wrote in
    /// between.
    fn begin<'a>(&'a self, core: &'a Core) -> Result<Transaction<'a>> {
        execute(&self.writer, "begin immediate", &[]).map_err(|error| describe(&error, &core.place))?;
        Ok(Transaction { core, open: self })
    }

    /// Whether the files are still those that were opened. SQLite goes on writing to files that were deleted or replaced
    /// underneath it, and to a file that was written over: so they are looked at before a batch and before its
    /// acknowledgement.
    fn is_current(&self, core: &Core) -> bool {
        self.goes_on() && core.files().is_ok_and(|files| files == self.database.files)
    }

    /// Passes when what was just committed stands in the files at the place of the store.
    fn check_committed(&self, core: &Core) -> std::result::Result<(), Failure> {
        if !self.is_current(core) {
            let message = format!("the files of {} were replaced during the write", core.place);
            let error = Error::new(Code::Unavailable, message)
                .hint("read the key to learn whether the write was applied");
            return Err(Failure::Unknown(error));
        }
        // Until then the file is, byte for byte, what a copy of it is that was made while nobody had it open: who puts that
        // copy back could not be noticed.
        if self.database.history.as_ref().is_some_and(History::is_first_commit) {
            self.database.shorten_log(&self.writer, limits::LOG_READERS_TIMEOUT);
        }
        Ok(())
    }
}

impl Transaction<'_> {
    fn writer(&self) -> &Connection {
        &self.open.writer
    }

    /// The last look before SQLite may write the log back, in a transaction that writes so many rows.
    fn prepare(&self, rows: usize) -> std::result::Result<(), Failure> {
        let Transaction { core, open } = self;
        if !open.is_current(core) || open.database.is_cut_off() {
            return Err(rejected(core.replaced("the write was not applied")));
        }
        let Some(history) = &open.database.history else { return Ok(()) };
        let next = history.next_checkpoint(rows, self.writer());
        match next.map_err(|trouble| self.failure(&trouble))? {
            Some(number) => {
                let raised = apply::set_checkpoints(self.writer(), number);
                raised.map_err(|error| self.failure(&error.into()))
            }
            None => Ok(()),
        }
    }

    /// Commits what was done. An error of the statement leaves open whether it was, unless SQLite says so.
    fn commit(self) -> std::result::Result<(), Failure> {
        let core = self.core;
        let committed = execute(self.writer(), "commit", &[]);
        drop(self);
        let Err(error) = committed else { return Ok(()) };
        let described = describe(&error, &core.place);
        if is_cut_off(&error, &core.place) {
            let alone_may_help = !is_pointless_alone(&error, &core.place);
            return Err(Failure::Rejected { error: described, alone_may_help });
        }
        if is_fatal(&error, &core.place) {
            core.failed.store(true, Ordering::SeqCst);
        }
        Err(Failure::Unknown(described))
    }

    /// What an error of a statement before the COMMIT means.
    fn failure(&self, trouble: &Trouble) -> Failure {
        let place = &self.core.place;
        let alone_may_help = match trouble {
            Trouble::Sqlite(error) => !is_pointless_alone(error, place),
            Trouble::Damage(_) => true,
        };
        Failure::Rejected { error: trouble.describe(place), alone_may_help }
    }
}
