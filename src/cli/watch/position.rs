//! Where in the stream a command begins.

use clap::Args;
use kv::store::{Filter, Result, Start, Store, Timestamp, history};

use super::super::{duration, number};

/// The first change of a command that follows the stream.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(in crate::cli) struct StartArguments {
    /// Begin after this seq, the last one seen; 0 = with the first change of the store (default: now)
    #[arg(long, value_name = "SEQ|now", value_parser = start)]
    after: Option<Start>,
    /// Begin with the changes since then, as 1h (ago), 2026-01-31 or 2026-01-31T08:00 (local time)
    #[arg(long, value_name = "TIME", value_parser = duration::moment)]
    since: Option<Timestamp>,
    /// Begin with the first change that is kept
    #[arg(long)]
    first: bool,
    /// Begin with the last N changes of those that are wanted
    #[arg(long, value_name = "N", value_parser = number::count)]
    last: Option<u64>,
}

/// Reads a position in the stream.
pub(in crate::cli) fn start(text: &str) -> std::result::Result<Start, String> {
    match text {
        "now" => Ok(Start::Now),
        _ => number::count(text).map(Start::After).map_err(|_| "a position is a seq or \"now\"".to_owned()),
    }
}

impl StartArguments {
    /// The position, for these changes.
    pub(super) async fn resolve(self, store: &dyn Store, filter: &Filter) -> Result<Start> {
        let seq = match self {
            StartArguments { first: true, .. } => history::seq_before_first(store).await?,
            StartArguments { since: Some(time), .. } => history::seq_before(store, time).await?,
            StartArguments { last: Some(count), .. } => {
                history::seq_before_newest(store, count, filter.clone()).await?
            }
            StartArguments { after, .. } => return Ok(after.unwrap_or(Start::Now)),
        };
        Ok(Start::After(seq))
    }
}
