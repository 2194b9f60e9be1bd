//! What becomes of a change for which the program of a consumer fails.

use std::time::Duration;

use clap::Args;
use kv::limits;
use kv::protocol::ChangeBody;
use kv::store::{Change, Code, JsonText, Put, Result, Store};
use serde::Serialize;

use super::super::arguments::usage;
use super::super::number;

#[derive(Debug, Clone, Args)]
pub(in crate::cli) struct RetryArguments {
    /// Run COMMAND again when it fails, up to so many times, with growing pauses
    #[arg(long, value_name = "COUNT", default_value_t = 0, requires = "command", value_parser = number::count)]
    retries: u64,
    /// After that store the change under PREFIX/CONSUMER/SEQ, and go on with the next one, instead of ending
    #[arg(long, value_name = "PREFIX", requires = "command", allow_hyphen_values = true)]
    dead_letter: Option<String>,
}

/// A change that was given up, as it is stored.
#[derive(Serialize)]
struct DeadLetter<'a> {
    consumer: &'a str,
    attempts: u64,
    exit_code: u8,
    change: &'a ChangeBody,
}

impl RetryArguments {
    /// # Errors
    /// A usage error for a prefix that no key can have.
    pub(super) fn check(&self) -> Result<()> {
        match &self.dead_letter {
            Some(prefix) if prefix.is_empty() => {
                Err(usage("--dead-letter has no prefix", "for example: --dead-letter dead"))
            }
            _ => Ok(()),
        }
    }

    /// The pause before the next attempt after this many; none when there is none.
    pub(super) fn pause(&self, attempts: u64) -> Option<Duration> {
        let doubled = 2_u32.saturating_pow(u32::try_from(attempts).unwrap_or(u32::MAX).saturating_sub(1));
        (attempts <= self.retries)
            .then(|| limits::RETRY_PAUSE.saturating_mul(doubled).min(limits::RETRY_PAUSE_MAX))
    }

    /// Whether a change is that of a dead letter: its consumer must not get it, or its failure would make another one.
    pub(super) fn is_dead_letter(&self, change: &Change) -> bool {
        let rest = |prefix: &String| change.record.key.strip_prefix(prefix.as_str());
        self.dead_letter.as_ref().and_then(rest).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The prefix of all dead letters of a consumer; none when none are kept.
    pub(super) fn place_of(&self, consumer: &str) -> Option<String> {
        self.dead_letter.as_ref().map(|prefix| format!("{prefix}/{consumer}/"))
    }

    /// Stores a change that is given up after this many attempts; answers its key, or none when nothing is to be stored.
    /// Storing it again after a crash replaces it.
    ///
    /// # Errors
    /// Those of a put.
    pub(super) async fn give_up(
        &self,
        store: &impl Store,
        consumer: &str,
        change: Change,
        attempts: u64,
        exit_code: u8,
    ) -> Result<Option<String>> {
        let Some(place) = self.place_of(consumer) else { return Ok(None) };
        let key = format!("{place}{}", change.seq);
        let letter = |change: Change| {
            let change = &ChangeBody::from(change);
            JsonText::of(&DeadLetter { consumer, attempts, exit_code, change })
        };
        let whole = letter(change.clone())?;
        match store.put(Put::new(&key, whole)).await {
            // The largest value leaves no room for what is told about it. The stream still has it.
            Err(error) if error.code == Code::TooLarge => {
                let mut change = change;
                change.record.value = JsonText::of(&())?;
                store.put(Put::new(&key, letter(change)?)).await?;
            }
            put => drop(put?),
        }
        Ok(Some(key))
    }
}
