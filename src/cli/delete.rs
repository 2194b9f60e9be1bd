//! `kv delete`

use clap::Args;
use kv::store::{self, Result, Store};

use super::arguments::{ConditionArguments, usage};
use super::output;

#[derive(Debug, Args)]
pub(super) struct Delete {
    /// KEY | key KEY…
    #[arg(required_unless_present = "key_flag")]
    words: Vec<String>,
    /// Key, as a flag
    #[arg(long = "key", value_name = "KEY", conflicts_with = "words")]
    key_flag: Option<String>,
    #[command(flatten)]
    condition: ConditionArguments,
}

impl Delete {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let keys = match (self.words.as_slice(), self.key_flag) {
            (_, Some(key)) => vec![key],
            ([word, keys @ ..], None) if word == "key" && !keys.is_empty() => keys.to_vec(),
            ([key], None) if !matches!(key.as_str(), "key" | "prefix" | "range") => vec![key.clone()],
            _ => {
                return Err(usage("these words name nothing to delete", "kv delete KEY, kv delete key KEY…"));
            }
        };
        let mut delete = store::Delete::keys(keys);
        delete.condition = self.condition.condition()?;
        output::print_line(&store.delete(delete).await?.deleted.to_string())
    }
}
