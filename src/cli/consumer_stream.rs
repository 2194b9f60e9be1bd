//! `kv consumer stream`: processes changes one after the other, and commits them after that.

mod retry;

use std::time::Duration;

use clap::Args;
use futures_util::FutureExt as _;
use kv::limits;
use kv::store::{Change, Error, Event, Result, Store, Subscribe, Subscription};
use rustix::process::Signal;
use tokio::time::Instant;

use self::retry::RetryArguments;
use super::consumer::ConsumerArguments;
use super::environment::Environment;
use super::lock::tell_of_a_wait;
use super::signals;
use super::watch::{Outcome, Sink, SinkArguments};
use super::{child, exit_code, output};

#[derive(Debug, Args)]
pub(super) struct Stream {
    #[command(flatten)]
    wanted: ConsumerArguments,
    /// How long to wait while another session follows under this name, as 10s or 1h
    #[arg(long, value_name = "TIME", default_value = "0s", allow_hyphen_values = true, value_parser = super::duration::wait)]
    wait: Duration,
    #[command(flatten)]
    retry: RetryArguments,
    #[command(flatten)]
    printing: SinkArguments,
}

impl Stream {
    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        self.retry.check()?;
        let mut sink = Sink::new(self.printing, environment).await?;
        let ConsumerArguments { name, from, filter } = self.wanted;
        let wanted = Subscribe {
            start: from,
            filter: filter.filter(None),
            consumer: Some(name.clone()),
            wait: self.wait,
            epoch: None,
        };
        let waiting = async { Some(format!("another session follows as {name}: waiting for its end")) };
        let subscription = tokio::select! {
            begun = store.subscribe(wanted) => begun?,
            signal = sink.signals.end() => return Ok(signals::exit_code(signal)),
            never = tell_of_a_wait(waiting) => never,
        };
        let retry = self.retry;
        let last = Instant::now();
        let mut session = Session {
            store,
            name,
            retry,
            sink,
            subscription,
            done: 0,
            seq: 0,
            committed: 0,
            last,
            given_up: 0,
        };
        let ended = session.run().await;
        session.tell_of_dead_letters();
        ended
    }
}

/// The state of a consumer stream.
struct Session<'a, S> {
    store: &'a S,
    /// The consumer.
    name: String,
    retry: RetryArguments,
    sink: Sink,
    subscription: Subscription,
    /// The number of changes that were processed.
    done: u64,
    /// Everything up to this seq was processed, or is not wanted.
    seq: u64,
    /// The seq up to which this process has committed.
    committed: u64,
    /// The time of the last commit.
    last: Instant,
    /// How many changes were given up and kept as dead letters.
    given_up: u64,
}

impl<S: Store> Session<'_, S> {
    async fn run(&mut self) -> Result<u8> {
        loop {
            if let Some(signal) = self.sink.signals.end().now_or_never() {
                return self.end(signals::exit_code(signal), Some(signal)).await;
            }
            let event = match self.subscription.next().now_or_never() {
                Some(event) => event,
                // There are no more changes for now: the output so far has been flushed.
                None => {
                    if self.sink.has_lost_its_reader() {
                        return Ok(exit_code::OK);
                    }
                    if let Some(signal) = self.commit(None).await? {
                        return Ok(signals::exit_code(signal));
                    }
                    tokio::select! {
                        event = self.subscription.next() => event,
                        code = self.sink.ended() => return Ok(code),
                    }
                }
            };
            let change = match event {
                Ok(Event::Change(change)) if self.retry.is_dead_letter(&change) => {
                    self.seq = change.seq;
                    continue;
                }
                Ok(Event::Change(change)) => change,
                // None of the examined changes is wanted.
                Ok(Event::Progress { seq, .. }) => {
                    self.seq = self.seq.max(seq);
                    continue;
                }
                // An event of a kind that this command knows nothing of.
                Ok(_) => continue,
                Err(error) => return self.fail(error).await,
            };
            let seq = change.seq;
            let told = match self.deal_with(change).await {
                Ok(Outcome::Failed(code, told)) => return self.end(code, told).await,
                Ok(Outcome::Last(signal)) => Some(signal),
                Ok(Outcome::Next) => None,
                Err(error) => return self.fail(error).await,
            };
            (self.seq, self.done) = (seq, self.done + 1);
            if told.is_some() || self.sink.is_enough(self.done) {
                return self.end(told.map_or(exit_code::OK, signals::exit_code), told).await;
            }
            if self.last.elapsed() >= limits::COMMIT_INTERVAL
                && let Some(signal) = self.commit(None).await?
            {
                return Ok(signals::exit_code(signal));
            }
        }
    }

    /// Processes a change, again when that fails and the user wants it.
    async fn deal_with(&mut self, change: Change) -> Result<Outcome> {
        let mut attempts = 0_u64;
        loop {
            attempts += 1;
            let code = match self.sink.deal_with(change.clone()).await? {
                // To give up every change for a mistyped command would lose them all.
                Outcome::Failed(code, None) if code != exit_code::OK && !child::is_not_run(code) => code,
                outcome => return Ok(outcome),
            };
            let Some(pause) = self.retry.pause(attempts) else {
                let (seq, changed) = (change.seq, output::escaped(&change.record.key));
                let given_up = self.retry.give_up(self.store, &self.name, change, attempts, code).await?;
                let times = output::counted(attempts, "time", "times");
                return Ok(match given_up {
                    Some(key) => {
                        self.given_up += 1;
                        output::note(&format!(
                            "the command failed {times} for change {seq}, of {changed}: it is kept as {}",
                            output::escaped(&key)
                        ));
                        Outcome::Next
                    }
                    None => {
                        output::note(&format!(
                            "the command failed {times} for change {seq}, of {changed}: {} begins with it again",
                            output::escaped(&self.name)
                        ));
                        Outcome::Failed(code, None)
                    }
                });
            };
            // What was processed before is not to come again, if this process is killed in the meantime.
            if let Some(signal) = self.commit(None).await? {
                return Ok(Outcome::Failed(signals::exit_code(signal), Some(signal)));
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                signal = self.sink.signals.end() => {
                    return Ok(Outcome::Failed(signals::exit_code(signal), Some(signal)));
                }
            }
        }
    }

    /// Says at the end how many changes were given up, and where they are.
    fn tell_of_dead_letters(&self) {
        if let Some(place) = self.retry.place_of(&self.name).filter(|_| self.given_up > 0) {
            let kept = output::counted(self.given_up, "change was", "changes were");
            output::note(&format!("{kept} given up, and kept under {}", output::escaped(&place)));
        }
    }

    /// Commits the processed changes, unless the output has no reader.
    async fn end(&mut self, code: u8, told: Option<Signal>) -> Result<u8> {
        if self.sink.has_lost_its_reader() {
            return Ok(code);
        }
        let told_meanwhile = self.commit(told).await?;
        Ok(if told.is_some() { code } else { told_meanwhile.map_or(code, signals::exit_code) })
    }

    /// Answers the signal that asks to end, which may come before or during the work: then the work must not wait for a
    /// daemon that does not come back.
    async fn commit(&mut self, told: Option<Signal>) -> Result<Option<Signal>> {
        let seq = self.seq;
        if seq <= self.committed {
            return Ok(told);
        }
        let (committed, told) = self.sink.signals.finish(self.subscription.commit(seq), told).await;
        match committed {
            Some(committed) => {
                committed?;
                (self.committed, self.last) = (seq, Instant::now());
            }
            None => output::note("what was dealt with last is not known to be committed: it may come again"),
        }
        Ok(told)
    }

    /// After an error the changes before it are still committed, if possible.
    async fn fail(&mut self, error: Error) -> Result<u8> {
        let _ = tokio::time::timeout(limits::END_GRACE, self.commit(None)).await;
        Err(error)
    }
}
