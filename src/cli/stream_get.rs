//! `kv stream get`

use clap::Args;
use kv::store::{self, Result, Store};

use super::arguments::{spelled, usage};
use super::format::OutputFormat;
use super::list::FORMATS;
use super::listing::{ListingArguments, Rest, Window};
use super::number;
use super::settings::Settings;

const EXAMPLE: &str = "for example: kv stream get 1 100";

#[derive(Debug, Args)]
#[command(override_usage = "kv stream get [OPTIONS] [SEQ [LIMIT]]")]
pub(super) struct Get {
    /// The first change (default: the first one that is kept), and how many are printed at most
    #[arg(value_name = "NUMBER", allow_negative_numbers = true)]
    words: Vec<String>,
    /// Only changes of keys that start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Only changes of records of this type
    #[arg(long = "of-type", value_name = "TYPE", allow_hyphen_values = true)]
    of_type: Option<String>,
    #[command(flatten)]
    listing: ListingArguments,
    /// How changes are printed (default: a table on a terminal, otherwise json)
    #[arg(long, id = "listing_output", value_name = "FORMAT", value_parser = OutputFormat::one_of(FORMATS))]
    output: Option<OutputFormat>,
}

impl Get {
    pub(super) async fn run(mut self, store: &impl Store, settings: &Settings) -> Result<()> {
        self.listing.take_null(&mut self.words);
        if self.listing.reverse {
            return Err(usage("kv stream get prints changes in their order", "leave --reverse out"));
        }
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        if words.len() > 2 {
            return Err(usage("there are words after SEQ and LIMIT", EXAMPLE));
        }
        let limit = self.listing.limit_word(words.get(1))?;
        let mut window = Window::new(self.listing.offset.unwrap_or(0), limit);
        let printer = self.listing.printer(self.output, settings)?;
        let mut request = Some(store::Stream {
            seq: self.first(words.first())?,
            limit: window.asked(),
            prefix: self.prefix.clone(),
            record_type: self.of_type.clone(),
        });
        let mut last = None;
        let reader = self.listing.show(&printer, async || {
            let Some(query) = request.take().filter(|_| !window.has_more) else { return Ok(None) };
            let page = store.changes(query.clone()).await?;
            request = query.after_page(&page);
            let changes = window.cut(page.changes);
            last = changes.last().map(|change| change.seq).or(last);
            Ok(Some(changes))
        });
        let reader = reader.await?;
        if let Some(last) = last.filter(|_| window.has_more && reader.is_continue() && !self.listing.count) {
            let rest = Rest::of("stream get", &[])
                .option("--prefix", self.prefix.as_deref())
                .option("--of-type", self.of_type.as_deref())
                .option("--output", self.output.as_ref().map(spelled).as_deref());
            rest.after(&last.to_string(), &self.listing).tell(settings);
        }
        Ok(())
    }

    /// The seq of the first change; 0 = the first one that is kept.
    fn first(&self, word: Option<&&str>) -> Result<u64> {
        let read = |what: &str, text: &str| {
            number::count(text).map_err(|error| usage(&format!("{what}: {error}"), EXAMPLE))
        };
        match (word, &self.listing.after) {
            (Some(_), Some(_)) => {
                Err(usage("SEQ and --after both say where to begin", "leave one of them out"))
            }
            (Some(word), None) => read("SEQ", word),
            (None, Some(after)) => Ok(read("--after", after)?.saturating_add(1)),
            (None, None) => Ok(0),
        }
    }
}
