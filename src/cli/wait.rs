//! `kv wait`: until a record is as wanted.

use std::time::Duration;

use clap::Args;
use kv::limits;
use kv::store::{
    Code, Error, Event, Filter, JsonText, Record, Result, Start, Store, Subscribe, Subscription,
};
use tokio::time::Instant;

use super::arguments::usage;
use super::jq::Expression;
use super::signals::{self, Signals};
use super::{exit_code, get, output, watch};

#[derive(Debug, Args)]
pub(super) struct Wait {
    /// Key
    key: String,
    #[command(flatten)]
    state: StateArguments,
    /// How long to wait, as 30s or 10m (default: without a limit)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, value_parser = super::duration::wait)]
    timeout: Option<Duration>,
    /// Print the stored text as it is, in one line
    #[arg(long, conflicts_with = "absent")]
    raw: bool,
    /// Print a string without its quotes
    #[arg(long, conflicts_with_all = ["absent", "raw"])]
    text: bool,
}

/// What is waited for; a record, whatever its value is, unless one of these is given.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct StateArguments {
    /// Until the value is this JSON; white space, the order of members and the notation of numbers do not matter
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    value: Option<String>,
    /// Until there is no such key
    #[arg(long)]
    absent: bool,
    /// Until this jq expression makes something of the value that is neither false nor null
    #[arg(long, value_name = "EXPRESSION", allow_hyphen_values = true)]
    jq: Option<String>,
}

/// The state in which a record is wanted.
enum State {
    Present,
    Absent,
    Value(JsonText),
    Holds(Expression),
}

impl StateArguments {
    fn state(self) -> Result<State> {
        Ok(match self {
            StateArguments { absent: true, .. } => State::Absent,
            StateArguments { value: Some(value), .. } => {
                State::Value(JsonText::parse(&value).map_err(|error| {
                    usage(&format!("--value: {error}"), "quote a string as JSON: --value '\"text\"'")
                })?)
            }
            StateArguments { jq: Some(expression), .. } => State::Holds(Expression::parse(&expression)?),
            StateArguments { .. } => State::Present,
        })
    }
}

impl State {
    async fn is_reached(&self, record: Option<&Record>) -> Result<bool> {
        Ok(match (self, record) {
            (State::Absent, record) => record.is_none(),
            (_, None) => false,
            (State::Present, Some(_)) => true,
            (State::Value(wanted), Some(record)) => record.value.is_equal(wanted),
            (State::Holds(expression), Some(record)) => expression.holds(&record.value).await?,
        })
    }
}

impl State {
    /// What is there instead, in words.
    fn contradiction(&self, key: &str, record: Option<&Record>) -> String {
        let value = |record: &Record| output::cut(record.value.get(), limits::VALUE_TOLD_COLUMNS);
        match (self, record) {
            (State::Absent, _) => format!("{key:?} is still there"),
            (_, None) => format!("there is no key {key:?}"),
            (State::Value(wanted), Some(record)) => {
                let wanted = output::cut(wanted.get(), limits::VALUE_TOLD_COLUMNS);
                format!("the value of {key:?} is {}, not {wanted}", value(record))
            }
            (_, Some(record)) => {
                format!("the value of {key:?} is {}, for which the expression does not hold", value(record))
            }
        }
    }
}

impl Wait {
    pub(super) async fn run(self, store: &impl Store) -> Result<u8> {
        let state = self.state.state()?;
        let begun = Instant::now();
        let deadline = self.timeout.map(|timeout| begun + timeout);
        let mut signals = Signals::new()?;
        // However short the time is, what is there is looked at once.
        let patience = deadline.map(|deadline| deadline.max(begun + limits::END_GRACE));
        let (mut record, mut subscription) = tokio::select! {
            seen = look(store, &self.key) => seen?,
            signal = signals.end() => return Ok(signals::exit_code(signal)),
            () = watch::reached(patience) => {
                return Err(Error::new(Code::Timeout, "the store did not answer within the time"));
            }
        };
        let reached = tokio::select! {
            biased;
            reached = wait(&mut subscription, &state, &mut record) => reached,
            signal = signals.end() => return Ok(signals::exit_code(signal)),
            () = watch::reached(deadline) => {
                return Ok(watch::tell_late(&state.contradiction(&self.key, record.as_ref())));
            }
        };
        reached?;
        match record {
            Some(record) if self.raw => output::print_line(record.value.get())?,
            Some(record) if self.text => output::print_line(&get::text_of(&record)?)?,
            Some(record) => output::print_line(&record.value.pretty())?,
            None => {}
        }
        Ok(exit_code::OK)
    }
}

/// The record as it is now, and a subscription to its changes from now on.
async fn look(store: &impl Store, key: &str) -> Result<(Option<Record>, Subscription)> {
    // What is committed between the two calls is seen by both.
    let start = Some(Start::Now);
    let wanted = Subscribe { start, filter: Filter::key(key), ..Subscribe::default() };
    let subscription = store.subscribe(wanted).await?;
    Ok((store.get(key).await?, subscription))
}

/// Waits until the record is in this state; it is then as it was seen last.
async fn wait(subscription: &mut Subscription, state: &State, record: &mut Option<Record>) -> Result<()> {
    let seen = record.as_ref().map_or(0, |record| record.revision);
    while !state.is_reached(record.as_ref()).await? {
        *record = loop {
            if let Event::Change(change) = subscription.next().await?
                && change.seq > seen
            {
                break change.remaining();
            }
        };
    }
    Ok(())
}
