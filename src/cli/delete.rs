//! `kv delete`

use std::io::{self, IsTerminal as _};
use std::pin::pin;

use clap::Args;
use kv::limits;
use kv::store::{self, Error, Mutation, Reply, Request, Result, Selector, Store, Target, Write};

use super::arguments::{ConditionArguments, GuardArguments, usage};
use super::connect::OpenStore;
use super::settings::Settings;
use super::signals::{self, Signals};
use super::{WriteCommand, connect, exit_code, hint, number, output, progress};

/// Words that select what to delete; `kv delete key KEY` removes a key of such a name.
const KINDS: &[&str] = &["key", "prefix", "range"];

const FORMS: &str = "its forms: kv delete KEY…, kv delete key KEY…, kv delete prefix P, kv delete range FROM TO, kv delete --all";

#[derive(Debug, Args)]
#[command(override_usage = "\
kv delete [OPTIONS] KEY...
       kv delete [OPTIONS] key KEY...
       kv delete [OPTIONS] prefix PREFIX
       kv delete [OPTIONS] range FROM TO
       kv delete [OPTIONS] --all")]
pub(super) struct Delete {
    /// Key or keys, a prefix, or a range from the key FROM to the key TO, which is not in it
    #[arg(value_name = "WORD", required_unless_present_any = ["key_flag", "all"])]
    words: Vec<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY", conflicts_with = "words")]
    key_flag: Option<String>,
    /// Every record
    #[arg(long)]
    all: bool,
    /// Pass over so many records first
    #[arg(long, value_name = "RECORDS", default_value_t = 0, value_parser = number::count)]
    offset: u64,
    /// Remove at most so many records; -1 = all
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true, default_value_t = -1, value_parser = number::signed)]
    limit: i64,
    /// Print how many records it would be, and remove none
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    condition: ConditionArguments,
    #[command(flatten)]
    guard: GuardArguments,
}

impl WriteCommand for Delete {
    fn write(&self) -> Result<Write> {
        Ok(self.guard.write(Mutation::Delete(store::Delete {
            target: self.target()?,
            condition: self.condition.condition()?,
            offset: self.offset,
            limit: self.limit(),
        })))
    }

    fn print(&self, reply: Reply) -> Result<()> {
        let deleted = if let Reply::Deleted(deleted) = reply { deleted.deleted } else { 0 };
        output::print_line(&deleted.to_string())
    }
}

impl Delete {
    pub(super) fn as_write(&self) -> Option<&dyn WriteCommand> {
        if self.dry_run { None } else { Some(self) }
    }

    /// Counts what would be removed; a condition is not looked at.
    pub(super) async fn dry_run(self, store: &impl Store) -> Result<()> {
        let present = match self.target()? {
            Target::Keys(keys) => {
                let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
                store.get_batch(&keys).await?.len() as u64
            }
            Target::Selection(selector) => store.count_of(selector).await?,
        };
        output::note("nothing was deleted: this is a dry run");
        output::print_line(&self.reached(present).to_string())
    }

    /// Runs the delete and answers the exit code. That of a prefix or range may take long: who interrupts it is told how far
    /// it is.
    pub(super) async fn run(&self, request: Request, store: &OpenStore, settings: &Settings) -> Result<u8> {
        let Target::Selection(selector) = self.target()? else {
            return store.call(request).await.and_then(|reply| self.print(reply)).map(|()| exit_code::OK);
        };
        let mut signals = Signals::new()?;
        let mut answer = pin!(self.answer(request, store, settings, &selector));
        let signal = tokio::select! {
            reply = &mut answer => return self.print(reply?).map(|()| exit_code::OK),
            signal = signals.end() => signal,
        };
        match store {
            OpenStore::Local(local) => {
                local.break_off();
                let reply = tokio::select! {
                    reply = answer => reply,
                    signal = signals.end() => return Ok(signals::exit_code(signal)),
                };
                match reply {
                    Ok(reply) => self.print(reply)?,
                    Err(error) => output::print_error(&hint::for_store(interrupted(error), settings)),
                }
            }
            OpenStore::Remote(_) => {
                let left = tokio::time::timeout(limits::END_GRACE, left(&selector, settings)).await;
                let left = left.ok().and_then(Result::ok).map_or_else(String::new, |left| {
                    format!("; {} left of what it covers", output::counted(left, "record is", "records are"))
                });
                output::note(&format!("interrupted: the daemon goes on with the delete{left}"));
            }
        }
        Ok(signals::exit_code(signal))
    }

    /// Sends the delete and waits for its answer. A terminal is told meanwhile how far it is.
    async fn answer(
        &self,
        request: Request,
        store: &OpenStore,
        settings: &Settings,
        selector: &Selector,
    ) -> Result<Reply> {
        if !io::stderr().is_terminal() {
            return store.call(request).await;
        }
        let present = store.count_of(selector.clone()).await?;
        // A connection answers in order: what is asked on that of the delete waits for its end.
        let other = match store {
            OpenStore::Remote(_) => Some(connect::open(settings).await?),
            OpenStore::Local(_) => None,
        };
        let other = other.as_ref().unwrap_or(store);
        progress::deleting(self.reached(present), store.call(request), async || {
            other.count_of(selector.clone()).await.map(|left| present.saturating_sub(left))
        })
        .await
    }

    /// How many of the present records are deleted.
    fn reached(&self, present: u64) -> u64 {
        present.saturating_sub(self.offset).min(self.limit().unwrap_or(u64::MAX))
    }

    fn limit(&self) -> Option<u64> {
        u64::try_from(self.limit).ok()
    }

    fn target(&self) -> Result<Target> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let keys = |keys: &[&str]| Target::Keys(keys.iter().map(|&key| key.to_owned()).collect());
        match (words.as_slice(), &self.key_flag, self.all) {
            (_, Some(key), false) => Ok(keys(&[key])),
            ([] | ["prefix", ""], None, true) => Ok(Target::Selection(Selector::All)),
            (["prefix", prefix], None, false) => {
                Ok(Target::Selection(Selector::Prefix((*prefix).to_owned())))
            }
            (["range", from, to], None, false) => {
                Ok(Target::Selection(Selector::Range { from: (*from).to_owned(), to: (*to).to_owned() }))
            }
            (["key", named @ ..], None, false) if !named.is_empty() => Ok(keys(named)),
            (named @ [first, ..], None, false) if !KINDS.contains(first) => Ok(keys(named)),
            _ => Err(usage("kv delete does not understand these words", FORMS)),
        }
    }
}

/// How many records are left, asked on a connection of its own: that of the delete answers in order.
async fn left(selector: &Selector, settings: &Settings) -> Result<u64> {
    let store = connect::open(settings).await?;
    let left = store.count_of(selector.clone()).await;
    store.close().await;
    left
}

/// The error of a delete that the user has interrupted.
fn interrupted(mut error: Error) -> Error {
    error.message = format!("interrupted: {}", error.message);
    error
}
