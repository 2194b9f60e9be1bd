//! Group commit: gathers whatever waits while a batch is under way into the next one.
//!
//! There is no timer. A lone request is a batch of one and waits for nobody; under load the batches grow by
//! themselves. Writes and point reads have a lane each, so a read never waits behind a commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::commit::write_lane;
use super::engine::{Engine, Point, Snapshot};
use super::error::{Code, Error, Result};
use super::feed::Feed;
use super::page::{fits, weight_bytes};
use super::plan::Outcome;
use super::record::Record;
use super::reply::{Page, Reply};
use super::request::Write;
use crate::limits;

/// Is told what became of some of the writes of one caller, in their order, until it was told of all.
///
/// One that is dropped before is the only one to know that the rest may have been applied.
pub(crate) type Told = Box<dyn FnMut(Vec<Outcome>) + Send>;

/// Writes of one caller that wait together.
pub(crate) struct Writes {
    pub(crate) writes: Vec<Write>,
    pub(crate) told: Told,
}

/// A point read, with the place for its answer.
struct Read {
    keys: Keys,
    answer: oneshot::Sender<Outcome>,
}

/// Which records a point read wants.
pub(crate) enum Keys {
    /// `get` of one key.
    One(String),
    /// `get` of several keys.
    Many(Vec<String>),
}

impl Keys {
    fn as_slice(&self) -> &[String] {
        match self {
            Keys::One(key) => std::slice::from_ref(key),
            Keys::Many(keys) => keys,
        }
    }
}

/// Gathers requests and hands them to an engine.
pub(crate) struct Batcher {
    writer: Writer,
    reads: mpsc::UnboundedSender<Read>,
    lanes: [JoinHandle<()>; 2],
}

impl Batcher {
    /// Starts the two lanes on the present tokio runtime.
    pub(crate) fn start(engine: &Arc<dyn Engine>, feed: &Arc<Feed>) -> Batcher {
        // Each message is one of a caller that waits, so the callers bound what waits.
        let (writer, writes) = mpsc::unbounded_channel();
        let (reads, waiting_reads) = mpsc::unbounded_channel();
        // The lanes are tasks of their own, so that a caller who goes away never cancels a batch.
        let lanes = [
            tokio::spawn(write_lane(Arc::clone(engine), Arc::clone(feed), writes)),
            tokio::spawn(read_lane(Arc::clone(engine), waiting_reads)),
        ];
        Batcher { writer: Writer(writer), reads, lanes }
    }

    /// Where writes are taken; the batcher ends when all of these are dropped.
    pub(crate) fn writer(&self) -> &Writer {
        &self.writer
    }

    /// Reads records by key.
    pub(crate) async fn read(&self, keys: Keys) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.reads.send(Read { keys, answer }).map_err(|_| ended())?;
        outcome.await.unwrap_or_else(|_| Err(ended()))
    }

    /// Lets the lanes finish what waits, and ends them.
    pub(crate) async fn close(self) {
        drop((self.writer, self.reads));
        for lane in self.lanes {
            if let Err(error) = lane.await {
                tracing::error!(%error, "a lane of the batcher ended badly");
            }
        }
    }
}

/// Takes writes for the next batch.
#[derive(Clone)]
pub(crate) struct Writer(mpsc::UnboundedSender<Writes>);

impl Writer {
    /// Writes; takes its place in the queue at the first poll.
    pub(crate) async fn write(&self, write: Write) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        let mut answer = Some(answer);
        let told = move |outcomes: Vec<Outcome>| {
            for (outcome, answer) in outcomes.into_iter().zip(answer.take()) {
                // A caller that went away is not told; the write stands.
                let _ = answer.send(outcome);
            }
        };
        self.send(Writes { writes: vec![write], told: Box::new(told) });
        outcome.await.unwrap_or_else(|_| Err(ended().unknown()))
    }

    /// Writes for a caller that is told of it, also when the store is closing and nothing was taken.
    pub(crate) fn send(&self, writes: Writes) {
        if let Err(mpsc::error::SendError(Writes { writes, mut told })) = self.0.send(writes) {
            told(writes.iter().map(|_| Err(ended())).collect());
        }
    }

    /// The same, for a holder that must not keep the batcher from ending.
    pub(crate) fn downgrade(&self) -> WeakWriter {
        WeakWriter(self.0.downgrade())
    }
}

/// Takes writes while the store is open.
#[derive(Debug, Clone)]
pub(crate) struct WeakWriter(mpsc::WeakUnboundedSender<Writes>);

impl WeakWriter {
    /// Writes, unless the store is closing.
    pub(crate) async fn write(&self, write: Write) -> Outcome {
        match self.0.upgrade() {
            Some(writer) => Writer(writer).write(write).await,
            None => Err(ended()),
        }
    }

    /// Gives back what was held for somebody who went away, in the background. A store that is closed behind this
    /// waits for it; where that cannot be, what was held expires.
    pub(crate) fn give_back(&self, release: Write) {
        let Some(writer) = self.0.upgrade() else { return };
        let told = |outcomes: Vec<Outcome>| {
            for error in outcomes.into_iter().filter_map(Result::err) {
                tracing::warn!(%error, "what nobody needs any more could not be given back; it expires");
            }
        };
        Writer(writer).send(Writes { writes: vec![release], told: Box::new(told) });
    }
}

fn ended() -> Error {
    Error::new(Code::Unavailable, "the store is closing")
}

/// What a lane gathers.
pub(super) trait Gathered {
    /// How many requests it is.
    fn count(&self) -> usize;

    /// What it weighs.
    fn weight(&self) -> usize;
}

impl Gathered for Writes {
    fn count(&self) -> usize {
        self.writes.len()
    }

    /// In bytes.
    fn weight(&self) -> usize {
        self.writes.iter().map(Write::weight_bytes).sum()
    }
}

impl Gathered for Read {
    fn count(&self) -> usize {
        1
    }

    /// In keys.
    fn weight(&self) -> usize {
        self.keys.as_slice().len()
    }
}

/// What waits, with the requests that did not fit the batch before.
pub(super) struct Gathering<T> {
    queue: mpsc::UnboundedReceiver<T>,
    left_over: Option<T>,
}

impl<T: Gathered> Gathering<T> {
    pub(super) fn new(queue: mpsc::UnboundedReceiver<T>) -> Gathering<T> {
        Gathering { queue, left_over: None }
    }

    /// Whether nothing waits, and something still may come.
    pub(super) fn is_idle(&self) -> bool {
        self.left_over.is_none() && self.queue.is_empty() && !self.queue.is_closed()
    }

    /// Waits for one request and takes what else is there, up to a weight; none when the queue has ended.
    pub(super) async fn next(&mut self, weight_max: usize) -> Option<Vec<T>> {
        let first = match self.left_over.take() {
            Some(first) => first,
            None => self.queue.recv().await?,
        };
        let (mut count, mut weight) = (first.count(), first.weight());
        let mut gathered = vec![first];
        while let Ok(next) = self.queue.try_recv() {
            count += next.count();
            weight += next.weight();
            if count > limits::BATCH_REQUESTS || weight > weight_max {
                self.left_over = Some(next);
                break;
            }
            gathered.push(next);
        }
        Some(gathered)
    }
}

async fn read_lane(engine: Arc<dyn Engine>, queue: mpsc::UnboundedReceiver<Read>) {
    let mut gathering = Gathering::new(queue);
    while let Some(reads) = gathering.next(limits::BATCH_REQUESTS).await {
        let mut keys: Vec<&str> =
            reads.iter().flat_map(|read| read.keys.as_slice()).map(String::as_str).collect();
        if reads.len() > 1 {
            keys.sort_unstable();
            keys.dedup();
        }
        let found = engine.point(&keys, limits::INLINE_VALUE_BYTES).await;
        let found = found.map(|Snapshot { position, now_ms, rows }| {
            let rows = keys.iter().map(|&key| key.to_owned()).zip(rows).collect();
            Snapshot { position, now_ms, rows }
        });
        for Read { keys, answer } in reads {
            match &found {
                Ok(found) => answer_read(&engine, found, keys, answer),
                Err(error) => drop(answer.send(Err(error.clone()))),
            }
        }
    }
}

type Points = Snapshot<HashMap<String, Point>>;

fn answer_read(engine: &Arc<dyn Engine>, found: &Points, keys: Keys, answer: oneshot::Sender<Outcome>) {
    let seq = found.seq();
    let large = match keys {
        Keys::One(key) => match found.rows.get(&key) {
            Some(Point::Large) => LargeFirst { key, next: None },
            point => {
                let record = point.cloned().and_then(Point::into_record);
                return drop(answer.send(Ok(Reply::Get { seq, record })));
            }
        },
        Keys::Many(keys) => match page_of(found, keys) {
            Ok(page) => return drop(answer.send(Ok(Reply::Records(page)))),
            Err(large) => return answer_large_first(Arc::clone(engine), large, answer),
        },
    };
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let outcome = whole(&*engine, &large.key).await.map(|(seq, record)| Reply::Get { seq, record });
        let _ = answer.send(outcome);
    });
}

/// One record, whatever its size, and the head of its snapshot.
async fn whole(engine: &dyn Engine, key: &str) -> Result<(u64, Option<Record>)> {
    let mut found = engine.point(&[key], usize::MAX).await?;
    Ok((found.seq(), found.rows.pop().and_then(Point::into_record)))
}

/// A page whose first record is large holds that record alone.
struct LargeFirst {
    key: String,
    next: Option<String>,
}

fn page_of(found: &Points, keys: Vec<String>) -> std::result::Result<Page<Record>, LargeFirst> {
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut seen = HashSet::new();
    let mut keys = keys.into_iter().filter(|key| seen.insert(key.clone()));
    while let Some(key) = keys.next() {
        match found.rows.get(&key) {
            None | Some(Point::Absent) => {}
            Some(Point::Record(shared)) if fits(&items, &shared.record, bytes) => {
                bytes += weight_bytes(&shared.record);
                items.push(shared.record.clone());
            }
            Some(Point::Large) if items.is_empty() => return Err(LargeFirst { key, next: keys.next() }),
            Some(_) => return Ok(Page { seq: found.seq(), items, next: Some(key) }),
        }
    }
    Ok(Page { seq: found.seq(), items, next: None })
}

fn answer_large_first(engine: Arc<dyn Engine>, large: LargeFirst, answer: oneshot::Sender<Outcome>) {
    tokio::spawn(async move {
        let outcome = whole(&*engine, &large.key).await.map(|(seq, record)| {
            Reply::Records(Page { seq, items: record.into_iter().collect(), next: large.next })
        });
        let _ = answer.send(outcome);
    });
}
