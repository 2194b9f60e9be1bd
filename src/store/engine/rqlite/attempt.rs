//! One attempt to commit a batch: one request reads, and one writes if nobody has written in between.

use tokio_util::bytes::Bytes;

use super::Core;
use super::error::Trouble;
use super::http::Kind;
use super::lock;
use super::statement::Body;
use crate::limits;
use crate::store::commit::Batch;
use crate::store::damage::Damage;
use crate::store::engine::sql::apply::{self, Argument};
use crate::store::engine::sql::load::{LaterPart, Loaded, Loading, Part, later_parts, statements};
use crate::store::engine::sql::{self, Cells as _, Dialect, Statement, Tail, Value};
use crate::store::engine::{Decision, Failure, decide, migrations};
use crate::store::error::{Code, Error};
use crate::store::plan::{Needs, Plan};
use crate::store::position::Position;

/// SQLite's words when the count of batches is another one by now, and when the batch was committed already: of the first
/// statement of a batch.
const IS_STALE: &str = "NOT NULL constraint failed: kv_batch.id";
const IS_COMMITTED: &str = "UNIQUE constraint failed: kv_batch.id";

/// A request that writes a batch.
pub(super) struct Sent {
    id: String,
    body: Bytes,
    statements: usize,
    /// The count of batches behind it.
    batches: u64,
}

/// What a request that writes has come to, as far as a node has told.
enum Told {
    Committed,
    Stale,
    Not(Trouble),
}

impl Told {
    fn of(outcome: Result<(), Trouble>) -> Told {
        match outcome {
            Ok(()) => Told::Committed,
            Err(Trouble::Sql(words)) if words.contains(IS_COMMITTED) => Told::Committed,
            Err(Trouble::Sql(words)) if words.contains(IS_STALE) => Told::Stale,
            Err(trouble) => Told::Not(trouble),
        }
    }
}

impl Core {
    pub(super) async fn attempt(&self, batch: Batch) -> Result<Decision, Failure> {
        let rejected = |trouble: Trouble| {
            let alone_may_help = trouble.may_help_alone();
            Failure::Rejected { error: trouble.describe(&self.cluster.place), alone_may_help }
        };
        let needs = batch.needs();
        let (Loaded { rows, now_ms, oldest, .. }, batches) = match self.load(&needs).await {
            Ok(Some(loaded)) => loaded,
            Ok(None) => return Err(Failure::Stale),
            Err(trouble) => return Err(rejected(trouble)),
        };
        if needs.sweeps_locks {
            *lock(&self.lock_sweep) = rows.swept_to();
        }
        let now_ms = self.now_ms(now_ms);
        let plan = decide(&batch, rows, now_ms).await.map_err(|error| rejected(error.into()))?;
        let leaves_trimmed = oldest.is_some_and(|oldest| oldest < plan.meta.first);
        if plan.is_empty() {
            let Plan { outcomes, unfinished, .. } = plan;
            return Ok(Decision { outcomes, unfinished, position: None, leaves_trimmed });
        }
        plan.meta.check().map_err(|damage| rejected(damage.into()))?;
        let id = uuid::Uuid::new_v4().simple().to_string();
        let body = request(&plan, oldest, batches, &id, &lock(&self.last_batch), now_ms);
        let statements = body.count();
        let sent = Sent { id, body: body.into_json().into(), statements, batches: batches + 1 };
        let Plan { outcomes, unfinished, meta, .. } = plan;
        let position = Some(Position::of(meta, self.history.opened()));
        let decision = Decision { outcomes, unfinished, position, leaves_trimmed };
        match Told::of(self.cluster.write(&sent.body, sent.statements).await) {
            Told::Committed => {
                self.note_committed(&sent);
                Ok(decision)
            }
            Told::Stale => Err(Failure::Stale),
            Told::Not(trouble @ Trouble::Lost(_)) => {
                let (id, error) = (sent.id.clone(), trouble.describe(&self.cluster.place));
                *lock(&self.lost) = Some(sent);
                Err(Failure::Lost { id, decision: Box::new(decision), error })
            }
            Told::Not(trouble) => Err(rejected(trouble)),
        }
    }

    fn note_committed(&self, sent: &Sent) {
        self.history.note_own(sent.batches);
        lock(&self.last_batch).clone_from(&sent.id);
    }

    /// Reads what a batch needs, and the count of batches; none when somebody has written meanwhile.
    async fn load(&self, needs: &Needs<'_>) -> Result<Option<(Loaded, u64)>, Trouble> {
        const META: &str = concat!("select batches, ", sql::columns!(meta), " from kv_meta");
        let least = self.history.batches();
        let swept_to = lock(&self.lock_sweep).clone();
        let meta = Statement { text: META.to_owned(), values: Vec::new() };
        let (parts, texts): (Vec<Part>, Vec<Statement<'_>>) =
            statements(needs, &swept_to, (Dialect::Rqlite, self.clock.sql_now(Dialect::Rqlite)))
                .into_iter()
                .unzip();
        let body = Body::of(std::iter::once(meta).chain(texts));
        let (mut loading, batches) = self
            .cluster
            .read(Kind::Read, body, |found| {
                let mut found = found.into_iter();
                let meta = found.next().ok_or_else(|| Damage::new("an answer is missing"))?;
                let meta = meta.only()?;
                let batches = sql::count(&meta, 0)?;
                let mut loading = Loading::new(sql::meta(&Tail(1, &meta))?);
                for (part, rows) in parts.iter().zip(found) {
                    rows.iter().try_for_each(|row| loading.add(*part, &row?))?;
                }
                Ok((loading, batches))
            })
            .await?;
        self.history.note(least, batches);
        let now_ms = self.now_ms(loading.now_ms());
        for part in later_parts(needs) {
            let Some(statement) = loading.later(part, now_ms) else { break };
            if !self.load_later(part, statement, &mut loading, batches).await? {
                return Ok(None);
            }
        }
        let loaded = loading.finish()?;
        migrations::check_newest(migrations::SQLITE, loaded.schema)?;
        Ok(Some((loaded, batches)))
    }

    /// Adds the rows of a later part; answers whether the store still is as it was.
    async fn load_later(
        &self,
        part: LaterPart<'_>,
        statement: Statement<'_>,
        loading: &mut Loading,
        batches: u64,
    ) -> Result<bool, Trouble> {
        let count = Statement { text: "select batches from kv_meta".to_owned(), values: Vec::new() };
        self.cluster
            .read(Kind::Read, Body::of([count, statement]), |rows| {
                let [count, found] = &rows[..] else {
                    return Err(Damage::new("an answer is missing").into());
                };
                let is_same = sql::count(&count.only()?, 0)? == batches;
                if is_same {
                    found.iter().try_for_each(|row| loading.add_later(part, &row?))?;
                }
                Ok(is_same)
            })
            .await
    }

    /// Whether the batch with this id was committed: its request is sent again, and at most one of the two has an effect.
    pub(super) async fn is_committed(&self, id: &str) -> Result<bool, Error> {
        let sent = lock(&self.lost).take().filter(|sent| sent.id == id);
        let Some(sent) = sent else {
            return Err(Error::new(Code::Internal, "the request of a batch is not known any more"));
        };
        match Told::of(self.cluster.resend(&sent.body, sent.statements).await) {
            Told::Committed => {
                self.note_committed(&sent);
                Ok(true)
            }
            Told::Stale => Ok(false),
            // The one before may still be on its way.
            Told::Not(trouble) => Err(trouble.describe(&self.cluster.place)),
        }
    }

    /// Removes a part of what was trimmed, and answers whether something is left.
    pub(super) async fn sweep(&self) -> Result<bool, Error> {
        self.sweep_on_nodes().await.map_err(|trouble| trouble.describe(&self.cluster.place))
    }

    async fn sweep_on_nodes(&self) -> Result<bool, Trouble> {
        let text = "select first, (select min(seq) from kv_stream) from kv_meta";
        let trimmed = self.cluster.read_row(Kind::Read, text, |row| {
            let first = sql::count(row, 0)?;
            Ok(row.integer(1)?.is_some_and(|oldest| oldest < first.cast_signed()).then_some(first))
        });
        let Some(first) = trimmed.await? else { return Ok(false) };
        let (text, arguments) = apply::sweep(Dialect::Rqlite, first);
        let mut body = Body::default();
        body.add_text(&text, &arguments);
        // What was trimmed stays so: no guard is needed, and none against doing it twice.
        self.cluster.write(&body.into_json().into(), 1).await?;
        Ok(true)
    }
}

/// The request that writes a plan.
fn request(plan: &Plan, oldest: Option<u64>, batches: u64, id: &str, last_id: &str, now_ms: i64) -> Body {
    let mut body = Body::default();
    // Any program may run this request twice, or so late that others have written: then it fails here. The id is there when
    // it was run before, and is told from a count that has changed by the constraint that fails.
    let guard = "insert into kv_batch (id, time) values (case
            when (select batches from kv_meta) = ? or exists (select 1 from kv_batch where id = ?) then ?
        end, ?)";
    let values = [Value::count(batches), Value::Text(id), Value::Text(id), Value::Integer(now_ms)];
    body.add_text(guard, &values.map(Argument::from));
    for (text, arguments) in apply::statements(plan, oldest, Dialect::Rqlite) {
        body.add_text(&text, &arguments);
    }
    let meta =
        "update kv_meta set head = ?, first = ?, last_ms = ?, fence = ?, lock_seq = ?, batches = batches + 1";
    body.add_text(meta, &sql::meta_values(&plan.meta).map(Argument::from));
    let forgotten = "delete from kv_batch where id = ? or id in (
        select id from kv_batch where time <= ? order by time limit ?)";
    let old_ms = Value::Integer(now_ms.saturating_sub(limits::BATCH_ID_KEPT_MS));
    let values = [Value::Text(last_id), old_ms, Value::count(limits::BATCH_IDS_FORGOTTEN)];
    body.add_text(forgotten, &values.map(Argument::from));
    body
}
