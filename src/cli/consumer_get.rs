//! `kv consumer get`: the changes after the position of a consumer, which stays where it is.

use clap::Args;
use kv::store::{self, ConsumerGet, Filter, Result, Store};

use super::consumer::ConsumerArguments;
use super::format::{self, OutputFormat};
use super::listing::Rest;
use super::number;
use super::output::ListPrinter;
use super::settings::Settings;

#[derive(Debug, Args)]
pub(super) struct Get {
    #[command(flatten)]
    wanted: ConsumerArguments,
    /// The same as --limit
    #[arg(value_name = "LIMIT", conflicts_with = "limit", value_parser = number::signed)]
    limit_word: Option<i64>,
    /// Print at most so many; -1 = all, which is the default
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, value_parser = number::signed)]
    limit: Option<i64>,
    /// How changes are printed (default: a table on a terminal, otherwise json)
    #[arg(long, value_name = "FORMAT", value_parser = OutputFormat::one_of(format::NAMES))]
    output: Option<OutputFormat>,
}

impl Get {
    pub(super) async fn run(self, store: &impl Store, settings: &Settings) -> Result<()> {
        let limit = self.limit.or(self.limit_word).and_then(|limit| u64::try_from(limit).ok());
        let ConsumerArguments { name, from, filter: options } = self.wanted;
        let filter = options.filter(None);
        let get = ConsumerGet { name: name.clone(), start: from, limit, filter: filter.clone() };
        let (page, position) = store.consumer_get(get).await?;
        let mut done = page.next - 1;
        let mut request =
            Some(store::Stream { seq: position + 1, limit, filter, ..store::Stream::default() });
        if let Some(request) = request.as_mut().filter(|request| request.after_page(&page).is_some()) {
            request.filter = kept_filter(store, &name, &request.filter).await?;
        }
        let mut first = Some(page);
        let printer = ListPrinter::new(self.output, settings);
        let reader = printer.print(async || {
            let Some(query) = request.take() else { return Ok(None) };
            let page = match first.take() {
                Some(page) => page,
                None => store.changes(query.clone()).await?,
            };
            done = page.next - 1;
            request = query.after_page(&page);
            Ok(Some(page.changes))
        });
        if reader.await?.is_continue() && done > position {
            let commit = options.tell(Rest::of("consumer commit", &[&name, &done.to_string()]));
            commit.tell_when("when they are dealt with", settings);
        }
        Ok(())
    }
}

/// What a consumer wants: the filter that is kept with it, unless the user names one.
async fn kept_filter(store: &impl Store, name: &str, named: &Filter) -> Result<Filter> {
    if !named.is_all() {
        return Ok(named.clone());
    }
    let (_, consumer) = store.consumer_status(name).await?;
    Ok(consumer.map(|consumer| consumer.filter).unwrap_or_default())
}
