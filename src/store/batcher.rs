//! Group commit: gathers whatever waits while a batch is under way into the next one.
//!
//! There is no timer. A lone request is a batch of one and waits for nobody; under load the batches grow by
//! themselves. Writes and point reads have a lane each, so a read never waits behind a commit.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::commit::{CommitObserver, write_lane};
use super::engine::{Engine, Point};
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
    /// Deletes of large ranges go no further once it is dropped, with the batcher or before.
    ending: DropGuard,
}

impl Batcher {
    /// Starts the two lanes on the present tokio runtime.
    pub(crate) fn start(engine: &Arc<dyn Engine>, feed: &Arc<Feed>, observer: CommitObserver) -> Batcher {
        // Each message is one of a caller that waits, so the callers bound what waits.
        let (writer, writes) = mpsc::unbounded_channel();
        let (reads, waiting_reads) = mpsc::unbounded_channel();
        let ending = CancellationToken::new();
        // The lanes are tasks of their own, so that a caller who goes away never cancels a batch.
        let lanes = [
            tokio::spawn(write_lane(Arc::clone(engine), Arc::clone(feed), writes, ending.clone(), observer)),
            tokio::spawn(read_lane(Arc::clone(engine), waiting_reads)),
        ];
        Batcher { writer: Writer(writer), reads, lanes, ending: ending.drop_guard() }
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

    /// Ends each delete of a large range behind its present slice, now and from now on.
    pub(crate) fn break_off(&self) {
        self.ending.token().cancel();
    }

    /// Lets the lanes finish what waits, but for deletes of large ranges, and ends them.
    pub(crate) async fn close(self) {
        drop((self.writer, self.reads, self.ending));
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

/// The error of what is not done any more because the store is closing.
pub(super) fn ended() -> Error {
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

    /// How many requests or groups of them wait.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len() + usize::from(self.left_over.is_some())
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
        let keys: Vec<&str> =
            reads.iter().flat_map(|read| read.keys.as_slice()).map(String::as_str).collect();
        let found = engine.present(&keys, limits::INLINE_VALUE_BYTES).await;
        let mut found = found.map(|found| (found.seq(), found.rows.into_iter()));
        for Read { keys, answer } in reads {
            match &mut found {
                Ok((seq, points)) => {
                    let own = points.take(keys.as_slice().len()).collect();
                    answer_read(&engine, *seq, keys, own, answer);
                }
                Err(error) => drop(answer.send(Err(error.clone()))),
            }
        }
    }
}

/// A record that is so large that it is read by itself.
struct Large {
    key: String,
    /// For a page, which holds that record alone: the key with which the next one begins.
    page: Option<Option<String>>,
}

/// `points` are what stands under the keys, in their order.
fn answer_read(
    engine: &Arc<dyn Engine>,
    seq: u64,
    keys: Keys,
    points: Vec<Point>,
    answer: oneshot::Sender<Outcome>,
) {
    let reply = match keys {
        Keys::One(key) => match points.into_iter().next() {
            Some(Point::Large) => Err(Large { key, page: None }),
            point => Ok(Reply::Get { seq, record: point.and_then(Point::into_record) }),
        },
        Keys::Many(keys) => page_of(seq, keys, points).map(Reply::Records),
    };
    match reply {
        Ok(reply) => drop(answer.send(Ok(reply))),
        Err(large) => {
            let engine = Arc::clone(engine);
            tokio::spawn(async move { answer.send(read_large(&*engine, large).await) });
        }
    }
}

async fn read_large(engine: &dyn Engine, Large { key, page }: Large) -> Outcome {
    let mut found = engine.present(&[&key], usize::MAX).await?;
    let (seq, record) = (found.seq(), found.rows.pop().and_then(Point::into_record));
    Ok(match page {
        None => Reply::Get { seq, record },
        Some(next) => Reply::Records(Page { seq, items: record.into_iter().collect(), next }),
    })
}

/// The records of several keys, as far as they fit; a key that comes again is passed over.
fn page_of(seq: u64, keys: Vec<String>, points: Vec<Point>) -> std::result::Result<Page<Record>, Large> {
    let mut items = Vec::new();
    let mut bytes = 0;
    let mut seen = HashSet::new();
    let mut points = keys.into_iter().zip(points).filter(|(key, _)| seen.insert(key.clone()));
    while let Some((key, point)) = points.next() {
        match point {
            Point::Absent => {}
            Point::Record(shared) if fits(&items, &shared.record, bytes) => {
                bytes += weight_bytes(&shared.record);
                items.extend(Point::Record(shared).into_record());
            }
            Point::Large if items.is_empty() => {
                return Err(Large { key, page: Some(points.next().map(|(next, _)| next)) });
            }
            Point::Record(_) | Point::Large => return Ok(Page { seq, items, next: Some(key) }),
        }
    }
    Ok(Page { seq, items, next: None })
}
