//! `kv list`, and every listing of records.

use std::path::Path;

use clap::Args;
use kv::quote::shell_word;
use kv::store::{self, Page, Result, Selector, Store};

use super::arguments::{spelled, usage};
use super::format::OutputFormat;
use super::get;
use super::listing::{ListingArguments, Rest, Window};
use super::number;
use super::output::{self, ListPrinter, Listed};
use super::settings::Settings;

/// What listings of records can be printed as.
pub(super) const FORMATS: &[OutputFormat] =
    &[OutputFormat::Table, OutputFormat::Json, OutputFormat::Ndjson, OutputFormat::Text];

#[derive(Debug, Args)]
#[command(override_usage = "kv list [OPTIONS] [PREFIX] [OFFSET [LIMIT]]")]
pub(super) struct List {
    /// Only keys that start with PREFIX, which is a word that is not a number; and how many records are passed over, and printed at most
    #[arg(value_name = "WORD")]
    words: Vec<String>,
    #[command(flatten)]
    listing: ListingArguments,
    /// How records are printed (default: a table on a terminal, otherwise json)
    #[arg(long, id = "listing_output", value_name = "FORMAT", value_parser = OutputFormat::one_of(FORMATS))]
    output: Option<OutputFormat>,
}

impl List {
    pub(super) async fn run(mut self, store: &impl Store, settings: &Settings) -> Result<()> {
        self.listing.take_null(&mut self.words);
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let (named, page) = match words.as_slice() {
            [prefix, page @ ..] if number::signed(prefix).is_err() => (&words[..1], page),
            page => (&words[..0], page),
        };
        if let ([kind], Some(word)) = (named, page.first())
            && get::KINDS.contains(kind)
            && number::signed(word).is_err()
        {
            let told: Vec<String> = words.iter().map(|word| shell_word(Path::new(word))).collect();
            return Err(usage(
                &format!("list takes a prefix alone, and {kind} would be that prefix"),
                &format!("kv get {}", told.join(" ")),
            ));
        }
        let selector = named.first().map_or(Selector::All, |&prefix| Selector::Prefix(prefix.to_owned()));
        let records = Records {
            window: self.listing.window(page)?,
            printer: self.listing.printer(self.output, settings)?,
            rest: Rest::of("list", named).option("--output", self.output.as_ref().map(spelled).as_deref()),
            selector,
        };
        records.show(store, self.listing, settings).await
    }
}

/// A listing of records.
pub(super) struct Records {
    pub(super) selector: Selector,
    pub(super) window: Window,
    pub(super) printer: ListPrinter,
    /// The same listing as a command, without the options of every listing.
    pub(super) rest: Rest,
}

impl Records {
    /// Prints the listing and, when a limit ends it, the command for the rest.
    pub(super) async fn show(
        self,
        store: &impl Store,
        listing: ListingArguments,
        settings: &Settings,
    ) -> Result<()> {
        if listing.count && listing.after.is_none() {
            let count = self.window.count(store.count_of(self.selector).await?);
            return output::print_line(&count.to_string());
        }
        let list = store::List {
            selector: self.selector.clone(),
            offset: self.window.offset,
            limit: self.window.limit,
            after: listing.after.clone(),
            reverse: listing.reverse,
            keys_only: listing.keys_only || listing.count,
        };
        let last = if list.keys_only {
            self.print_pages(&listing, list, async |list| store.keys(list).await).await?
        } else {
            self.print_pages(&listing, list, async |list| store.page(list).await).await?
        };
        if let Some(key) = last.filter(|_| !listing.count) {
            self.rest.after(&key, &listing).tell(settings);
        }
        Ok(())
    }

    /// Answers the last key when more follows behind the limit.
    async fn print_pages<T: Listed>(
        &self,
        listing: &ListingArguments,
        list: store::List,
        read: impl AsyncFn(store::List) -> Result<Page<T>>,
    ) -> Result<Option<String>> {
        let (mut request, mut next) = (Some(list), None);
        let reader = listing.show(&self.printer, async || {
            let Some(list) = request.take() else { return Ok(None) };
            let page = read(list.clone()).await?;
            request = list.after_page(&page);
            next = page.next;
            Ok(Some(page.items))
        });
        let reader = reader.await?;
        Ok(next.filter(|_| reader.is_continue()))
    }
}
