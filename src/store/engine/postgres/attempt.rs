//! One attempt to commit a batch: two round trips, lock and read, then apply and commit.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::Core;
use super::error::Trouble;
use super::mark::{Mark, finish};
use super::session::{Session, in_time, mark};
use super::statement::{Ready, Result};
use crate::limits;
use crate::store::commit::Batch;
use crate::store::damage::Damage;
use crate::store::engine::sql::apply;
#[cfg(feature = "planted-defects")]
use crate::store::engine::sql::load::Part;
use crate::store::engine::sql::load::{Loaded, Loading, later_parts, statements};
use crate::store::engine::sql::{self, Cells as _, Dialect, Statement, Tail, Value};
use crate::store::engine::{Decision, Failure, decide, migrations};
use crate::store::error::Error;
use crate::store::plan::{Needs, Plan};
use crate::store::position::Position;
use crate::store::time::Clock;

/// How an attempt on one connection ended that did not succeed.
enum End {
    /// The connection is of no use any more, and nothing was written.
    LostBefore(Trouble),
    /// The connection is of no use any more, and the commit may have happened.
    LostAfter { id: String, decision: Box<Decision>, trouble: Trouble },
    /// The transaction was rolled back.
    RolledBack(Failure),
}

impl Core {
    pub(super) async fn attempt(&self, batch: Batch) -> std::result::Result<Decision, Failure> {
        let place = &self.sessions.place;
        let rejected = |error| Failure::Rejected { error, alone_may_help: false };
        let mut writer = self.sessions.writer().await;
        let mut tries = 0;
        loop {
            let session = self.sessions.take_writer(&mut writer).await.map_err(rejected)?;
            tries += 1;
            self.writer_process.store(session.process, Ordering::SeqCst);
            match self.attempt_on(&session, &batch).await {
                Ok(decision) => {
                    *writer = Some(session);
                    return Ok(decision);
                }
                Err(End::RolledBack(failure)) => {
                    *writer = Some(session);
                    return Err(failure);
                }
                Err(End::LostAfter { id, decision, trouble }) => {
                    self.sessions.count_loss();
                    return Err(Failure::Lost { id, decision, error: trouble.describe(place) });
                }
                Err(End::LostBefore(trouble)) => {
                    self.sessions.count_loss();
                    // A server that does not answer would not answer the next time either.
                    if tries == limits::POSTGRES_TRIES || matches!(trouble, Trouble::TimedOut) {
                        return Err(rejected(trouble.describe(place)));
                    }
                }
            }
        }
    }

    async fn attempt_on(&self, session: &Session, batch: &Batch) -> std::result::Result<Decision, End> {
        let needs = batch.needs();
        let swept_to = self.lock_sweep().clone();
        let loaded = in_time(load(session, &needs, &swept_to, &self.clock)).await;
        let Loaded { rows, now_ms, schema, oldest } =
            loaded.map_err(|trouble| self.before(session, trouble))?;
        if let Err(error) = migrations::check_newest(migrations::POSTGRES, schema) {
            return Err(self.before(session, Trouble::Told(error)));
        }
        if needs.sweeps_locks {
            *self.lock_sweep() = rows.swept_to();
        }
        let now_ms = self.now_ms(now_ms);
        let planned = decide(batch, rows, now_ms).await;
        let plan = planned.map_err(|error| self.before(session, Trouble::Told(error)))?;
        let leaves_trimmed = oldest.is_some_and(|oldest| oldest < plan.meta.first);
        if plan.is_empty() {
            session.send("rollback");
            let Plan { outcomes, unfinished, .. } = plan;
            return Ok(Decision { outcomes, unfinished, position: None, leaves_trimmed });
        }
        plan.meta.check().map_err(|damage| self.before(session, damage.into()))?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let last_id = self.last_batch().clone();
        let mut texts = apply::statements(&plan, oldest, Dialect::Postgres);
        let mark = Mark { id: &id, last_id: &last_id, now_ms, channel: &session.channel };
        texts.push(finish(&plan, &mark));
        #[cfg(feature = "planted-defects")]
        let texts = super::planted::take_numbers(session, &plan, texts)
            .await
            .map_err(|trouble| self.before(session, trouble))?;
        let ready = in_time(ready(session, texts)).await;
        let ready = ready.map_err(|trouble| self.before(session, trouble))?;
        let outcome = in_time(commit(session, &ready)).await;
        drop(ready);
        let Plan { outcomes, unfinished, meta, .. } = plan;
        let position = Some(Position::of(meta, session.opened));
        let decision = Decision { outcomes, unfinished, position, leaves_trimmed };
        match outcome {
            Ok(()) => {
                *self.last_batch() = id;
                Ok(decision)
            }
            Err(Commit::NotReached(trouble)) if !trouble.is_loss() => Err(self.before(session, trouble)),
            Err(Commit::NotReached(trouble) | Commit::Lost(trouble)) => {
                Err(End::LostAfter { id, decision: Box::new(decision), trouble })
            }
        }
    }

    /// The end of an attempt whose commit was not sent, or was refused with what stood before it.
    fn before(&self, session: &Session, trouble: Trouble) -> End {
        if trouble.is_loss() {
            return End::LostBefore(trouble);
        }
        session.send("rollback");
        if trouble.is_stale() {
            return End::RolledBack(Failure::Stale);
        }
        let alone_may_help = !trouble.is_pointless_alone();
        let error = trouble.describe(&self.sessions.place);
        End::RolledBack(Failure::Rejected { error, alone_may_help })
    }

    /// Whether the batch with this id was committed.
    pub(super) async fn is_committed(&self, id: &str) -> std::result::Result<bool, Error> {
        let place = &self.sessions.place;
        let look = async {
            loop {
                let outcome = match self.sessions.connect().await {
                    Ok((session, _)) => {
                        look_up(&session, id).await.map_err(|trouble| trouble.describe(place))
                    }
                    Err(error) => Err(error),
                };
                match outcome {
                    Err(error) if error.retry => tokio::time::sleep(limits::POSTGRES_RECONNECT_PAUSE).await,
                    outcome => return outcome,
                }
            }
        };
        tokio::time::timeout(limits::POSTGRES_LOOK_UP_TIMEOUT, look)
            .await
            .unwrap_or_else(|_| Err(Trouble::TimedOut.describe(place)))
    }

    /// Removes a part of what was trimmed, and answers whether something is left.
    pub(super) async fn sweep(&self) -> std::result::Result<bool, Error> {
        let mut writer = self.sessions.writer().await;
        let session = self.sessions.take_writer(&mut writer).await?;
        let swept = in_time(sweep(&session)).await;
        let swept = swept.map_err(|trouble| trouble.describe(&self.sessions.place))?;
        *writer = Some(session);
        Ok(swept)
    }
}

/// Begins a transaction, takes the write lock, and reads what a batch needs.
///
/// Each statement sees what was committed before it began, so those behind the lock see all. In one statement with the lock they
/// would not: only the row that is locked is read again behind it
/// (<https://www.postgresql.org/docs/current/transaction-iso.html#XACT-READ-COMMITTED>).
async fn load(session: &Session, needs: &Needs<'_>, swept_to: &str, clock: &Clock) -> Result<Loaded> {
    const LOCK: &str = concat!("select ", mark!(), ", ", sql::columns!(meta), " from kv_meta for update");
    let client = &session.client;
    let lock = session.ready(Statement { text: LOCK.to_owned(), values: Vec::new() }).await?;
    #[cfg(feature = "planted-defects")]
    let mut planted = super::planted::lock_and_read(session, needs).await?;
    let mut parts = Vec::new();
    for (part, statement) in
        statements(needs, swept_to, (Dialect::Postgres, clock.sql_now(Dialect::Postgres)))
    {
        parts.push((part, session.ready(statement).await?));
    }
    let reads = join_all(parts.iter().map(|(_, ready)| ready.all_rows(client)));
    let (begun, locked, rows) = tokio::join!(client.batch_execute("begin"), lock.all_rows(client), reads);
    begun?;
    let locked = locked?;
    let meta = locked.first().ok_or_else(|| Damage::new("kv_meta is empty"))?;
    session.check_mark(meta.text(0)?)?;
    let mut loading = Loading::new(sql::meta(&Tail(1, meta))?);
    for ((part, _), rows) in parts.iter().zip(rows) {
        #[cfg(feature = "planted-defects")]
        let rows = if *part == Part::Records { planted.take().map_or(rows, Ok) } else { rows };
        for row in rows? {
            loading.add(*part, &row)?;
        }
    }
    let now_ms = clock.or_server_ms(loading.now_ms());
    for part in later_parts(needs) {
        let Some(statement) = loading.later(part, now_ms) else { break };
        for row in session.ready(statement).await?.all_rows(client).await? {
            loading.add_later(part, &row)?;
        }
    }
    Ok(loading.finish()?)
}

/// Prepares the statements of a plan.
async fn ready<'a>(session: &Session, texts: Vec<apply::Text<'a>>) -> Result<Vec<Ready<'a>>> {
    let mut ready = Vec::with_capacity(texts.len());
    for (text, arguments) in texts {
        ready.push(Ready::of(&session.client, &session.prepared, &text, arguments).await?);
    }
    Ok(ready)
}

/// Why the statements of a batch and its commit did not succeed.
enum Commit {
    /// A statement before it failed.
    NotReached(Trouble),
    /// It was sent, and its answer is missing.
    Lost(Trouble),
}

impl From<Trouble> for Commit {
    fn from(trouble: Trouble) -> Commit {
        Commit::Lost(trouble)
    }
}

/// Sends the statements and the commit behind them. When one of them fails, the server answers the commit by a rollback.
async fn commit(session: &Session, ready: &[Ready<'_>]) -> std::result::Result<(), Commit> {
    let client = &session.client;
    let applied = join_all(ready.iter().map(|ready| ready.execute(client)));
    let (applied, committed) = tokio::join!(applied, client.batch_execute("commit"));
    for outcome in applied {
        outcome.map_err(Commit::NotReached)?;
    }
    committed.map_err(|error| Commit::Lost(error.into()))
}

/// Behind the lock: the transaction in question may still be committing.
async fn look_up(session: &Session, id: &str) -> Result<bool> {
    let client = &session.client;
    let statement = |text: &str, values| Statement { text: text.to_owned(), values };
    const LOCK: &str = concat!("select ", mark!(), " from kv_meta for update");
    let lock = session.ready(statement(LOCK, Vec::new())).await?;
    let find =
        session.ready(statement("select id from kv_batch where id = ?", vec![Value::Text(id)])).await?;
    let (begun, locked, found) =
        tokio::join!(client.batch_execute("begin"), lock.all_rows(client), find.all_rows(client));
    begun?;
    for row in &locked? {
        session.check_mark(row.text(0)?)?;
    }
    let found = !found?.is_empty();
    session.send("rollback");
    Ok(found)
}

async fn sweep(session: &Session) -> Result<bool> {
    let client = &session.client;
    const FIRST: &str =
        concat!("select first, (select min(seq) from kv_stream), ", mark!(), " from kv_meta for update");
    let lock = session.ready(Statement { text: FIRST.to_owned(), values: Vec::new() }).await?;
    let (begun, locked) = tokio::join!(client.batch_execute("begin"), lock.all_rows(client));
    begun?;
    let locked = locked?;
    for row in &locked {
        session.check_mark(row.text(2)?)?;
    }
    let number = |index| locked.first().map_or(Ok(None), |row| sql::Cells::integer(row, index));
    let (first, oldest) = (number(0)?, number(1)?);
    let (Some(first), Some(oldest)) = (first.and_then(|first| u64::try_from(first).ok()), oldest) else {
        session.send("rollback");
        return Ok(false);
    };
    if u64::try_from(oldest).is_ok_and(|oldest| oldest >= first) {
        session.send("rollback");
        return Ok(false);
    }
    let (text, arguments) = apply::sweep(Dialect::Postgres, first);
    Ready::of(client, &session.prepared, &text, arguments).await?.execute(client).await?;
    client.batch_execute("commit").await?;
    Ok(true)
}
