//! `kv get`

use clap::{Args, ValueEnum};
use kv::protocol::RecordBody;
use kv::store::{Code, Error, List, Page, Read, Record, Request, Result, Selector, Store};

use super::arguments::{ListFormat, usage};
use super::list::{page_words, print_list};
use super::output;

/// Words that select what to get; `kv get key KEY` reads a key of such a name.
const KINDS: &[&str] = &["key", "batch", "prefix", "range", "type"];

#[derive(Debug, Args)]
#[command(override_usage = "\
kv get [OPTIONS] KEY
       kv get [OPTIONS] key KEY
       kv get [OPTIONS] batch KEY...
       kv get [OPTIONS] prefix PREFIX [OFFSET [LIMIT]]
       kv get [OPTIONS] range FROM TO [OFFSET [LIMIT]]
       kv get [OPTIONS] type TYPE [OFFSET [LIMIT]]")]
pub(super) struct Get {
    /// Key or keys, a prefix, a range from the key FROM to the key TO, which is not in it, or a type; OFFSET and LIMIT are numbers of records (default: 0 and 1000; a LIMIT of -1 is all)
    #[arg(value_name = "WORD", allow_negative_numbers = true, required_unless_present = "key_flag")]
    words: Vec<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY")]
    key_flag: Option<String>,
    /// Print the stored text as it is, in one line
    #[arg(long, conflicts_with_all = ["text", "output"])]
    raw: bool,
    /// Print a string without its quotes
    #[arg(long, conflicts_with = "output")]
    text: bool,
    /// For one key: the value (json) or the whole record; for several: one array (json) or one record per line (ndjson)
    #[arg(long, default_value = "json", value_name = "FORMAT")]
    output: Format,
    /// Print the version of the key instead of its value
    #[arg(long)]
    print_version: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Record,
    Ndjson,
}

impl Get {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match (words.as_slice(), self.key_flag.as_deref()) {
            ([] | ["key"], Some(key)) => self.one(store, key).await,
            (["key", key], None) => self.one(store, key).await,
            ([key], None) if !KINDS.contains(key) => self.one(store, key).await,
            (["batch", keys @ ..], None) if !keys.is_empty() => self.batch(store, keys).await,
            (["prefix", prefix, rest @ ..], None) => {
                self.several(store, Selector::Prefix((*prefix).to_owned()), rest).await
            }
            (["range", from, to, rest @ ..], None) => {
                let selector = Selector::Range { from: (*from).to_owned(), to: (*to).to_owned() };
                self.several(store, selector, rest).await
            }
            (["type", record_type, rest @ ..], None) => {
                self.several(store, Selector::Type((*record_type).to_owned()), rest).await
            }
            _ => Err(usage(
                "kv get does not understand these arguments",
                "kv get KEY, kv get key KEY, kv get batch KEY…, kv get prefix P, kv get range FROM TO, kv get type T",
            )),
        }
    }

    async fn one(&self, store: &impl Store, key: &str) -> Result<()> {
        let record = store
            .get(key)
            .await?
            .ok_or_else(|| Error::new(Code::NotFound, format!("there is no key {key:?}")))?;
        let text = if self.print_version {
            record.version.to_string()
        } else if self.raw {
            record.value.get().to_owned()
        } else if self.text {
            record.value.to::<String>().map_err(|_| {
                Error::new(Code::BadRequest, format!("the value of {key:?} is not a string"))
                    .hint("use --raw")
            })?
        } else if self.output == Format::Json {
            record.value.pretty()
        } else {
            return output::print_item(&RecordBody::from(record));
        };
        output::print_line(&text)
    }

    async fn batch(&self, store: &impl Store, keys: &[&str]) -> Result<()> {
        let mut wanted: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        let printed = output::print_pages(self.format(), async || {
            if wanted.is_empty() {
                return Ok(None);
            }
            let request = Request::Read(Read::GetBatch { keys: wanted.clone() });
            let page: Page<Record> = store.call(request).await?.try_into()?;
            match page.next.map(|next| wanted.iter().position(|key| *key == next)) {
                None => wanted.clear(),
                Some(Some(position)) if position > 0 => drop(wanted.drain(..position)),
                Some(_) => return Err(Error::new(Code::Internal, "a page of get batch went nowhere")),
            }
            Ok(Some(page.items.into_iter().map(RecordBody::from).collect()))
        });
        printed.await.map(drop)
    }

    async fn several(&self, store: &impl Store, selector: Selector, words: &[&str]) -> Result<()> {
        let (offset, limit) = page_words(words)?;
        let list = List { selector, offset, limit, ..List::default() };
        if print_list(store, list, self.format()).await?.is_some() {
            let next = offset.saturating_add(limit.unwrap_or(0));
            output::note(&format!("there is more: go on with an OFFSET of {next}, or give a LIMIT of -1"));
        }
        Ok(())
    }

    fn format(&self) -> ListFormat {
        if self.output == Format::Ndjson { ListFormat::Ndjson } else { ListFormat::Json }
    }
}
