//! A batch in two hops: lock and read, then apply and commit.

use std::sync::atomic::Ordering;

use sqlx::SqliteConnection;

use super::database::Database;
use super::error::{describe, is_fatal, is_pointless_alone};
use super::load::{LoadError, load};
use super::run::{Arguments, Stopped, run};
use super::{Sqlite, apply};
use crate::store::engine::Committed;
use crate::store::engine::page::Bounds;
use crate::store::error::{Code, Error};
use crate::store::plan::{Needs, Outcome, plan};
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

impl Sqlite {
    pub(super) async fn write_batch(&self, database: &Database, batch: &[Write]) -> Committed {
        let mut writer = database.writer.lock().await;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut bounds = None;
        let mut at_once = batch.len();
        while outcomes.len() < batch.len() {
            let rest = &batch[outcomes.len()..];
            let rest = &rest[..at_once.min(rest.len())];
            match self.attempt(database, &mut writer, rest).await {
                Ok((decided, committed)) => {
                    outcomes.extend(decided);
                    bounds = committed.or(bounds);
                }
                Err(Failure::Rejected(_, Rerun::OneByOne)) if rest.len() > 1 => at_once = 1,
                Err(failure) => {
                    let error = failure.into_error();
                    outcomes.extend(rest.iter().map(|_| Err(error.clone())));
                }
            }
        }
        Committed { outcomes, bounds }
    }

    async fn attempt(
        &self,
        database: &Database,
        writer: &mut SqliteConnection,
        batch: &[Write],
    ) -> std::result::Result<(Vec<Outcome>, Option<Bounds>), Failure> {
        if self.failed.load(Ordering::SeqCst) {
            return Err(Failure::Rejected(super::failed(), Rerun::Pointless));
        }
        let needs = Needs::of(batch);
        let rows = match load(writer, &needs).await {
            Ok(rows) => rows,
            Err(error) => {
                rollback(writer).await;
                return Err(self.load_failure(error));
            }
        };
        let plan = plan(rows, &batch[..needs.requests], self.clock.now_ms());
        if plan.is_empty() {
            rollback(writer).await;
            return Ok((plan.outcomes, None));
        }
        if let Err(damage) = plan.meta.check() {
            rollback(writer).await;
            return Err(self.load_failure(damage.into()));
        }
        // The last look before SQLite may write the log back, with the write lock held.
        if !self.is_current(database, writer).await {
            rollback(writer).await;
            let error = self.busy("the write was not applied");
            return Err(Failure::Rejected(error, Rerun::Pointless));
        }
        let checkpoint = match &database.history {
            Some(history) => history.next_checkpoint(&plan, writer).await,
            None => Ok(None),
        };
        let script = match checkpoint {
            Ok(checkpoint) => apply::script(&plan, checkpoint),
            Err(error) => {
                rollback(writer).await;
                return Err(Failure::Rejected(describe(&error, &self.place), self.rerun(&error)));
            }
        };
        let before_commit = script.statements() - 1;
        if let Err(Stopped { finished, error }) = script.run(writer).await {
            rollback(writer).await;
            let described = describe(&error, &self.place);
            if finished < before_commit {
                return Err(Failure::Rejected(described, self.rerun(&error)));
            }
            if is_fatal(&error, &self.place) {
                self.failed.store(true, Ordering::SeqCst);
            }
            return Err(Failure::Unknown(described));
        }
        if !self.is_current(database, writer).await {
            return Err(Failure::Unknown(
                Error::new(
                    Code::Unavailable,
                    format!("the files of {} were replaced during the write", self.place),
                )
                .hint("read the key to learn whether the write was applied"),
            ));
        }
        Ok((plan.outcomes, Some(Bounds::of(plan.meta, database.opened))))
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
