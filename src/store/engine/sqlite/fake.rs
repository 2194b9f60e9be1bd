//! A store in the memory of a test, whose attempts fail as the test says. It does everything at once, on the thread of
//! the caller, so a test may stop the clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::Notify;

use super::apply::{self, Steps};
use super::load::load;
use super::migrate;
use super::read::Source;
use super::statement::Result as Statement;
use crate::store::commit::Batch;
use crate::store::engine::query::{Reading, RowSink};
use crate::store::engine::sql::{Dialect, Now, Value};
use crate::store::engine::{Decision, Engine, Failure, Point, Snapshot, migrations};
use crate::store::error::{Code, Error, Result};
use crate::store::plan::Plan;
use crate::store::position::Position;
use crate::store::reply::{Compacted, Restored};

/// How an attempt fails.
pub(crate) enum Fault {
    /// Another process was faster.
    Stale,
    /// An obstacle to large batches only; it stays until a batch is small enough.
    Rejected { writes_max: usize },
    /// A write of this key cannot be done, alone or not; the fault stays.
    Poisoned(&'static str),
    /// The answer is lost after the commit.
    LostAfter,
    /// The answer is lost, and nothing was committed.
    LostBefore,
    /// The answer is lost after the commit, and so is the answer to whether it was committed.
    LostForGood,
    /// The commit may have happened.
    Unknown,
    /// It waits until this is notified.
    Slow(Arc<Notify>),
}

/// The calls that the engine has received.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Calls {
    /// The number of writes in each attempt.
    pub attempts: Vec<usize>,
    /// The number of names in each query for several names.
    pub names: Vec<usize>,
}

struct State {
    connection: Connection,
    committed: Vec<String>,
    faults: VecDeque<Fault>,
    cannot_tell: bool,
    calls: Calls,
}

/// A store in memory.
pub(crate) struct Fake(Mutex<State>);

/// The time of everything in it, in milliseconds since 1970 UTC.
const NOW_MS: i64 = 1_700_000_000_000;

impl Fake {
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>) -> Arc<Fake> {
        let connection = Connection::open_in_memory().unwrap();
        let steps: Vec<_> = migrations::SQLITE.iter().collect();
        connection.execute_batch(migrations::SQLITE_TABLE).unwrap();
        migrate::run(&connection, &steps, NOW_MS).unwrap();
        migrate::found(&connection).unwrap();
        let faults = faults.into_iter().collect();
        let (committed, calls) = (Vec::new(), Calls::default());
        Arc::new(Fake(Mutex::new(State { connection, committed, faults, cannot_tell: false, calls })))
    }

    /// Makes the next attempts fail in these ways.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults);
    }

    /// Puts another store in the place of this one, with the same rows.
    pub(crate) fn replace(&self, epoch: &str) {
        self.state().connection.execute("update kv_meta set epoch = ?", [epoch]).unwrap();
    }

    /// Records with these keys, as if they had been put.
    pub(crate) fn fill(&self, keys: impl IntoIterator<Item = String>) {
        let state = self.state();
        state.connection.execute_batch("begin").unwrap();
        for key in keys {
            for text in [
                "update kv_meta set head = head + 1",
                "insert or replace into kv_record (\"key\", version, revision, created, updated, value)
                    select ?1, 1, head, 0, 0, '1' from kv_meta",
                "insert into kv_stream (\"key\", version, revision, created, updated, value, seq, tx, tx_end, action, time)
                    select ?1, 1, head, 0, 0, '1', head, head, 1, 'create', 0 from kv_meta",
            ] {
                let mut statement = state.connection.prepare_cached(text).unwrap();
                let arguments = std::iter::once(&key).take(statement.parameter_count());
                statement.execute(rusqlite::params_from_iter(arguments)).unwrap();
            }
        }
        state.connection.execute_batch("commit").unwrap();
    }

    /// The keys of all records.
    pub(crate) fn keys(&self) -> Vec<String> {
        let state = self.state();
        let mut select = state.connection.prepare("select \"key\" from kv_record order by 1").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    /// The calls since the last time that this was called.
    pub(crate) fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.state().calls)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    /// The fault that an attempt with this batch meets. It is then over, unless it is one that stays.
    fn fault(&mut self, batch: &Batch) -> std::result::Result<Option<Fault>, Failure> {
        let writes = batch.writes();
        self.calls.attempts.push(writes.len());
        let stays = match self.faults.front() {
            Some(Fault::Rejected { writes_max }) => (writes.len() > *writes_max).then_some(Code::StoreFull),
            Some(Fault::Poisoned(key)) => {
                if !writes.iter().any(|write| format!("{write:?}").contains(key)) {
                    return Ok(None);
                }
                Some(Code::Unavailable)
            }
            _ => None,
        };
        match stays {
            Some(code) => Err(Failure::Rejected { error: error(code), alone_may_help: true }),
            None => Ok(self.faults.pop_front()),
        }
    }

    fn run(&self, batch: &Batch, commits: bool) -> Statement<Plan> {
        self.connection.execute_batch("begin immediate")?;
        let needs = batch.needs();
        let loaded = load(&self.connection, &needs, "", NOW_MS)?;
        let plan = batch.decide(&needs, loaded.rows, NOW_MS);
        if !plan.is_empty() {
            apply::apply(&self.connection, &plan, loaded.oldest, Steps::One)?;
        }
        self.connection.execute_batch(if commits { "commit" } else { "rollback" })?;
        Ok(plan)
    }

    fn source(&self) -> Source<'_> {
        Source { connection: &self.connection, opened: 0 }
    }
}

fn error(code: Code) -> Error {
    Error::new(code, "the fake engine was told to fail")
}

#[async_trait]
impl Engine for Fake {
    async fn init(&self) -> Result<bool> {
        Ok(false)
    }

    async fn attempt(&self, batch: &Batch) -> std::result::Result<Decision, Failure> {
        let fault = self.state().fault(batch)?;
        match &fault {
            Some(Fault::Stale) => return Err(Failure::Stale),
            Some(Fault::Unknown) => return Err(Failure::Unknown(error(Code::Unavailable))),
            Some(Fault::Slow(go_on)) => go_on.notified().await,
            _ => {}
        }
        let mut state = self.state();
        let commits = !matches!(fault, Some(Fault::LostBefore));
        let plan = state.run(batch, commits).unwrap();
        let id = state.calls.attempts.len().to_string();
        if commits {
            state.committed.push(id.clone());
        }
        let position = (!plan.is_empty()).then(|| Position::of(plan.meta.clone(), 0));
        let Plan { outcomes, unfinished, .. } = plan;
        let decision = Decision { outcomes, unfinished, position, leaves_trimmed: false };
        state.cannot_tell = matches!(fault, Some(Fault::LostForGood));
        match fault {
            Some(Fault::LostAfter | Fault::LostBefore | Fault::LostForGood) => {
                Err(Failure::Lost { id, decision: Box::new(decision), error: error(Code::Unavailable) })
            }
            _ => Ok(decision),
        }
    }

    async fn is_committed(&self, id: &str) -> Result<bool> {
        let state = self.state();
        if state.cannot_tell {
            return Err(error(Code::Unavailable));
        }
        Ok(state.committed.iter().any(|committed| committed == id))
    }

    fn batch_bytes_max(&self) -> usize {
        crate::limits::BATCH_BYTES
    }

    async fn sweep(&self) -> Result<bool> {
        Ok(false)
    }

    async fn point(&self, keys: &[&str], inline_bytes_max: usize) -> Result<Snapshot<Vec<Point>>> {
        let (position, rows) = self.state().source().point(keys, inline_bytes_max, None).unwrap();
        Ok(Snapshot { position, now_ms: NOW_MS, rows })
    }

    async fn read(&self, mut reading: Reading) -> Result<Snapshot<Box<dyn RowSink>>> {
        let mut state = self.state();
        let (position, ()) = state.source().answer(&mut reading).unwrap();
        let names = |value: &Value<'_>| if let Value::Strings(texts) = value { texts.len() } else { 0 };
        let asked = reading.question.statement(Dialect::Sqlite).values.iter().map(names).sum();
        if asked > 0 {
            state.calls.names.push(asked);
        }
        Ok(Snapshot { position, now_ms: NOW_MS, rows: reading.rows })
    }

    fn now(&self) -> Now {
        Now::At(NOW_MS)
    }

    async fn changed(&self) -> Result<()> {
        std::future::pending().await
    }

    async fn compact(&self) -> Result<Compacted> {
        Err(error(Code::Unsupported))
    }

    async fn restore(&self, _: &str) -> Result<Restored> {
        Err(error(Code::Unsupported))
    }

    fn has_failed(&self) -> bool {
        false
    }

    async fn tend(&self) {}

    async fn close(&self) {}
}
