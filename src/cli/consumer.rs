//! `kv consumer`

use std::time::Duration;

use clap::{Args, Subcommand};
use futures_util::FutureExt as _;
use kv::limits;
use kv::store::{
    Code, ConsumerCommit, ConsumerGet, Error, Event, NameList, Reply, Result, Start, Store, Subscribe,
    Subscription, Write, WriteOperation,
};
use rustix::process::Signal;

use super::arguments::{ListFormat, number};
use super::lock::tell_of_a_wait;
use super::output::{self, ChangeView, ConsumerView};
use super::signals::{self, Terminations};
use super::watch::{self, Done, Printing};
use super::{WriteCommand, exit_code};

#[derive(Debug, Subcommand)]
pub(super) enum Consumer {
    /// Print the changes behind the position of a consumer: get NAME [LIMIT]
    Get(Get),
    /// Print how far a consumer is, and who follows as it
    Status {
        /// Consumer
        name: String,
    },
    /// Move the position of a consumer on, which makes it when it is not there, and print the position
    Commit(Commit),
    /// Forget a consumer
    Delete(Delete),
    /// Print the consumers
    List {
        /// Only consumers whose name starts with this
        #[arg(long, default_value = "", value_name = "PREFIX")]
        prefix: String,
        /// How consumers are printed
        #[arg(long, default_value = "json", value_name = "FORMAT")]
        output: ListFormat,
    },
    /// Print the changes behind the position and those that come, and commit them: stream NAME [-- COMMAND]
    Stream(Stream),
}

/// Which changes, and where a consumer begins that is not there.
#[derive(Debug, Args)]
struct Wanted {
    /// Consumer
    name: String,
    /// Where the consumer begins when it is not there: behind this seq; by default with the first change that is kept
    #[arg(long, alias = "after", value_name = "SEQ|now", value_parser = watch::start)]
    from: Option<Start>,
    /// Only changes of keys that start with this
    #[arg(long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// Only changes of records of this type
    #[arg(long = "of-type", value_name = "TYPE")]
    of_type: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Commit {
    /// Consumer
    name: String,
    /// The last seq that was dealt with
    seq: u64,
}

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// Consumer
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    wanted: Wanted,
    /// At most so many; by default 1000, -1 = as many as one page holds
    #[arg(allow_negative_numbers = true)]
    limit: Option<String>,
    /// How changes are printed
    #[arg(long, default_value = "json", value_name = "FORMAT")]
    output: ListFormat,
}

#[derive(Debug, Args)]
#[command(after_help = watch::VARIABLES)]
pub(super) struct Stream {
    #[command(flatten)]
    wanted: Wanted,
    /// How long to wait while somebody else follows under this name: 10s, 1h
    #[arg(long, default_value = "0s", allow_hyphen_values = true, value_parser = super::lock::wait)]
    wait: Duration,
    #[command(flatten)]
    printing: Printing,
}

impl Consumer {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        match self {
            Consumer::Commit(commit) => Some(commit),
            Consumer::Delete(delete) => Some(delete),
            _ => None,
        }
    }

    pub(super) async fn run(self, store: &impl Store) -> Result<u8> {
        match self {
            Consumer::Get(get) => get.run(store).await?,
            Consumer::Status { name } => match store.consumer_status(&name).await? {
                (head, Some(consumer)) => output::print_items(&[ConsumerView::of(&consumer, head)], false)?,
                (_, None) => {
                    return Err(Error::new(Code::NotFound, format!("there is no consumer {name}")));
                }
            },
            Consumer::List { prefix, output } => {
                let mut list = NameList { prefix, after: None };
                let mut consumers = Vec::new();
                let head = loop {
                    let page = store.consumers(list.clone()).await?;
                    consumers.extend(page.items);
                    list.after = page.next;
                    if list.after.is_none() {
                        break page.seq;
                    }
                };
                let views: Vec<_> = consumers.iter().map(|one| ConsumerView::of(one, head)).collect();
                output::print_items(&views, output == ListFormat::Json)?;
            }
            Consumer::Stream(stream) => return stream.run(store).await,
            Consumer::Commit(_) | Consumer::Delete(_) => {}
        }
        Ok(exit_code::OK)
    }
}

impl WriteCommand for Commit {
    fn write(&self) -> Result<Write> {
        let commit = ConsumerCommit { name: self.name.clone(), seq: self.seq, holder: None };
        Ok(WriteOperation::ConsumerCommit(commit).into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let Reply::Position { position } = reply else { return Ok(()) };
        output::print_line(&position.to_string())
    }
}

impl WriteCommand for Delete {
    fn write(&self) -> Result<Write> {
        Ok(WriteOperation::ConsumerDelete { name: self.name.clone() }.into())
    }

    fn print(&self, reply: Reply) -> Result<()> {
        if let Reply::Forgotten { deleted: false } = reply {
            output::note("there was no such consumer");
        }
        Ok(())
    }
}

impl Get {
    async fn run(self, store: &impl Store) -> Result<()> {
        let limit = number("LIMIT", self.limit.as_ref(), limits::PAGE_RECORDS as i64)?;
        let Wanted { name, from, prefix, of_type } = self.wanted;
        let get = ConsumerGet {
            name: name.clone(),
            start: from,
            limit: u64::try_from(limit).ok(),
            prefix,
            record_type: of_type,
        };
        let (changes, position) = store.consumer_get(get).await?;
        let views: Vec<_> = changes.changes.iter().map(ChangeView::from).collect();
        output::print_items(&views, self.output == ListFormat::Json)?;
        let done = changes.next - 1;
        if done > position {
            output::note(&format!("when they are dealt with: kv consumer commit {name} {done}"));
        }
        Ok(())
    }
}

impl Stream {
    async fn run(self, store: &impl Store) -> Result<u8> {
        let mut terminations = signals::terminations()?;
        let Wanted { name, from, prefix, of_type } = &self.wanted;
        let wanted = Subscribe {
            start: from.clone(),
            prefix: prefix.clone(),
            record_type: of_type.clone(),
            consumer: Some(name.clone()),
            wait: self.wait,
            epoch: None,
        };
        let waiting = async { Some(format!("another session follows as {name}: waiting for its end")) };
        let mut subscription = tokio::select! {
            begun = store.subscribe(wanted) => begun?,
            signal = terminations.recv() => return Ok(signals::exit_code(signal)),
            never = tell_of_a_wait(waiting) => never,
        };
        let mut uncommitted = Uncommitted::default();
        let mut done = 0;
        loop {
            if let Some(signal) = terminations.recv().now_or_never() {
                return self
                    .end(uncommitted, &mut subscription, signals::exit_code(signal), terminations)
                    .await;
            }
            let event = match subscription.next().now_or_never() {
                Some(event) => event?,
                // Nothing more is there: what was printed has gone out.
                None => {
                    if self.printing.has_lost_its_reader() {
                        return Ok(exit_code::OK);
                    }
                    if let Some(signal) = uncommitted.commit(&mut subscription, &mut terminations).await? {
                        return Ok(signals::exit_code(signal));
                    }
                    tokio::select! {
                        event = subscription.next() => event?,
                        signal = terminations.recv() => return Ok(signals::exit_code(signal)),
                        () = self.printing.lost_its_reader() => return Ok(exit_code::OK),
                    }
                }
            };
            match event {
                Event::Change(change) => {
                    let end = match self.printing.deal_with(&change, &mut terminations).await? {
                        Done::Failed(code) => {
                            return self.end(uncommitted, &mut subscription, code, terminations).await;
                        }
                        Done::Last(code) => Some(code),
                        Done::Next => None,
                    };
                    uncommitted.add(change.seq);
                    done += 1;
                    if let Some(code) = end.or(self.printing.is_enough(done).then_some(exit_code::OK)) {
                        return self.end(uncommitted, &mut subscription, code, terminations).await;
                    }
                    if (self.printing.runs_a_command() || uncommitted.count >= limits::PAGE_RECORDS)
                        && let Some(signal) = uncommitted.commit(&mut subscription, &mut terminations).await?
                    {
                        return Ok(signals::exit_code(signal));
                    }
                }
                // Nothing of what was looked at is wanted.
                Event::Progress { seq, .. } => uncommitted.add(seq),
            }
        }
    }

    /// Commits what was dealt with, unless nobody can have read it.
    async fn end(
        &self,
        mut done: Uncommitted,
        subscription: &mut Subscription,
        code: u8,
        mut terminations: Terminations,
    ) -> Result<u8> {
        if self.printing.has_lost_its_reader() {
            return Ok(code);
        }
        let told = done.commit(subscription, &mut terminations).await?;
        Ok(told.map_or(code, signals::exit_code))
    }
}

/// What was dealt with and not committed yet.
#[derive(Default)]
struct Uncommitted {
    seq: u64,
    count: usize,
}

impl Uncommitted {
    fn add(&mut self, seq: u64) {
        self.seq = seq;
        self.count += 1;
    }

    /// Answers the signal that asks to end meanwhile: nobody waits then for a daemon that does not come back.
    async fn commit(
        &mut self,
        subscription: &mut Subscription,
        terminations: &mut Terminations,
    ) -> Result<Option<Signal>> {
        if self.count == 0 {
            return Ok(None);
        }
        let mut committing = std::pin::pin!(subscription.commit(self.seq));
        let told = tokio::select! {
            biased;
            committed = &mut committing => {
                committed?;
                None
            }
            signal = terminations.recv() => {
                match tokio::time::timeout(limits::COMMIT_GRACE, committing).await {
                    Ok(committed) => drop(committed?),
                    Err(_) => output::note("what was printed last is not known to be committed: it may come again"),
                }
                Some(signal)
            }
        };
        self.count = 0;
        Ok(told)
    }
}
