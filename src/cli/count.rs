//! `kv count`

use clap::Args;
use kv::store::{Result, Selector, Store};

use super::arguments::usage;
use super::output;

#[derive(Debug, Args)]
#[command(override_usage = "\
kv count [OPTIONS] [all]
       kv count [OPTIONS] prefix PREFIX
       kv count [OPTIONS] range FROM TO
       kv count [OPTIONS] type TYPE")]
pub(super) struct Count {
    /// All records, which is the default, those with a prefix, those from the key FROM to the key TO, which is not in it, or those of a type
    #[arg(value_name = "WORD")]
    words: Vec<String>,
}

impl Count {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let selector = match words.as_slice() {
            [] | ["all"] => Selector::All,
            ["prefix", prefix] => Selector::Prefix((*prefix).to_owned()),
            ["range", from, to] => Selector::Range { from: (*from).to_owned(), to: (*to).to_owned() },
            ["type", record_type] => Selector::Type((*record_type).to_owned()),
            _ => {
                return Err(usage(
                    "kv count does not understand these arguments",
                    "its forms: kv count, kv count all, kv count prefix P, kv count range FROM TO, kv count type T",
                ));
            }
        };
        output::print_line(&store.count_of(selector).await?.to_string())
    }
}
