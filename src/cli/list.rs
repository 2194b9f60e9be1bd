//! `kv list`

use clap::Args;
use kv::limits;
use kv::protocol::RecordBody;
use kv::store::{self, Result, Store};

use super::arguments::{ListFormat, number, usage};
use super::output;

#[derive(Debug, Args)]
#[command(override_usage = "kv list [OPTIONS] [OFFSET [LIMIT]]")]
pub(super) struct List {
    /// How many records are passed over and how many are printed at most (default: 0 and 1000; a LIMIT of -1 is all)
    #[arg(value_name = "NUMBER", allow_negative_numbers = true)]
    words: Vec<String>,
    /// Only keys beyond this one
    #[arg(long, value_name = "KEY")]
    after: Option<String>,
    /// From the last key to the first
    #[arg(long)]
    reverse: bool,
    /// Print the keys alone
    #[arg(long)]
    keys_only: bool,
    /// How records are printed
    #[arg(long, default_value = "json", value_name = "FORMAT")]
    output: ListFormat,
}

impl List {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let (offset, limit) = page_words(&words)?;
        let list = store::List {
            offset,
            limit,
            after: self.after,
            reverse: self.reverse,
            keys_only: self.keys_only,
            ..store::List::default()
        };
        if let Some(key) = print_list(store, list, self.output).await? {
            output::note(&format!(
                "there is more: go on with kv list --after {key:?}, or give a limit of -1"
            ));
        }
        Ok(())
    }
}

/// Reads `[OFFSET [LIMIT]]`.
pub(super) fn page_words(words: &[&str]) -> Result<(u64, Option<u64>)> {
    let word = |index: usize| words.get(index).map(|&word| word.to_owned());
    if words.len() > 2 {
        return Err(usage("there are arguments after OFFSET and LIMIT", "for example: kv list 0 100"));
    }
    let offset = number("OFFSET", word(0).as_ref(), 0)?;
    let limit = number("LIMIT", word(1).as_ref(), limits::PAGE_RECORDS as i64)?;
    let offset =
        u64::try_from(offset).map_err(|_| usage("OFFSET is not negative", "for example: kv list 0 -1"))?;
    Ok((offset, u64::try_from(limit).ok()))
}

/// Prints a listing page by page. Answers the last key when the listing has more records than the limit.
pub(super) async fn print_list(
    store: &impl Store,
    list: store::List,
    format: ListFormat,
) -> Result<Option<String>> {
    let keys_only = list.keys_only;
    let mut request = Some(list);
    // The last key of the previous page.
    let mut next = None;
    let reader = if keys_only {
        output::print_pages(format, async || {
            let Some(list) = request.take() else { return Ok(None) };
            let page = store.keys(list.clone()).await?;
            request = list.after_page(&page);
            next = page.next;
            Ok(Some(page.items))
        })
        .await?
    } else {
        output::print_pages(format, async || {
            let Some(list) = request.take() else { return Ok(None) };
            let page = store.page(list.clone()).await?;
            request = list.after_page(&page);
            next = page.next;
            Ok(Some(page.items.into_iter().map(RecordBody::from).collect()))
        })
        .await?
    };
    Ok(next.filter(|_| reader.is_continue()))
}
