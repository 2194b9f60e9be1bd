//! Drives each batch of writes to its end, on any engine: an attempt, fewer writes at a time after an error of the
//! database, another plan when other processes were faster, a look at what became of an answer that was lost.
//!
//! Each write is answered, and its changes are published, as soon as the attempt that held it has ended; when other writes
//! wait by then, the engine is handed the next batch first. Only a delete of a large range takes several attempts: see
//! [`slices`].

mod slices;

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::slices::Unfinished;
use super::batcher::{Gathering, Told, Writes};
use super::engine::{Decision, Engine, Failure};
use super::error::{Code, Error};
use super::expiry::WrittenTtl;
use super::feed::Feed;
use super::plan::{Needs, Outcome, Plan, Progress, Rows, plan};
use super::position::Position;
use super::request::Write;
use crate::limits;

/// Writes that are decided and committed together, in order of arrival.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// Shared by all attempts, so that none copies a write.
    writes: Arc<Vec<Write>>,
    range: Range<usize>,
    /// How far its one write has come, when that is a delete which goes on.
    progress: Option<Progress>,
}

impl Batch {
    pub(crate) fn new(writes: Vec<Write>) -> Batch {
        let range = 0..writes.len();
        Batch { writes: Arc::new(writes), range, progress: None }
    }

    pub(crate) fn writes(&self) -> &[Write] {
        &self.writes[self.range.clone()]
    }

    fn len(&self) -> usize {
        self.range.len()
    }

    /// The first ones, at most so many.
    fn first(&self, count: usize) -> Batch {
        let end = self.range.end.min(self.range.start + count);
        Batch { writes: Arc::clone(&self.writes), range: self.range.start..end, progress: None }
    }

    /// Without the first ones.
    fn skip(self, count: usize) -> Batch {
        let start = self.range.end.min(self.range.start + count);
        Batch { range: start..self.range.end, ..self }
    }

    /// The rows that are to be read before the batch can be decided.
    pub(crate) fn needs(&self) -> Needs<'_> {
        Needs::of(self.writes(), self.progress.as_ref())
    }

    /// Decides the writes that `needs` covers. It may take long: an engine calls it on a thread that may be held up.
    pub(crate) fn decide(&self, needs: &Needs<'_>, rows: Rows, now_ms: i64) -> Plan {
        plan(rows, &self.writes()[..needs.requests], self.progress.clone(), now_ms)
    }
}

/// Is told of each attempt that was committed: how many writes it held, and how long it took.
type Observe = dyn Fn(usize, Duration) + Send + Sync;

/// An owned one.
pub(crate) type CommitObserver = Box<Observe>;

/// The callers of a batch, in the order of their writes.
struct Callers(VecDeque<(usize, Told)>);

impl Callers {
    /// The callers of these writes, and the writes.
    fn of(gathered: Vec<Writes>) -> (Callers, Vec<Write>) {
        let mut writes = Vec::with_capacity(gathered.iter().map(|caller| caller.writes.len()).sum());
        let mut callers = VecDeque::with_capacity(gathered.len());
        for Writes { writes: more, told } in gathered {
            callers.push_back((more.len(), told));
            writes.extend(more);
        }
        (Callers(callers), writes)
    }

    /// One caller, so many writes of whom are still to be done.
    fn one(count: usize, told: Told) -> Callers {
        Callers(VecDeque::from([(count, told)]))
    }

    /// Takes out the one whose writes come next, and how many these are.
    fn take(&mut self) -> Option<(usize, Told)> {
        self.0.pop_front()
    }

    /// Tells those whose writes come next.
    fn tell(&mut self, outcomes: Vec<Outcome>) {
        let mut outcomes = outcomes.into_iter();
        while let Some((waiting, told)) = self.0.front_mut() {
            let own: Vec<Outcome> = outcomes.by_ref().take(*waiting).collect();
            *waiting -= own.len();
            let is_done = *waiting == 0;
            if own.is_empty() && !is_done {
                return;
            }
            told(own);
            if is_done {
                self.0.pop_front();
            }
        }
    }
}

/// Commits what waits until nobody can send any more. Once `ending` is cancelled, deletes of large ranges go no further.
pub(super) async fn write_lane(
    engine: Arc<dyn Engine>,
    feed: Arc<Feed>,
    queue: mpsc::UnboundedReceiver<Writes>,
    ending: CancellationToken,
    observer: CommitObserver,
) {
    let mut gathering = Gathering::new(queue);
    let weight_max = engine.batch_bytes_max();
    let publish = |position| feed.publish_own(position);
    let written_ttl = Some(feed.written_ttl());
    let mut driver = Driver { observer: &*observer, written_ttl, ..Driver::new(&*engine, publish, ending) };
    loop {
        if gathering.is_idle() {
            driver.tell();
        }
        if driver.has_unfinished() {
            // Whoever waits by now has its turn before the next slice. Whoever comes meanwhile has it behind that slice, or
            // the delete would never end under load.
            let mut waiting = gathering.waiting();
            while waiting > 0
                && let Some(gathered) = gathering.next(weight_max).await
            {
                waiting = waiting.saturating_sub(gathered.len());
                driver.drive(gathered).await;
            }
            driver.next_slice().await;
            continue;
        }
        if driver.leaves_trimmed && gathering.is_idle() {
            driver.leaves_trimmed = sweep(&*engine).await;
            continue;
        }
        let Some(gathered) = gathering.next(weight_max).await else { break };
        driver.drive_ahead(gathered).await;
    }
    driver.tell();
    let mut leaves_trimmed = driver.leaves_trimmed;
    let deadline = Instant::now() + limits::SWEEP_AT_CLOSE;
    while leaves_trimmed && Instant::now() < deadline {
        leaves_trimmed = sweep(&*engine).await;
    }
}

/// One step of removing what was trimmed; answers whether there is another one.
async fn sweep(engine: &dyn Engine) -> bool {
    engine.sweep().await.unwrap_or_else(|error| {
        // The next write comes upon the rest.
        tracing::warn!(%error, "what was trimmed could not be removed yet");
        false
    })
}

/// Drives writes to their ends.
struct Driver<'a, P> {
    engine: &'a dyn Engine,
    /// Is told where the store stands after each batch.
    publish: P,
    observer: &'a Observe,
    /// Is told of what expires.
    written_ttl: Option<&'a WrittenTtl>,
    /// When this is cancelled, the store is about to be closed.
    ending: CancellationToken,
    /// The callers of the last batch, who are told once the engine has the next one.
    untold: Option<(Callers, Vec<Outcome>)>,
    /// Deletes that are not at their end. Each gets a slice in turn.
    unfinished: VecDeque<Unfinished>,
    /// Whether what was trimmed may still take space.
    leaves_trimmed: bool,
}

impl<'a, P: Fn(Position)> Driver<'a, P> {
    fn new(engine: &'a dyn Engine, publish: P, ending: CancellationToken) -> Driver<'a, P> {
        Driver {
            engine,
            publish,
            observer: &|_, _| {},
            written_ttl: None,
            ending,
            untold: None,
            unfinished: VecDeque::new(),
            leaves_trimmed: false,
        }
    }

    /// Drives what was gathered; only deletes of large ranges, and what their callers wrote behind them, are left unfinished.
    async fn drive(&mut self, gathered: Vec<Writes>) {
        self.drive_ahead(gathered).await;
        self.tell();
    }

    /// As [`drive`](Driver::drive), and leaves some callers to be told when the next batch is under way.
    async fn drive_ahead(&mut self, gathered: Vec<Writes>) {
        let (callers, writes) = Callers::of(gathered);
        self.drive_batch(callers, Batch::new(writes)).await;
    }

    /// Tells the callers of the last batch, unless they were told.
    fn tell(&mut self) {
        if let Some((mut callers, outcomes)) = self.untold.take() {
            callers.tell(outcomes);
        }
    }

    async fn drive_batch(&mut self, mut callers: Callers, mut rest: Batch) {
        let mut at_once = rest.len();
        while rest.len() > 0 {
            let batch = rest.first(at_once);
            let outcomes = match self.attempt(&batch).await {
                Ok(decision) => {
                    self.note(&decision, &batch);
                    // What stopped a larger batch may be behind by now.
                    at_once = at_once.saturating_mul(2);
                    if let Some(progress) = decision.unfinished
                        && let Some((count, told)) = callers.take()
                    {
                        self.unfinished.push_back(Unfinished::new(&rest.first(count), told, progress));
                        rest = rest.skip(count);
                        continue;
                    }
                    decision.outcomes
                }
                Err(Failure::Rejected { alone_may_help: true, .. }) if batch.len() > 1 => {
                    at_once = batch.len() / 2;
                    continue;
                }
                Err(failure) => {
                    let error = failure.into_error();
                    batch.writes().iter().map(|_| Err(error.clone())).collect()
                }
            };
            rest = rest.skip(outcomes.len());
            if rest.len() == 0 {
                self.untold = Some((callers, outcomes));
                return;
            }
            callers.tell(outcomes);
        }
    }

    /// As [`attempt`]. While the engine works, the callers of the last batch are told: in that time it would be idle.
    async fn attempt(&mut self, batch: &Batch) -> Result<Decision, Failure> {
        let mut attempt = pin!(attempt(self.engine, batch, self.observer));
        let ended = attempt.as_mut().now_or_never();
        self.tell();
        match ended {
            Some(ended) => ended,
            None => attempt.await,
        }
    }

    /// Notes what an attempt on this batch has left, and publishes it.
    fn note(&mut self, decision: &Decision, batch: &Batch) {
        self.leaves_trimmed = decision.leaves_trimmed;
        if let Some(position) = &decision.position {
            (self.publish)(position.clone());
            let decided = batch.writes().iter().take(decision.outcomes.len());
            if let Some(written_ttl) = self.written_ttl
                && let Some(ttl_ms) = decided.filter_map(Write::shortest_ttl_ms).min()
            {
                written_ttl.note(ttl_ms);
            }
        }
    }
}

/// One attempt, which is begun anew as long as it is certain that nothing of it was committed.
async fn attempt(engine: &dyn Engine, batch: &Batch, observer: &Observe) -> Result<Decision, Failure> {
    let mut pauses = ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(limits::STALE_PAUSE_MIN)
        .with_max_delay(limits::STALE_PAUSE_MAX)
        .with_max_times(limits::STALE_TRIES - 1)
        .build();
    loop {
        match attempt_once(engine, batch, observer).await {
            Err(Failure::Stale) => match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => break,
            },
            ended => return ended,
        }
    }
    let message = "other processes write to the store, and each was faster";
    let error = Error::new(Code::Busy, message).hint("try again");
    Err(Failure::Rejected { error, alone_may_help: false })
}

/// As [`Engine::attempt`], and looks up what became of an answer that was lost.
async fn attempt_once(engine: &dyn Engine, batch: &Batch, observer: &Observe) -> Result<Decision, Failure> {
    let begun = Instant::now();
    let ended = engine.attempt(batch).await;
    let took = begun.elapsed();
    if let Ok(decision) = &ended {
        observer(decision.outcomes.len(), took);
    }
    if took > limits::SLOW_COMMIT {
        tracing::warn!(elapsed = ?took, writes = batch.len(), "a commit was slow");
    }
    match ended {
        Err(Failure::Lost { id, decision, error }) => match engine.is_committed(&id).await {
            Ok(true) => Ok(*decision),
            Ok(false) => Err(Failure::Stale),
            Err(unanswered) => {
                tracing::warn!(%unanswered, "whether a batch was committed cannot be told");
                Err(Failure::Unknown(error))
            }
        },
        ended => ended,
    }
}

impl Failure {
    /// What a write of the batch is told.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Failure::Rejected { error, .. } => error,
            // An attempt does not end with these two; what is lost is at best unknown.
            Failure::Stale => Error::new(Code::Busy, "another process was faster"),
            Failure::Unknown(error) | Failure::Lost { error, .. } => error.unknown(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::sync::Notify;

    use super::*;
    use crate::store::engine::sqlite::fake::{Fake, Fault};
    use crate::store::plan::Outcome;
    use crate::store::request::{Mutation, Put};
    use crate::store::{JsonText, Reply};

    /// The puts of one caller for each of these, and what each caller is told.
    fn puts(callers: &[&[&str]]) -> (Vec<Writes>, Vec<mpsc::UnboundedReceiver<Vec<Outcome>>>) {
        let put = |key: &&str| Mutation::Put(Put::new(*key, JsonText::of(&1).unwrap())).into();
        let caller = |keys: &&[&str]| {
            let (tell, told) = mpsc::unbounded_channel();
            let told_of = move |outcomes| tell.send(outcomes).unwrap();
            (Writes { writes: keys.iter().map(put).collect(), told: Box::new(told_of) }, told)
        };
        callers.iter().map(caller).unzip()
    }

    /// Drives a batch of puts; answers what each was told, and the heads that were published.
    async fn driven(engine: &Fake, keys: &[&str]) -> (Vec<Outcome>, Vec<u64>) {
        let heads = RefCell::new(Vec::new());
        let publish = |position: Position| heads.borrow_mut().push(position.head);
        let callers: Vec<&[&str]> = keys.chunks(3).collect();
        let (gathered, told) = puts(&callers);
        Driver::new(engine, publish, CancellationToken::new()).drive(gathered).await;
        let mut outcomes = Vec::new();
        for mut told in told {
            while let Ok(more) = told.try_recv() {
                outcomes.extend(more);
            }
            assert_eq!(told.try_recv(), Err(mpsc::error::TryRecvError::Disconnected), "nobody is told later");
        }
        assert_eq!(outcomes.len(), keys.len(), "each is told once");
        (outcomes, heads.into_inner())
    }

    /// The revision that a put was told, or the code of its error and whether it may have been applied.
    fn told(outcomes: &[Outcome]) -> Vec<std::result::Result<u64, (Code, bool)>> {
        let one = |outcome: &Outcome| match outcome {
            Ok(Reply::Written(written)) => Ok(written.revision),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err((error.code, error.maybe)),
        };
        outcomes.iter().map(one).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_batch_is_planned_again_and_at_last_told_busy() {
        let engine = Fake::new((1..limits::STALE_TRIES).map(|_| Fault::Stale));
        let (outcomes, heads) = driven(&engine, &["a", "b"]).await;
        assert_eq!((told(&outcomes), heads), (vec![Ok(1), Ok(2)], vec![2]));
        assert_eq!(engine.take_calls().attempts, vec![2; limits::STALE_TRIES]);

        let engine = Fake::new((0..limits::STALE_TRIES).map(|_| Fault::Stale));
        let (outcomes, heads) = driven(&engine, &["a", "b"]).await;
        assert_eq!((told(&outcomes), heads), (vec![Err((Code::Busy, false)); 2], vec![]));
        assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.retry)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_answer_is_looked_up_and_only_then_unknown() {
        let engine = Fake::new([Fault::LostAfter]);
        let (outcomes, heads) = driven(&engine, &["a"]).await;
        assert_eq!((told(&outcomes), heads), (vec![Ok(1)], vec![1]));
        assert_eq!(engine.take_calls().attempts, [1]);

        let engine = Fake::new([Fault::LostBefore]);
        assert_eq!(told(&driven(&engine, &["a"]).await.0), [Ok(1)]);
        assert_eq!(engine.take_calls().attempts, [1, 1], "it was not committed, so it is tried again");

        for fault in [Fault::LostForGood, Fault::Unknown] {
            let engine = Fake::new([fault]);
            let (outcomes, heads) = driven(&engine, &["a", "b"]).await;
            assert_eq!((told(&outcomes), heads), (vec![Err((Code::Unavailable, true)); 2], vec![]));
            assert_eq!(engine.take_calls().attempts, [2], "what may be applied is not tried again");
        }
    }

    #[tokio::test]
    async fn a_write_that_cannot_be_done_harms_no_other_one() {
        let keys: Vec<String> = (0..100).map(|number| format!("key-{number:03}-")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let engine = Fake::new([Fault::Poisoned("key-042-")]);
        let (outcomes, _) = driven(&engine, &keys).await;
        let refused: Vec<usize> = (0..100).filter(|&index| outcomes[index].is_err()).collect();
        assert_eq!(refused, [42]);
        assert_eq!(told(&outcomes)[42], Err((Code::Unavailable, false)));
        let attempts = engine.take_calls().attempts.len();
        assert!(attempts <= 25, "{attempts} attempts for one bad write in a hundred");
    }

    #[tokio::test]
    async fn what_is_too_much_at_once_is_done_bit_by_bit() {
        let engine = Fake::new([Fault::Rejected { writes_max: 2 }]);
        let (outcomes, heads) = driven(&engine, &["a", "b", "c", "d", "e", "f"]).await;
        assert_eq!(told(&outcomes), [1, 2, 3, 4, 5, 6].map(Ok));
        assert_eq!(heads.last(), Some(&6));
    }

    /// A write is answered when its own attempt has ended, however long those behind it take.
    #[tokio::test]
    async fn an_answer_does_not_wait_for_what_was_gathered_behind_it() {
        let go_on = Arc::new(Notify::new());
        let faults = [Fault::Rejected { writes_max: 1 }, Fault::Slow(Arc::clone(&go_on))];
        let engine = Fake::new(faults);
        let (gathered, mut told) = puts(&[&["a"], &["b"]]);
        let heads = RefCell::new(Vec::new());
        let publish = |position: Position| heads.borrow_mut().push(position.head);
        let mut driver = Driver::new(&*engine, publish, CancellationToken::new());
        let mut driving = Box::pin(driver.drive(gathered));
        assert!((&mut driving).now_or_never().is_none());
        assert!(told[0].try_recv().unwrap()[0].is_ok());
        assert_eq!(*heads.borrow(), [1], "it is published as well");
        assert!(told[1].try_recv().is_err());
        go_on.notify_one();
        driving.await;
        assert!(told[1].try_recv().unwrap()[0].is_ok());
    }

    /// While others wait, the engine gets their batch first, and works on it while the callers of the last one are told.
    #[tokio::test]
    async fn callers_are_told_while_the_next_batch_is_under_way() {
        let go_on = Arc::new(Notify::new());
        let engine = Fake::new([Fault::Slow(Arc::clone(&go_on)), Fault::Slow(Arc::clone(&go_on))]);
        let feed = Arc::new(Feed::new(Arc::clone(&engine) as Arc<dyn Engine>));
        let (send, queue) = mpsc::unbounded_channel();
        let lane = write_lane(
            Arc::clone(&engine) as Arc<dyn Engine>,
            feed,
            queue,
            CancellationToken::new(),
            Box::new(|_, _| {}),
        );
        let mut lane = Box::pin(lane);
        let mut step = move || (&mut lane).now_or_never().is_none();
        let (first, mut told_first) = puts(&[&["a"]]);
        let (second, mut told_second) = puts(&[&["b"]]);
        first.into_iter().for_each(|writes| send.send(writes).unwrap());
        assert!(step() && told_first[0].try_recv().is_err(), "it is under way");
        second.into_iter().for_each(|writes| send.send(writes).unwrap());
        go_on.notify_one();
        assert!(step() && told_first[0].try_recv().unwrap()[0].is_ok());
        assert_eq!(engine.take_calls().attempts, [1, 1], "the second one is under way");
        assert!(told_second[0].try_recv().is_err());
        go_on.notify_one();
        assert!(step() && told_second[0].try_recv().unwrap()[0].is_ok(), "nobody waits for another batch");
    }
}
