//! Deletes of large ranges, which are committed slice by slice: between two slices the lane drives what others have written
//! meanwhile, so that nobody waits for longer than one slice.
//!
//! The caller is told once, at the end. Of one that fails on its way, what is done stays done.

use super::{Batch, Callers, Driver};
use crate::store::batcher::{Told, ended};
use crate::store::error::Error;
use crate::store::plan::Progress;
use crate::store::position::Position;

/// A delete of a range of which a part is done.
pub(super) struct Unfinished {
    /// The delete, and what its caller wrote behind it, which keeps its order.
    batch: Batch,
    told: Told,
    progress: Progress,
}

impl Unfinished {
    pub(super) fn new(batch: &Batch, told: Told, progress: Progress) -> Unfinished {
        // Not what others wrote, which would stay in memory for as long as the delete takes.
        let batch = Batch::new(batch.writes().to_vec());
        Unfinished { batch, told, progress }
    }
}

impl Batch {
    /// The next slice of the delete with which the batch begins.
    fn slice(&self, progress: &Progress) -> Batch {
        Batch { progress: Some(progress.clone()), ..self.first(1) }
    }
}

impl<P: Fn(Position)> Driver<'_, P> {
    pub(super) fn has_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// Drives the next slice of the delete whose turn it is. When it has ended, what its caller wrote behind it follows.
    pub(super) async fn next_slice(&mut self) {
        let Some(Unfinished { batch, mut told, progress }) = self.unfinished.pop_front() else { return };
        let slice = batch.slice(&progress);
        let attempted = if self.ending.is_cancelled() {
            Err(ended())
        } else {
            self.attempt(&slice).await.map_err(super::Failure::into_error)
        };
        let outcomes = match attempted {
            Ok(decision) => {
                self.note(&decision, &slice);
                if let Some(progress) = decision.unfinished {
                    self.unfinished.push_back(Unfinished { batch, told, progress });
                    return;
                }
                decision.outcomes
            }
            Err(error) => vec![Err(error)],
        };
        told(
            outcomes
                .into_iter()
                .map(|outcome| outcome.map_err(|error| part_done(error, &progress)))
                .collect(),
        );
        let behind = batch.skip(1);
        if behind.len() > 0 {
            self.drive_batch(Callers::one(behind.len(), told), behind).await;
            self.tell();
        }
    }
}

/// The error of a delete of which a part is done.
fn part_done(cause: Error, Progress { deleted, .. }: &Progress) -> Error {
    let records = if *deleted == 1 { "record was" } else { "records were" };
    let message = format!("{}; {deleted} {records} deleted before", cause.message);
    let again = "delete again to remove the rest";
    let hint = cause.hint.as_ref().map_or_else(|| again.to_owned(), |hint| format!("{hint}; {again}"));
    Error { message, ..cause }.hint(hint).unknown()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::sync::{Notify, mpsc};
    use tokio_util::sync::CancellationToken;

    use std::time::Duration;

    use super::super::write_lane;
    use super::*;
    use crate::limits;
    use crate::store::batcher::Writes;
    use crate::store::engine::Engine;
    use crate::store::engine::sqlite::fake::{Fake, Fault};
    use crate::store::error::Code;
    use crate::store::feed::Feed;
    use crate::store::plan::Outcome;
    use crate::store::request::{
        Delete, Fence, LockAcquire, LockRelease, Mutation, Put, Write, WriteOperation,
    };
    use crate::store::{Deleted, JsonText, Reply};

    const SLICE: u64 = limits::DELETE_SLICE_RECORDS;

    /// The records of two slices and a half.
    const RECORDS: u64 = 2 * SLICE + SLICE / 2;

    /// The head of a store with these records, and one before and one behind them.
    const FILLED: u64 = RECORDS + 2;

    fn filled() -> Arc<Fake> {
        let engine = Fake::new([]);
        engine.fill(["a".to_owned(), "z".to_owned()]);
        engine.fill((0..RECORDS).map(|number| format!("p/{number:06}")));
        engine
    }

    fn put(key: &str) -> Write {
        Mutation::Put(Put::new(key, JsonText::of(&2).unwrap())).into()
    }

    fn delete() -> Write {
        Mutation::Delete(Delete::prefix("p/")).into()
    }

    fn once() -> Write {
        Write { once: Some("id".to_owned()), ..delete() }
    }

    /// Who was told what, in the order of time.
    type ToldAll = Arc<Mutex<Vec<(&'static str, Outcome)>>>;

    fn caller(name: &'static str, writes: Vec<Write>, told: &ToldAll) -> Writes {
        let told = Arc::clone(told);
        let tell = move |outcomes: Vec<Outcome>| {
            told.lock().unwrap().extend(outcomes.into_iter().map(|outcome| (name, outcome)));
        };
        Writes { writes, told: Box::new(tell) }
    }

    fn names(told: &ToldAll) -> Vec<&'static str> {
        told.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }

    /// The error that was told as the one of this index.
    fn error(told: &ToldAll, index: usize) -> Error {
        told.lock().unwrap()[index].1.clone().unwrap_err()
    }

    fn driver(engine: &Fake) -> Driver<'_, impl Fn(Position)> {
        Driver::new(engine, |_| {}, CancellationToken::new())
    }

    /// Drives writes and what they leave unfinished; answers what their caller was told.
    async fn ended(engine: &Fake, writes: Vec<Write>) -> Vec<Outcome> {
        let told = ToldAll::default();
        let mut driver = driver(engine);
        driver.drive(vec![caller("caller", writes, &told)]).await;
        while driver.has_unfinished() {
            driver.next_slice().await;
        }
        told.lock().unwrap().drain(..).map(|(_, outcome)| outcome).collect()
    }

    /// How many records a delete was told to have removed, and the revision of the last one.
    #[track_caller]
    fn deleted(outcome: &Outcome) -> (u64, u64) {
        match outcome {
            Ok(Reply::Deleted(Deleted { deleted, revision: Some(revision) })) => (*deleted, *revision),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn others_are_answered_between_two_slices() {
        let engine = filled();
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        engine.fail([Fault::Slow(Arc::clone(&first)), Fault::Slow(Arc::clone(&second))]);
        let told = ToldAll::default();
        let (writer, queue) = mpsc::unbounded_channel();
        let shared: Arc<dyn Engine> = Arc::clone(&engine) as Arc<dyn Engine>;
        let feed = Arc::new(Feed::new(Arc::clone(&shared)));
        let lane =
            tokio::spawn(write_lane(shared, feed, queue, CancellationToken::new(), Box::new(|_, _| {})));
        let send = |name, write| assert!(writer.send(caller(name, vec![write], &told)).is_ok());
        send("delete", delete());
        first.notify_one();
        let mut attempts = 0;
        while attempts < 2 {
            tokio::task::yield_now().await;
            attempts += engine.take_calls().attempts.len();
        }
        send("put", put("b"));
        send("another put", put("c"));
        second.notify_one();
        drop(writer);
        lane.await.unwrap();
        assert_eq!(names(&told), ["put", "another put", "delete"]);
        assert_eq!(deleted(&told.lock().unwrap()[2].1), (RECORDS, FILLED + RECORDS + 2));
        assert_eq!(engine.take_calls().attempts, [2, 1], "both puts are one batch before the third slice");
    }

    #[tokio::test]
    async fn what_a_caller_wrote_behind_a_delete_comes_behind_all_of_it() {
        let engine = filled();
        let told = ToldAll::default();
        let mut driver = driver(&engine);
        let own = vec![put("p/own"), delete(), put("p/000000"), delete(), put("p/own")];
        let gathered = vec![caller("own", own, &told), caller("other", vec![put("p/000001")], &told)];
        driver.drive(gathered).await;
        assert_eq!(names(&told), ["own", "other"]);
        while driver.has_unfinished() {
            driver.next_slice().await;
        }
        assert_eq!(names(&told), ["own", "other", "own", "own", "own", "own"]);
        let told = told.lock().unwrap();
        assert_eq!(deleted(&told[2].1).0, RECORDS + 1);
        assert_eq!(
            deleted(&told[4].1).0,
            2,
            "what it has put, and what the other one put behind the first slice"
        );
        assert_eq!(engine.keys(), ["a", "p/own", "z"]);
    }

    #[tokio::test]
    async fn a_delete_ends_however_much_others_put_into_its_range() {
        let engine = filled();
        let told = ToldAll::default();
        let mut driver = driver(&engine);
        driver.drive(vec![caller("delete", vec![delete()], &told)]).await;
        let mut slices = 1;
        while driver.has_unfinished() {
            engine.fill(["p/000001".to_owned()]);
            engine.fill((0..SLICE).map(|number| format!("p/x/{slices}/{number}")));
            driver.next_slice().await;
            slices += 1;
        }
        assert_eq!(deleted(&told.lock().unwrap()[0].1).0, RECORDS);
        assert_eq!(slices, 3);
        let keys = engine.keys();
        assert!(
            keys.len() as u64 == 3 + 2 * SLICE && keys[1] == "p/000001",
            "it does not go back: {:?}",
            &keys[..3]
        );
    }

    #[tokio::test]
    async fn an_empty_rest_ends_a_delete() {
        let engine = filled();
        let told = ToldAll::default();
        let mut driver = driver(&engine);
        driver
            .drive(vec![caller("first", vec![delete()], &told), caller("second", vec![delete()], &told)])
            .await;
        while driver.has_unfinished() {
            driver.next_slice().await;
        }
        let told = told.lock().unwrap();
        // The second one removes its first slice behind that of the first one, which goes on behind its own.
        assert_eq!(deleted(&told[0].1).0 + deleted(&told[1].1).0, RECORDS);
        assert_eq!(engine.keys(), ["a", "z"]);
    }

    #[tokio::test]
    async fn a_delete_that_fails_on_its_way_tells_how_far_it_has_come() {
        type Cause = fn(&Fake, &CancellationToken);
        let causes: [(Code, Cause); 4] = [
            (Code::StoreFull, |engine, _| engine.fail([Fault::Rejected { writes_max: 0 }])),
            (Code::Unavailable, |engine, _| engine.fail([Fault::Unknown])),
            (Code::Unavailable, |_, ending| ending.cancel()),
            (Code::EpochChanged, |engine, _| engine.replace("another")),
        ];
        for (code, cause) in causes {
            let engine = filled();
            let told = ToldAll::default();
            let ending = CancellationToken::new();
            let mut driver = Driver::new(&*engine, |_| {}, ending.clone());
            driver.drive(vec![caller("delete", vec![delete(), put("behind")], &told)]).await;
            cause(&engine, &ending);
            driver.next_slice().await;
            assert!(!driver.has_unfinished());
            let error = error(&told, 0);
            assert!(error.code == code && error.maybe, "{error:?}");
            assert!(error.message.contains(&format!("{SLICE} records were deleted")), "{error:?}");
            assert!(error.hint.as_ref().is_some_and(|hint| hint.contains("the rest")), "{error:?}");
            assert!(engine.keys().len() as u64 >= 2 + RECORDS - SLICE, "nothing more was deleted");
            assert_eq!(names(&told).len(), 2, "what stands behind it is driven all the same");
        }
    }

    #[tokio::test]
    async fn a_fence_is_checked_in_each_slice() {
        let (name, owner) = ("l".to_owned(), "o".to_owned());
        let (fence, refreshes) = (None, None);
        let acquire = LockAcquire {
            name: name.clone(),
            owner: owner.clone(),
            duration: Duration::from_millis(1),
            fence,
        };
        let release = LockRelease { name: name.clone(), owner, fence, refreshes };
        let fenced = Write { fence: Some(Fence { lock: name, token: 1 }), ..once() };
        let engine = filled();
        let told = ToldAll::default();
        let mut driver = driver(&engine);
        let writes = vec![WriteOperation::LockAcquire(acquire.clone()).into(), fenced.clone()];
        driver.drive(vec![caller("delete", writes, &told)]).await;
        driver.drive(vec![caller("release", vec![WriteOperation::LockRelease(release).into()], &told)]).await;
        driver.next_slice().await;
        let lost = error(&told, 2);
        assert!(lost.code == Code::Fenced && lost.maybe && lost.message.contains("were deleted"), "{lost:?}");
        // Without a slice before it, it is a rejection like any other.
        driver.drive(vec![caller("delete", vec![Write { once: None, ..fenced.clone() }], &told)]).await;
        assert!(error(&told, 3).code == Code::Fenced && !error(&told, 3).maybe);
        // With a new grant, the repeat does the rest.
        let again = Write { fence: Some(Fence { lock: "l".to_owned(), token: 2 }), ..fenced };
        let outcomes = ended(&engine, vec![WriteOperation::LockAcquire(acquire).into(), again]).await;
        assert_eq!(deleted(&outcomes[1]).0, RECORDS);
    }

    #[tokio::test]
    async fn a_repeat_goes_on_where_the_delete_stood_when_its_process_ended() {
        for slices in [1, 2] {
            let engine = filled();
            let mut crashed = driver(&engine);
            crashed.drive(vec![caller("delete", vec![once()], &ToldAll::default())]).await;
            for _ in 1..slices {
                crashed.next_slice().await;
            }
            // What others put before the place where it goes on, and behind its end.
            engine.fill(["p/000000/new".to_owned()]);
            engine.fill((0..SLICE).map(|number| format!("p/x{number}")));
            let end = (RECORDS, FILLED + RECORDS + 1 + SLICE);
            let outcomes = ended(&engine, vec![once(), once()]).await;
            assert_eq!(deleted(&outcomes[0]), end, "{slices} slices");
            assert_eq!(deleted(&outcomes[1]), end, "a repeat of what has ended");
            assert_eq!(engine.keys().len() as u64, 3 + SLICE);
            let outcomes = ended(&engine, vec![put("q"), once()]).await;
            assert_eq!(deleted(&outcomes[1]), end);
        }
    }

    #[tokio::test]
    async fn a_repeat_while_the_delete_is_under_way_is_told_the_same() {
        let engine = filled();
        let told = ToldAll::default();
        let mut driver = driver(&engine);
        driver.drive(vec![caller("first", vec![once()], &told)]).await;
        driver.drive(vec![caller("second", vec![once()], &told)]).await;
        while driver.has_unfinished() {
            driver.next_slice().await;
        }
        let told = told.lock().unwrap();
        assert_eq!(told.len(), 2);
        for (name, outcome) in &*told {
            assert_eq!(deleted(outcome), (RECORDS, FILLED + RECORDS), "{name}");
        }
    }

    #[tokio::test]
    async fn a_repeat_of_what_was_broken_off_does_the_rest() {
        let engine = filled();
        let told = ToldAll::default();
        let ending = CancellationToken::new();
        let mut driver = Driver::new(&*engine, |_| {}, ending.clone());
        driver.drive(vec![caller("delete", vec![once()], &told)]).await;
        ending.cancel();
        driver.next_slice().await;
        assert!(error(&told, 0).maybe);
        assert_eq!(deleted(&ended(&engine, vec![once()]).await[0]), (RECORDS, FILLED + RECORDS));
        let other = Write { once: Some("id".to_owned()), ..put("q") };
        assert_eq!(ended(&engine, vec![other]).await[0].as_ref().unwrap_err().code, Code::BadRequest);
    }
}
