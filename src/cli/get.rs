//! `kv get`

use clap::Args;
use kv::protocol::RecordBody;
use kv::store::{Code, Error, Record, Result, Selector, Store, history};

use super::arguments::{spelled, usage};
use super::batch::Batch;
use super::format::OutputFormat;
use super::list::Records;
use super::listing::{ListingArguments, Rest};
use super::settings::Settings;
use super::{number, output};

/// Words that select what to get; `kv get key KEY` reads a key of such a name.
pub(super) const KINDS: &[&str] = &["key", "batch", "prefix", "range", "type"];

const FORMS: &str = "its forms: kv get KEY…, kv get key KEY, kv get batch KEY…, kv get prefix P, kv get range FROM TO, kv get type T";

/// What one record, or several, can be printed as.
const FORMATS: &[OutputFormat] = &[
    OutputFormat::Table,
    OutputFormat::Json,
    OutputFormat::Ndjson,
    OutputFormat::Text,
    OutputFormat::Record,
];

#[derive(Debug, Args)]
#[command(override_usage = "\
kv get [OPTIONS] KEY...
       kv get [OPTIONS] key KEY
       kv get [OPTIONS] batch KEY...
       kv get [OPTIONS] prefix PREFIX [OFFSET [LIMIT]]
       kv get [OPTIONS] range FROM TO [OFFSET [LIMIT]]
       kv get [OPTIONS] type TYPE [OFFSET [LIMIT]]")]
pub(super) struct Get {
    /// Key or keys, a prefix, a range from FROM to TO, which is not in it, or a type; OFFSET and LIMIT count records
    #[arg(value_name = "WORD", required_unless_present = "key_flag")]
    words: Vec<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY")]
    key_flag: Option<String>,
    /// Print the stored text as it is, in one line
    #[arg(long, conflicts_with_all = ["text", "listing_output"])]
    raw: bool,
    /// Print a string without its quotes
    #[arg(long, conflicts_with = "listing_output")]
    text: bool,
    /// Print the version of the key instead of its value
    #[arg(long, conflicts_with_all = ["raw", "text", "listing_output"])]
    print_version: bool,
    /// Of one key: as it was behind this change, as far as the stream tells
    #[arg(long, value_name = "SEQ", value_parser = number::count)]
    at: Option<u64>,
    /// Of several keys, fail when one does not exist
    #[arg(long)]
    all_or_fail: bool,
    #[command(flatten)]
    listing: ListingArguments,
    /// Of one key: json is the value, text a string. Of several (default: a table on a terminal, otherwise json)
    #[arg(long, id = "listing_output", value_name = "FORMAT", value_parser = OutputFormat::one_of(FORMATS))]
    output: Option<OutputFormat>,
}

/// The string that a record holds.
///
/// # Errors
/// `bad_request` when it holds something else.
pub(super) fn text_of(record: &Record) -> Result<String> {
    record
        .value
        .to()
        .map_err(|_| usage(&format!("the value of {:?} is not a string", record.key), "use --raw"))
}

impl Get {
    pub(super) async fn run(mut self, store: &impl Store, settings: &Settings) -> Result<()> {
        self.listing.take_null(&mut self.words);
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let owned = |word: &str| word.to_owned();
        let (selector, page) = match (words.as_slice(), self.key_flag.as_deref()) {
            ([] | ["key"], Some(key)) => return self.one(store, key).await,
            (["key", key], None) => return self.one(store, key).await,
            ([key], None) if !KINDS.contains(key) => return self.one(store, key).await,
            (["batch", keys @ ..], None) if !keys.is_empty() => {
                return self.batch(store, settings, keys).await;
            }
            (keys @ [first, _, ..], None) if !KINDS.contains(first) => {
                return self.batch(store, settings, keys).await;
            }
            (["prefix", prefix, page @ ..], None) => (Selector::Prefix(owned(prefix)), page),
            (["range", from, to, page @ ..], None) => {
                (Selector::Range { from: owned(from), to: owned(to) }, page)
            }
            (["type", record_type, page @ ..], None) => (Selector::Type(owned(record_type)), page),
            _ => return Err(usage("kv get does not understand these words", FORMS)),
        };
        if self.all_or_fail {
            return Err(usage("--all-or-fail is for keys that are named", "leave it out"));
        }
        self.check_several()?;
        let named = &words[..words.len() - page.len()];
        let records = Records {
            window: self.listing.window(page)?,
            printer: self.listing.printer(self.output, settings)?,
            rest: Rest::of("get", named).option("--output", self.output.as_ref().map(spelled).as_deref()),
            selector,
        };
        records.show(store, self.listing, settings).await
    }

    async fn one(&self, store: &impl Store, key: &str) -> Result<()> {
        if let Some(option) = self.listing.given() {
            return Err(usage(
                &format!("{option} is for several records, and this is one key"),
                "kv get batch KEY… prints a list of one record",
            ));
        }
        if self.output == Some(OutputFormat::Table) {
            return Err(usage(
                "--output table is for several records, and this is one key",
                "kv get batch KEY… prints a table of one record",
            ));
        }
        let record = match self.at {
            Some(revision) => history::record_at(store, key, revision).await?,
            None => store.get(key).await?,
        };
        let record = record.ok_or_else(|| {
            let then = self.at.map_or_else(String::new, |seq| format!(" at seq {seq}"));
            Error::new(Code::NotFound, format!("there is no key {key:?}{then}"))
        })?;
        let text = if self.print_version {
            record.version.to_string()
        } else if self.raw {
            record.value.get().to_owned()
        } else if self.text || self.output == Some(OutputFormat::Text) {
            text_of(&record)?
        } else if matches!(self.output, None | Some(OutputFormat::Json)) {
            record.value.pretty()
        } else {
            return output::print_item(&RecordBody::from(record));
        };
        output::print_line(&text)
    }

    async fn batch(&self, store: &impl Store, settings: &Settings, keys: &[&str]) -> Result<()> {
        self.check_several()?;
        let mut batch = Batch::new(keys, &self.listing)?;
        let printer = self.listing.printer(self.output, settings)?;
        let reader = self.listing.show(&printer, async || batch.next_page(store).await).await?;
        if reader.is_continue() {
            if let Some(last) = batch.last().filter(|_| !self.listing.count) {
                let words = [&["batch"], keys].concat();
                let rest = Rest::of("get", &words).flag("--all-or-fail", self.all_or_fail);
                let rest = rest.option("--output", self.output.as_ref().map(spelled).as_deref());
                rest.after(last, &self.listing).tell(settings);
            }
            batch.tell_missing(self.all_or_fail)?;
        }
        Ok(())
    }

    /// Refuses what is for one key alone.
    fn check_several(&self) -> Result<()> {
        let options = [
            (self.raw, "--raw"),
            (self.text, "--text"),
            (self.print_version, "--print-version"),
            (self.at.is_some(), "--at"),
            (self.output == Some(OutputFormat::Record), "--output record"),
        ];
        match options.into_iter().find(|(is_given, _)| *is_given) {
            None => Ok(()),
            Some((_, option)) => Err(usage(
                &format!("{option} is for one key, and these are several records"),
                "--output ndjson prints a record per line, for jq",
            )),
        }
    }
}
