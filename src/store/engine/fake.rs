//! A store in the memory of a test, whose attempts fail as they are told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use tokio::sync::Notify;

use super::{Decision, Engine, Failure, Holdable, Point, SharedRecord, Snapshot};
use crate::limits;
use crate::store::commit::Batch;
use crate::store::error::{Code, Error, Result};
use crate::store::json_text::JsonText;
use crate::store::page::{ListQuery, NameQuery, PageRows, StreamQuery};
use crate::store::plan::{
    ConsumerRow, Counted, CountedRange, LockRow, Meta, OnceRow, Plan, RangeDelete, Row, Rows,
};
use crate::store::position::Position;
use crate::store::record::{Change, Record};
use crate::store::reply::{Compacted, Identity, Restored};
use crate::store::time::Timestamp;

/// What an attempt meets.
pub(crate) enum Fault {
    /// Another process was faster.
    Stale,
    /// Something that a batch of one write would not meet; it stays until the batch is small enough.
    Rejected { writes_max: usize },
    /// A write of this key cannot be done, alone or not; it stays.
    Poisoned(&'static str),
    /// The answer is lost after the commit.
    LostAfter,
    /// The answer is lost, and nothing was committed.
    LostBefore,
    /// The answer is lost after the commit, and so is the one to the question what became of it.
    LostForGood,
    /// The commit may have happened.
    Unknown,
    /// It waits until this is notified.
    Slow(Arc<Notify>),
}

/// How often the engine was asked, and for how much.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Calls {
    /// The number of writes in each attempt.
    pub attempts: Vec<usize>,
    /// The number of names in each read of expiries.
    pub expiries: Vec<usize>,
}

#[derive(Default)]
struct Tables {
    meta: Option<Meta>,
    records: BTreeMap<String, Row>,
    locks: BTreeMap<String, LockRow>,
    consumers: BTreeMap<String, ConsumerRow>,
    once: HashMap<String, OnceRow>,
    committed: Vec<String>,
    faults: VecDeque<Fault>,
    cannot_tell: bool,
    calls: Calls,
}

/// A store in memory.
#[derive(Default)]
pub(crate) struct Fake(Mutex<Tables>);

/// The time of everything in it.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

impl Fake {
    pub(crate) fn new(faults: impl IntoIterator<Item = Fault>) -> Arc<Fake> {
        let fake = Fake::default();
        let meta = Meta { epoch: "e".to_owned(), head: 0, first: 1, last_ms: 0, fence: 0, lock_seq: 0 };
        fake.tables().meta = Some(meta);
        fake.tables().faults.extend(faults);
        Arc::new(fake)
    }

    /// Makes the next attempts meet these.
    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.tables().faults.extend(faults);
    }

    /// Puts another store in the place of this one, with the same rows.
    pub(crate) fn replace(&self, epoch: &str) {
        let mut tables = self.tables();
        let meta = tables.meta();
        tables.meta = Some(Meta { epoch: epoch.to_owned(), ..meta });
    }

    /// Records with these keys, as if they had been put.
    pub(crate) fn fill(&self, keys: impl IntoIterator<Item = String>) {
        let mut tables = self.tables();
        let mut meta = tables.meta();
        for key in keys {
            meta.head += 1;
            let row = Row {
                version: 1,
                revision: meta.head,
                record_type: None,
                created_ms: NOW_MS,
                updated_ms: NOW_MS,
                value: JsonText::of(&1).ok(),
            };
            tables.records.insert(key, row);
        }
        tables.meta = Some(meta);
    }

    /// The keys that are there.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.tables().records.keys().cloned().collect()
    }

    /// What was asked since this was called last.
    pub(crate) fn take_calls(&self) -> Calls {
        std::mem::take(&mut self.tables().calls)
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap()
    }

    fn snapshot<T>(&self, rows: impl FnOnce(&Tables) -> T) -> Snapshot<T> {
        let tables = self.tables();
        let position = Position::of(tables.meta(), 0);
        Snapshot { position, now_ms: NOW_MS, rows: rows(&tables) }
    }
}

impl Tables {
    fn meta(&self) -> Meta {
        self.meta.clone().unwrap()
    }

    fn decide(&self, batch: &Batch) -> Plan {
        let needs = batch.needs();
        assert!(needs.ranges.is_empty(), "the ranges of a mutate are not built into this one");
        let rows = Rows {
            meta: self.meta(),
            records: found(&self.records, &needs.keys),
            ranged: 0,
            counted: needs.counted.as_ref().map_or_else(Counted::default, |range| self.count(range)),
            locks: found(&self.locks, &needs.locks),
            swept_locks: Vec::new(),
            consumers: found(&self.consumers, &needs.consumers),
            once: needs
                .once
                .iter()
                .filter_map(|id| Some(((*id).to_owned(), self.once.get(*id)?.clone())))
                .collect(),
        };
        batch.decide(&needs, rows, NOW_MS)
    }

    fn covered(&self, CountedRange { keys, offset, limit }: &CountedRange) -> Vec<String> {
        let all = self.records.range(keys.from.clone()..).map(|(key, _)| key);
        let inside = all.take_while(|key| keys.contains(key)).skip(usize::try_from(*offset).unwrap());
        inside.take(limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap())).cloned().collect()
    }

    fn count(&self, range: &CountedRange) -> Counted {
        let covered = self.covered(range);
        let slice = usize::try_from(limits::DELETE_SLICE_RECORDS).unwrap();
        let slice_end = (covered.len() > slice).then(|| covered[slice - 1].clone());
        Counted { total: covered.len() as u64, slice_end }
    }

    fn apply(&mut self, plan: &Plan) {
        if let Some(RangeDelete { range, deleted, .. }) = &plan.range_delete {
            for key in self.covered(&CountedRange { limit: Some(*deleted), ..range.clone() }) {
                self.records.remove(&key);
            }
        }
        apply(&mut self.records, &plan.deletes, &plan.puts);
        apply(&mut self.locks, &plan.lock_deletes, &plan.locks);
        apply(&mut self.consumers, &plan.consumer_deletes, &plan.consumers);
        self.once.extend(plan.once.iter().cloned());
        self.meta = Some(plan.meta.clone());
    }
}

fn found<R: Clone>(rows: &BTreeMap<String, R>, names: &[&str]) -> HashMap<String, R> {
    names.iter().filter_map(|name| Some(((*name).to_owned(), rows.get(*name)?.clone()))).collect()
}

fn apply<R: Clone>(rows: &mut BTreeMap<String, R>, deletes: &[String], puts: &[(String, R)]) {
    deletes.iter().for_each(|key| drop(rows.remove(key)));
    rows.extend(puts.iter().cloned());
}

fn named<R: Clone>(rows: &BTreeMap<String, R>, query: &NameQuery) -> PageRows<(String, R)> {
    let mut page = PageRows::default();
    for (name, row) in rows.range((query.span.lower.clone(), query.span.upper.clone())) {
        if !page.has_room(query.size) {
            break;
        }
        page.push((name.clone(), row.clone()), 0);
    }
    page
}

fn error(code: Code) -> Error {
    Error::new(code, "the fake engine was told to fail")
}

fn record(key: &str, row: &Row) -> Record {
    Record {
        key: key.to_owned(),
        version: row.version,
        revision: row.revision,
        record_type: row.record_type.clone(),
        created: Timestamp::from_unix_ms(row.created_ms),
        updated: Timestamp::from_unix_ms(row.updated_ms),
        value: row.value.clone().unwrap(),
    }
}

#[async_trait]
impl Engine for Fake {
    async fn init(&self) -> Result<bool> {
        Ok(false)
    }

    async fn attempt(&self, batch: &Batch) -> std::result::Result<Decision, Failure> {
        let count = batch.writes().len();
        let fault = {
            let mut tables = self.tables();
            tables.calls.attempts.push(count);
            let stays = match tables.faults.front() {
                Some(Fault::Rejected { writes_max }) => count > *writes_max,
                Some(Fault::Poisoned(_)) => true,
                _ => false,
            };
            if let (true, Some(Fault::Poisoned(key))) = (stays, tables.faults.front()) {
                let is_in = batch.writes().iter().any(|write| format!("{write:?}").contains(key));
                let rejected = Failure::Rejected { error: error(Code::Unavailable), alone_may_help: true };
                if is_in {
                    return Err(rejected);
                }
                None
            } else if stays {
                let error = error(Code::StoreFull);
                return Err(Failure::Rejected { error, alone_may_help: true });
            } else {
                tables.faults.pop_front()
            }
        };
        match &fault {
            Some(Fault::Stale) => return Err(Failure::Stale),
            Some(Fault::Unknown) => return Err(Failure::Unknown(error(Code::Unavailable))),
            Some(Fault::Slow(go_on)) => go_on.notified().await,
            _ => {}
        }
        let mut tables = self.tables();
        let plan = tables.decide(batch);
        let id = tables.calls.attempts.len().to_string();
        if !matches!(fault, Some(Fault::LostBefore)) {
            tables.apply(&plan);
            tables.committed.push(id.clone());
        }
        let position = (!plan.is_empty()).then(|| Position::of(plan.meta.clone(), 0));
        let Plan { outcomes, unfinished, .. } = plan;
        let decision = Decision { outcomes, unfinished, position, leaves_trimmed: false };
        tables.cannot_tell = matches!(fault, Some(Fault::LostForGood));
        match fault {
            Some(Fault::LostAfter | Fault::LostBefore | Fault::LostForGood) => {
                Err(Failure::Lost { id, decision: Box::new(decision), error: error(Code::Unavailable) })
            }
            _ => Ok(decision),
        }
    }

    async fn is_committed(&self, id: &str) -> Result<bool> {
        let tables = self.tables();
        if tables.cannot_tell {
            return Err(error(Code::Unavailable));
        }
        Ok(tables.committed.iter().any(|committed| committed == id))
    }

    fn batch_bytes_max(&self) -> usize {
        crate::limits::BATCH_BYTES
    }

    async fn sweep(&self) -> Result<bool> {
        Ok(false)
    }

    async fn point(&self, keys: &[&str], _: usize) -> Result<Snapshot<Vec<Point>>> {
        Ok(self.snapshot(|tables| {
            let point =
                |key: &str| Some(Point::Record(SharedRecord::new(record(key, tables.records.get(key)?))));
            keys.iter().map(|key| point(key).unwrap_or(Point::Absent)).collect()
        }))
    }

    async fn records(&self, query: ListQuery) -> Result<Snapshot<PageRows<Record>>> {
        Ok(self.snapshot(|tables| {
            let mut page = PageRows::default();
            for (key, row) in tables.records.range((query.span.lower, query.span.upper)) {
                if !page.has_room(query.size) {
                    break;
                }
                page.push(record(key, row), key.len());
            }
            page
        }))
    }

    async fn keys(&self, query: ListQuery) -> Result<Snapshot<PageRows<String>>> {
        let Snapshot { position, now_ms, rows } = self.records(query).await?;
        let mut page = PageRows::default();
        rows.rows.into_iter().for_each(|record| page.push(record.key, 0));
        Ok(Snapshot { position, now_ms, rows: page })
    }

    async fn count(&self, query: ListQuery) -> Result<Snapshot<u64>> {
        Ok(self.snapshot(|tables| tables.records.range((query.span.lower, query.span.upper)).count() as u64))
    }

    async fn changes(&self, _: StreamQuery) -> Result<Snapshot<PageRows<Change>>> {
        Err(Error::new(Code::Unsupported, "the fake engine keeps no stream"))
    }

    async fn locks(&self, query: NameQuery) -> Result<Snapshot<PageRows<(String, LockRow)>>> {
        Ok(self.snapshot(|tables| named(&tables.locks, &query)))
    }

    async fn consumers(&self, query: NameQuery) -> Result<Snapshot<PageRows<(String, ConsumerRow)>>> {
        Ok(self.snapshot(|tables| named(&tables.consumers, &query)))
    }

    async fn expiries(&self, names: Vec<Holdable>) -> Result<Snapshot<HashMap<Holdable, i64>>> {
        self.tables().calls.expiries.push(names.len());
        Ok(self.snapshot(|tables| {
            let expiry = |what: &Holdable| match what {
                Holdable::Lock(name) => Some(tables.locks.get(name)?.expires_ms),
                Holdable::Consumer(name) => Some(tables.consumers.get(name)?.lease.as_ref()?.expires_ms),
            };
            names.into_iter().filter_map(|what| expiry(&what).map(|expires_ms| (what, expires_ms))).collect()
        }))
    }

    async fn identity(&self) -> Result<Snapshot<Identity>> {
        Ok(self.snapshot(|tables| Identity { store_id: "s".to_owned(), epoch: tables.meta().epoch }))
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
