//! `kv watch`

mod position;
mod presence;
mod sink;

use std::time::Duration;

use clap::Args;
use kv::store::{Code, Error, Event, Result, Start, Store, Subscribe, Subscription};
use tokio::time::{Instant, sleep_until};

use self::position::StartArguments;
pub(super) use self::position::start;
use self::presence::Presence;
use self::sink::Delivery;
pub(super) use self::sink::{Outcome, Sink, SinkArguments};
use super::arguments::FilterArguments;
use super::environment::Environment;
use super::{exit_code, output, signals};

/// Prints changes as they are committed.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// Only changes of this key
    #[arg(value_name = "KEY", conflicts_with = "prefix")]
    key: Option<String>,
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    start: StartArguments,
    /// Print the records that are there first, as changes whose action is "present"; then the changes since, without a gap
    #[arg(long, conflicts_with = "StartArguments")]
    initial: bool,
    /// End after this time, as 30s or 10m; with --limit, fewer changes are an error then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = super::duration::wait)]
    timeout: Option<Duration>,
    #[command(flatten)]
    printing: SinkArguments,
}

/// What is followed: the records that are there, if they are wanted, and then the changes.
struct Source<'a, S> {
    store: &'a S,
    wanted: Subscribe,
    presence: Option<Presence>,
    subscription: Option<Subscription>,
}

impl Watch {
    pub(super) async fn run(self, store: &impl Store, environment: Environment) -> Result<u8> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        let filter = self.filter.filter(self.key);
        let mut sink = Sink::new(self.printing, environment).await?;
        let presence = self.initial.then(|| Presence::new(filter.clone()));
        let start = match &presence {
            Some(_) => None,
            None => tokio::select! {
                start = self.start.resolve(store, &filter) => Some(start?),
                signal = sink.signals.end() => return Ok(signals::exit_code(signal)),
            },
        };
        let wanted = Subscribe { start, filter, ..Subscribe::default() };
        let mut source = Source { store, wanted, presence, subscription: None };
        for done in 0.. {
            if sink.is_enough(done) {
                break;
            }
            let delivery = tokio::select! {
                delivery = source.next() => delivery?,
                code = sink.ended() => return Ok(code),
                () = reached(deadline) => return Ok(sink.late(done)),
            };
            match sink.deal_with(delivery).await? {
                Outcome::Next => {}
                Outcome::Last(signal) => return Ok(signals::exit_code(signal)),
                Outcome::Failed(code, _) => return Ok(code),
            }
        }
        Ok(exit_code::OK)
    }
}

impl<S: Store> Source<'_, S> {
    /// The next record or change.
    async fn next(&mut self) -> Result<Delivery> {
        loop {
            let Some(subscription) = &mut self.subscription else {
                if let Some(presence) = &mut self.presence {
                    if let Some(record) = presence.next(self.store).await? {
                        return Ok(Delivery::Present(record));
                    }
                    self.wanted.start = Some(presence.start());
                }
                let subscription = self.store.subscribe(self.wanted.clone()).await?;
                if output::is_terminal() {
                    let seen = if let Some(Start::After(seq)) = self.wanted.start {
                        seq
                    } else {
                        subscription.seq()
                    };
                    output::note(&format!("watching from seq {}", seen + 1));
                }
                self.subscription = Some(subscription);
                continue;
            };
            if let Event::Change(change) = subscription.next().await?
                && !self.presence.as_ref().is_some_and(|presence| presence.shows(&change))
            {
                return Ok(Delivery::Change(change));
            }
        }
    }
}

/// Reports what is not as wanted at the end of the time that the user gave, and answers the exit code.
pub(super) fn tell_late(message: &str) -> u8 {
    output::print_error(&Error::new(Code::Timeout, message).hint("give it more time with --timeout"));
    exit_code::NOT_YET
}

/// Waits until this time; for ever without one.
pub(super) async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
