//! Group commit: gathers whatever waits while a batch is under way into the next one.
//!
//! There is no timer. A lone request is a batch of one and waits for nobody; under load the batches grow by
//! themselves. Writes and point reads have a lane each, so a read never waits behind a commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::commit::write_lane;
use super::engine::{Engine, Found, Snapshot};
use super::error::{Code, Error, Result};
use super::feed::Feed;
use super::page::{fits, weight_bytes};
use super::plan::Outcome;
use super::record::Record;
use super::reply::{Page, Reply};
use super::request::Write;
use crate::limits;

/// One request that waits, with the place for its answer.
#[derive(Debug)]
pub(super) struct Waiting<T> {
    request: T,
    answer: oneshot::Sender<Outcome>,
}

/// A point read.
pub(crate) enum Point {
    /// `get` of one key.
    One(String),
    /// `get` of one key, which is refused as `too_large` when the value would have to be read by itself.
    Small(String),
    /// `get` of several keys.
    Many(Vec<String>),
}

impl Point {
    fn keys(&self) -> &[String] {
        match self {
            Point::One(key) | Point::Small(key) => std::slice::from_ref(key),
            Point::Many(keys) => keys,
        }
    }
}

/// Gathers requests and hands them to an engine.
pub(crate) struct Batcher {
    writes: Writes,
    points: mpsc::Sender<Waiting<Point>>,
    lanes: [JoinHandle<()>; 2],
}

impl Batcher {
    /// Starts the two lanes on the present tokio runtime.
    pub(crate) fn start(engine: &Arc<dyn Engine>, feed: &Arc<Feed>) -> Batcher {
        let (writes, waiting_writes) = mpsc::channel(limits::QUEUE_REQUESTS);
        let (points, waiting_points) = mpsc::channel(limits::QUEUE_REQUESTS);
        // The lanes are tasks of their own, so that a caller who goes away never cancels a batch.
        let lanes = [
            tokio::spawn(write_lane(Arc::clone(engine), Arc::clone(feed), waiting_writes)),
            tokio::spawn(point_lane(Arc::clone(engine), waiting_points)),
        ];
        Batcher { writes: Writes(writes), points, lanes }
    }

    /// Where writes are taken; the batcher ends when all of these are dropped.
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Reads records by key.
    pub(crate) async fn point(&self, point: Point) -> Outcome {
        wait(&self.points, point).await.unwrap_or_else(|_| Err(ended()))
    }

    /// Lets the lanes finish what waits, and ends them.
    pub(crate) async fn close(self) {
        drop((self.writes, self.points));
        for lane in self.lanes {
            if let Err(error) = lane.await {
                tracing::error!(%error, "a lane of the batcher ended badly");
            }
        }
    }
}

/// Takes writes for the next batch.
#[derive(Clone)]
pub(crate) struct Writes(mpsc::Sender<Waiting<Write>>);

impl Writes {
    /// Writes; takes its place in the queue at the first poll.
    pub(crate) async fn write(&self, write: Write) -> Outcome {
        wait(&self.0, write).await.unwrap_or_else(|lost| match lost {
            Lost::BeforeTaken => Err(ended()),
            Lost::AfterTaken => Err(ended().unknown()),
        })
    }

    /// The same, for who must not keep the batcher from ending.
    pub(crate) fn downgrade(&self) -> WeakWrites {
        WeakWrites(self.0.downgrade())
    }
}

/// Takes writes while the store is open.
#[derive(Debug, Clone)]
pub(crate) struct WeakWrites(mpsc::WeakSender<Waiting<Write>>);

impl WeakWrites {
    /// Writes, unless the store is closing.
    pub(crate) async fn write(&self, write: Write) -> Outcome {
        match self.0.upgrade() {
            Some(writes) => Writes(writes).write(write).await,
            None => Err(ended()),
        }
    }

    /// Gives back what was held for somebody who went away, in the background. A store that is closed behind this
    /// waits for it; where that cannot be, what was held expires.
    pub(crate) fn give_back(&self, release: Write) {
        let (Some(writes), Ok(runtime)) = (self.0.upgrade(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = Writes(writes).write(release).await {
                tracing::warn!(%error, "what nobody needs any more could not be given back; it expires");
            }
        });
    }
}

enum Lost {
    BeforeTaken,
    AfterTaken,
}

async fn wait<T>(lane: &mpsc::Sender<Waiting<T>>, request: T) -> std::result::Result<Outcome, Lost> {
    let (answer, outcome) = oneshot::channel();
    lane.send(Waiting { request, answer }).await.map_err(|_| Lost::BeforeTaken)?;
    outcome.await.map_err(|_| Lost::AfterTaken)
}

fn ended() -> Error {
    Error::new(Code::Unavailable, "the store is closing")
}

async fn point_lane(engine: Arc<dyn Engine>, mut queue: mpsc::Receiver<Waiting<Point>>) {
    let mut gathering = Gathering::default();
    let keys_of = |point: &Point| point.keys().len();
    while let Some((batch, answers)) = gathering.next(&mut queue, limits::BATCH_REQUESTS, keys_of).await {
        let mut keys: Vec<&str> = batch.iter().flat_map(Point::keys).map(String::as_str).collect();
        if batch.len() > 1 {
            keys.sort_unstable();
            keys.dedup();
        }
        let found = engine.point(&keys, limits::INLINE_VALUE_BYTES).await;
        for (point, answer) in batch.into_iter().zip(answers) {
            match &found {
                Ok(found) => answer_point(&engine, found, point, answer),
                Err(error) => drop(answer.send(Err(error.clone()))),
            }
        }
    }
}

/// The requests of the next batch.
pub(super) struct Gathering<T> {
    /// The request that did not fit the batch before.
    left_over: Option<Waiting<T>>,
}

impl<T> Default for Gathering<T> {
    fn default() -> Gathering<T> {
        Gathering { left_over: None }
    }
}

impl<T> Gathering<T> {
    /// Whether nothing waits, and something still may come.
    pub(super) fn is_idle(&self, queue: &mpsc::Receiver<Waiting<T>>) -> bool {
        self.left_over.is_none() && queue.is_empty() && !queue.is_closed()
    }

    /// Waits for one request and takes what else is there, up to a weight; none when the queue has ended.
    pub(super) async fn next(
        &mut self,
        queue: &mut mpsc::Receiver<Waiting<T>>,
        weight_max: usize,
        weight: impl Fn(&T) -> usize,
    ) -> Option<(Vec<T>, Vec<oneshot::Sender<Outcome>>)> {
        let first = match self.left_over.take() {
            Some(first) => first,
            None => queue.recv().await?,
        };
        let mut gathered = weight(&first.request);
        let (mut requests, mut answers) = (vec![first.request], vec![first.answer]);
        while requests.len() < limits::BATCH_REQUESTS {
            let Ok(waiting) = queue.try_recv() else { break };
            gathered += weight(&waiting.request);
            if gathered > weight_max {
                self.left_over = Some(waiting);
                break;
            }
            requests.push(waiting.request);
            answers.push(waiting.answer);
        }
        Some((requests, answers))
    }
}

type Points = Snapshot<HashMap<String, Found>>;

fn answer_point(engine: &Arc<dyn Engine>, found: &Points, point: Point, answer: oneshot::Sender<Outcome>) {
    let seq = found.seq();
    let large = match point {
        Point::Small(key) if matches!(found.rows.get(&key), Some(Found::Large)) => {
            return drop(answer.send(Err(Error::new(Code::TooLarge, "the value is read by itself"))));
        }
        Point::One(key) | Point::Small(key) => match found.rows.get(&key) {
            Some(Found::Large) => key,
            Some(Found::Inline(record)) => {
                return drop(answer.send(Ok(Reply::Get { seq, record: Some(record.clone()) })));
            }
            None => return drop(answer.send(Ok(Reply::Get { seq, record: None }))),
        },
        Point::Many(keys) => match page_of(found, keys) {
            Ok(page) => return drop(answer.send(Ok(Reply::Records(page)))),
            Err(large) => return answer_large_first(Arc::clone(engine), large, answer),
        },
    };
    let engine = Arc::clone(engine);
    tokio::spawn(async move {
        let outcome = whole(&*engine, &large).await.map(|(seq, record)| Reply::Get { seq, record });
        let _ = answer.send(outcome);
    });
}

/// One record, whatever its size, and the head of its snapshot.
async fn whole(engine: &dyn Engine, key: &str) -> Result<(u64, Option<Record>)> {
    let mut found = engine.point(&[key], usize::MAX).await?;
    let record = found.rows.remove(key).and_then(|found| match found {
        Found::Inline(record) => Some(record),
        Found::Large => None,
    });
    Ok((found.seq(), record))
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
            None => {}
            Some(Found::Inline(record)) if fits(&items, record, bytes) => {
                bytes += weight_bytes(record);
                items.push(record.clone());
            }
            Some(Found::Large) if items.is_empty() => return Err(LargeFirst { key, next: keys.next() }),
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
