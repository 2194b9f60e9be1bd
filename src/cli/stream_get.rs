//! `kv stream get`, and `kv history` of one key.

use clap::Args;
use kv::store::{self, Filter, Read, Reply, Result, Store, Timestamp, history};

use super::arguments::{FilterArguments, spelled, usage};
use super::format::OutputFormat;
use super::list::FORMATS;
use super::listing::{ListingArguments, Rest, Window};
use super::settings::Settings;
use super::{duration, number, output};

const EXAMPLE: &str = "for example: kv stream get 1 100";

#[derive(Debug, Args)]
#[command(override_usage = "kv stream get [OPTIONS] [SEQ [LIMIT]]")]
pub(super) struct Get {
    /// The first change (default: the first one that is kept), and how many are printed at most
    #[arg(value_name = "NUMBER")]
    words: Vec<String>,
    #[command(flatten)]
    start: StartArguments,
    #[command(flatten)]
    filter: FilterArguments,
    #[command(flatten)]
    listing: ChangesArguments,
}

/// Where the changes begin, when no seq says so.
#[derive(Debug, Args)]
#[group(multiple = false)]
struct StartArguments {
    /// Begin with the changes since then, as 1h (ago), 2026-01-31 or 2026-01-31T08:00 (local time)
    #[arg(long, value_name = "TIME", value_parser = duration::moment, conflicts_with_all = ["words", "after", "reverse"])]
    since: Option<Timestamp>,
    /// Begin with the last N changes of those that are wanted
    #[arg(long, value_name = "N", value_parser = number::count, conflicts_with_all = ["words", "after", "reverse"])]
    last: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct History {
    /// Key
    key: String,
    #[command(flatten)]
    listing: ChangesArguments,
}

/// Which of the changes are printed, and how.
#[derive(Debug, Args)]
struct ChangesArguments {
    #[command(flatten)]
    listing: ListingArguments,
    /// How changes are printed (default: a table on a terminal, otherwise json)
    #[arg(long, id = "listing_output", value_name = "FORMAT", value_parser = OutputFormat::one_of(FORMATS))]
    output: Option<OutputFormat>,
}

impl Get {
    pub(super) async fn run(mut self, store: &impl Store, settings: &Settings) -> Result<()> {
        self.listing.listing.take_null(&mut self.words);
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        if words.len() > 2 {
            return Err(usage("there are words after SEQ and LIMIT", EXAMPLE));
        }
        let rest = self.filter.tell(Rest::of("stream get", &[]));
        let filter = self.filter.filter(None);
        let start = match self.start.before(store, &filter).await? {
            Some(seq) => Some(seq.saturating_add(1)),
            None => first(words.first(), &self.listing.listing)?,
        };
        let limit = words.get(1).copied();
        self.listing.print(store, settings, (start, limit), filter, rest).await
    }
}

impl StartArguments {
    /// The seq behind which the changes begin, if these options tell.
    async fn before(&self, store: &impl Store, filter: &Filter) -> Result<Option<u64>> {
        Ok(match (self.since, self.last) {
            (Some(time), _) => Some(history::seq_before(store, time).await?),
            (_, Some(count)) => Some(history::seq_before_newest(store, count, filter.clone()).await?),
            (None, None) => None,
        })
    }
}

impl History {
    pub(super) async fn run(self, store: &impl Store, settings: &Settings) -> Result<()> {
        let rest = Rest::of("history", &[&self.key]);
        let start = first(None, &self.listing.listing)?;
        self.listing.print(store, settings, (start, None), Filter::key(self.key), rest).await?;
        match store.call(Read::StreamSeq.into()).await? {
            Reply::Head { first, .. } if first > 1 => {
                output::note(&format!(
                    "the stream begins with change {first}: what was before it was trimmed"
                ));
            }
            _ => {}
        }
        Ok(())
    }
}

impl ChangesArguments {
    /// Prints the changes that the filter wants, from a seq on (none = no change), and as many as a word says; `rest` is the
    /// command without the options of a listing.
    async fn print(
        self,
        store: &impl Store,
        settings: &Settings,
        (start, limit): (Option<u64>, Option<&str>),
        filter: Filter,
        rest: Rest,
    ) -> Result<()> {
        let ChangesArguments { listing, output } = self;
        let limit = listing.limit_word(limit.as_ref())?;
        let mut window = Window::new(listing.offset.unwrap_or(0), limit);
        let printer = listing.printer(output, settings)?;
        let mut request = start.map(|seq| {
            let reverse = listing.reverse;
            store::Stream { seq, limit: window.asked(), reverse, filter }
        });
        let mut last = None;
        let reader = listing.show(&printer, async || {
            let Some(query) = request.take().filter(|_| !window.has_more) else { return Ok(None) };
            let page = store.changes(query.clone()).await?;
            request = query.after_page(&page);
            let changes = window.cut(page.changes);
            last = changes.last().map(|change| change.seq).or(last);
            Ok(Some(changes))
        });
        let reader = reader.await?;
        if let Some(last) = last.filter(|_| window.has_more && reader.is_continue() && !listing.count) {
            let rest = rest.option("--output", output.as_ref().map(spelled).as_deref());
            rest.after(&last.to_string(), &listing).tell(settings);
        }
        Ok(())
    }
}

/// The seq of the first change; 0 = the first one that is kept, or in reverse the last one. None when there is no change
/// behind the one that the user names.
fn first(word: Option<&&str>, listing: &ListingArguments) -> Result<Option<u64>> {
    let read = |what: &str, text: &str| {
        number::count(text).map_err(|error| usage(&format!("{what}: {error}"), EXAMPLE))
    };
    match (word, &listing.after) {
        (Some(_), Some(_)) => Err(usage("SEQ and --after both say where to begin", "leave one of them out")),
        (Some(word), None) => read("SEQ", word).map(Some),
        (None, Some(after)) if listing.reverse => {
            Ok(read("--after", after)?.checked_sub(1).filter(|&seq| seq > 0))
        }
        (None, Some(after)) => Ok(Some(read("--after", after)?.saturating_add(1))),
        (None, None) => Ok(Some(0)),
    }
}
