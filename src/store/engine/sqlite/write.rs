//! A batch in two hops: lock and read, then apply and commit.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use sqlx::SqliteConnection;

use super::apply::Steps;
use super::database::Database;
use super::error::{describe, in_use, is_cut_off, is_fatal, is_pointless_alone};
use super::history::History;
use super::load::{LoadError, load};
use super::room::no_room;
use super::run::{Arguments, Script, Stopped, run};
use super::{Sqlite, apply};
use crate::limits;
use crate::store::engine::Committed;
use crate::store::engine::page::Bounds;
use crate::store::error::{Code, Error, Result};
use crate::store::plan::{Needs, Outcome};
use crate::store::planning;
use crate::store::request::Write;

/// Why a batch was not committed.
enum Failure {
    /// Nothing was written.
    Rejected(Error, Rerun),
    /// The commit may have happened.
    Unknown(Error),
}

/// Whether the requests of a failed batch should be tried one by one, so that the one that cannot be done does not
/// harm its neighbours.
#[derive(PartialEq)]
enum Rerun {
    OneByOne,
    Pointless,
}

/// A batch that was decided, and committed where it changed something.
struct Decided {
    outcomes: Vec<Outcome>,
    bounds: Option<Bounds>,
    /// Whether `kv_stream` may still hold what was trimmed.
    leaves_trimmed: bool,
}

impl Sqlite {
    pub(super) async fn write_batch(&self, database: &Database, batch: &[Write]) -> Committed {
        let Ok(mut writer) = self.in_turn(database.writer.lock()).await else {
            let error = in_use(&self.place);
            let outcomes = batch.iter().map(|_| Err(error.clone())).collect();
            return Committed { outcomes, bounds: None, has_trimmed: false };
        };
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut bounds = None;
        let mut at_once = batch.len();
        let mut steps = Steps::One;
        let mut has_trimmed = false;
        while outcomes.len() < batch.len() {
            let rest = &batch[outcomes.len()..];
            let rest = &rest[..at_once.min(rest.len())];
            match self.attempt(database, &mut writer, rest, steps).await {
                Ok(Decided { outcomes: decided, bounds: committed, leaves_trimmed }) => {
                    outcomes.extend(decided);
                    bounds = committed.or(bounds);
                    has_trimmed = leaves_trimmed;
                }
                // The log may hold much that is in the database by now, or could be.
                Err(Failure::Rejected(Error { code: Code::StoreFull, .. }, _)) if steps == Steps::One => {
                    database.shorten_log(&mut writer, limits::LOG_READERS_TIMEOUT).await;
                    steps = Steps::Many;
                }
                Err(Failure::Rejected(_, Rerun::OneByOne)) if rest.len() > 1 => at_once = 1,
                Err(failure) => {
                    let error = failure.into_error();
                    outcomes.extend(rest.iter().map(|_| Err(error.clone())));
                }
            }
        }
        Committed { outcomes, bounds, has_trimmed }
    }

    async fn attempt(
        &self,
        database: &Database,
        writer: &mut SqliteConnection,
        batch: &[Write],
        steps: Steps,
    ) -> std::result::Result<Decided, Failure> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(Failure::Rejected(super::failed(), Rerun::Pointless));
        }
        let room = database.room(writer).await;
        let needs = Needs::of(batch);
        let swept_to = self.swept_to().clone();
        let (rows, oldest) = match load(writer, &needs, &swept_to).await {
            Ok(loaded) => loaded,
            Err(error) => {
                rollback(writer).await;
                return Err(self.load_failure(error));
            }
        };
        if needs.sweeps_locks {
            *self.swept_to() = rows.swept_to();
        }
        let plan = match planning::decide(rows, &batch[..needs.requests], self.clock.now_ms()).await {
            Ok(plan) => plan,
            Err(error) => {
                rollback(writer).await;
                return Err(Failure::Rejected(error, Rerun::Pointless));
            }
        };
        let leaves_trimmed = oldest.is_some_and(|oldest| oldest < plan.meta.first);
        if plan.is_empty() {
            rollback(writer).await;
            return Ok(Decided { outcomes: plan.outcomes, bounds: None, leaves_trimmed });
        }
        if let Err(damage) = plan.meta.check() {
            rollback(writer).await;
            return Err(self.load_failure(damage.into()));
        }
        if let Err(error) = self.check_room(room, &plan) {
            rollback(writer).await;
            return Err(Failure::Rejected(error, Rerun::OneByOne));
        }
        let mut script = self.script(database, writer, History::rows_of(&plan)).await?;
        let steps = if room.is_short() { Steps::Many } else { steps };
        apply::add_plan(&mut script, &plan, oldest, steps);
        if room.is_to_be_watched(&plan) {
            self.try_to_fit(database, writer, std::mem::take(&mut script)).await?;
        }
        self.commit(writer, script).await?;
        if !self.is_current(database, writer).await {
            return Err(Failure::Unknown(
                Error::new(
                    Code::Unavailable,
                    format!("the files of {} were replaced during the write", self.place),
                )
                .hint("read the key to learn whether the write was applied"),
            ));
        }
        // Until then the file is, byte for byte, what a copy of it is that was made while nobody had it open: who puts that
        // copy back could not be noticed.
        if database.history.as_ref().is_some_and(History::is_first_commit) {
            database.shorten_log(writer, limits::LOG_READERS_TIMEOUT).await;
        }
        let bounds = Some(Bounds::of(plan.meta, database.opened));
        Ok(Decided { outcomes: plan.outcomes, bounds, leaves_trimmed })
    }

    /// Begins the script of a transaction that writes so many rows, with the write lock held: the last look before SQLite
    /// may write the log back.
    async fn script(
        &self,
        database: &Database,
        writer: &mut SqliteConnection,
        rows: usize,
    ) -> std::result::Result<Script, Failure> {
        let mut script = Script::default();
        if !self.is_current(database, writer).await || database.is_cut_off() {
            rollback(writer).await;
            let error = self.busy("the write was not applied");
            return Err(Failure::Rejected(error, Rerun::Pointless));
        }
        let Some(history) = &database.history else { return Ok(script) };
        match history.next_checkpoint(rows, writer).await {
            Ok(Some(number)) => apply::add_checkpoint(&mut script, number),
            Ok(None) => {}
            Err(error) => {
                rollback(writer).await;
                return Err(Failure::Rejected(describe(&error, &self.place), self.rerun(&error)));
            }
        }
        Ok(script)
    }

    /// Runs a transaction up to its commit, unless it could then not be written back.
    async fn try_to_fit(
        &self,
        database: &Database,
        writer: &mut SqliteConnection,
        script: Script,
    ) -> std::result::Result<(), Failure> {
        let failure = match script.run(writer).await {
            Ok(_) if database.fits(writer).await => return Ok(()),
            Ok(_) => Failure::Rejected(no_room(&self.place), Rerun::OneByOne),
            Err(Stopped { error, .. }) => {
                Failure::Rejected(describe(&error, &self.place), self.rerun(&error))
            }
        };
        rollback(writer).await;
        Err(failure)
    }

    /// Runs what is left of a transaction.
    async fn commit(
        &self,
        writer: &mut SqliteConnection,
        mut script: Script,
    ) -> std::result::Result<(), Failure> {
        let before_commit = script.add("commit", |arguments| arguments);
        let Err(Stopped { finished, error }) = script.run(writer).await else { return Ok(()) };
        rollback(writer).await;
        let described = describe(&error, &self.place);
        if finished < before_commit || is_cut_off(&error, &self.place) {
            return Err(Failure::Rejected(described, self.rerun(&error)));
        }
        if is_fatal(&error, &self.place) {
            self.failed.store(true, Ordering::SeqCst);
        }
        Err(Failure::Unknown(described))
    }

    /// Removes a part of what was trimmed, and answers whether something is left. Nothing that anybody sees depends on it.
    pub(super) async fn sweep_trimmed(&self, database: &Database) -> Result<bool> {
        if self.failed.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let mut writer = database.writer.lock().await;
        database.room(&mut writer).await;
        let (rows, oldest) = match load(&mut writer, &Needs::default(), "").await {
            Ok(loaded) => loaded,
            Err(error) => {
                rollback(&mut writer).await;
                return Err(self.load_failure(error).into_error());
            }
        };
        let first = rows.meta.first;
        if oldest.is_none_or(|oldest| oldest >= first) {
            rollback(&mut writer).await;
            return Ok(false);
        }
        let script = self.script(database, &mut writer, usize::MAX).await;
        let mut script = script.map_err(Failure::into_error)?;
        apply::add_sweep(&mut script, first);
        self.commit(&mut writer, script).await.map_err(Failure::into_error)?;
        Ok(true)
    }

    fn swept_to(&self) -> std::sync::MutexGuard<'_, String> {
        // Nobody panics while holding this mutex; a poisoned one would still hold a good name.
        self.lock_sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn load_failure(&self, error: LoadError) -> Failure {
        match error {
            LoadError::Stopped(stopped) => {
                let rerun = if stopped.finished == 0 { Rerun::Pointless } else { self.rerun(&stopped.error) };
                Failure::Rejected(describe(&stopped.error, &self.place), rerun)
            }
            LoadError::Damaged(damage) => Failure::Rejected(damage.describe(&self.place), Rerun::OneByOne),
        }
    }

    fn rerun(&self, error: &sqlx::Error) -> Rerun {
        if is_pointless_alone(error, &self.place) { Rerun::Pointless } else { Rerun::OneByOne }
    }
}

impl Failure {
    fn into_error(self) -> Error {
        match self {
            Failure::Rejected(error, _) => error,
            Failure::Unknown(error) => error.unknown(),
        }
    }
}

/// "No transaction is active" means that SQLite has ended it itself, as it does when the disk is full.
async fn rollback(writer: &mut SqliteConnection) {
    if let Err(Stopped { error, .. }) = run(writer, "rollback", Arguments::default()).await {
        tracing::debug!(%error, "rollback");
    }
}
