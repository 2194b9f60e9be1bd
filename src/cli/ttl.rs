//! `kv ttl`

use clap::{Args, ValueEnum};
use kv::store::{Code, Error, Result, Store};
use serde::Serialize;

use super::{duration, output};

#[derive(Debug, Args)]
pub(super) struct Ttl {
    /// Key
    key: String,
    /// A duration (text), or milliseconds and the instant (json)
    #[arg(long, default_value = "text", value_name = "FORMAT")]
    output: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What is left of the time of a record, by the clock of this machine. Both are null when the record stays.
#[derive(Serialize)]
struct Left {
    ttl_ms: Option<u64>,
    expires: Option<String>,
}

impl Ttl {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let Some(record) = store.get(&self.key).await? else {
            return Err(Error::new(Code::NotFound, format!("there is no key {:?}", self.key)));
        };
        let left_ms = record.expires.map(duration::left_ms);
        match self.output {
            Format::Text => output::print_line(&left_ms.map_or_else(|| "none".to_owned(), duration::shown)),
            Format::Json => {
                let expires = record.expires.map(|expires| expires.to_string());
                output::print_item(&Left { ttl_ms: left_ms, expires })
            }
        }
    }
}
