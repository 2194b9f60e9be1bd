//! The records of keys that are named, in their order, page by page.

use std::collections::HashSet;

use kv::limits;
use kv::store::{Code, Error, Page, Read, Record, Request, Result, Store};

use super::arguments::usage;
use super::listing::{ListingArguments, Window};
use super::output;

/// The records of some keys, in the order in which the keys are named.
pub(super) struct Batch {
    /// The keys that were not asked for yet.
    keys: Vec<String>,
    window: Window,
    /// The keys that do not exist.
    missing: Vec<String>,
    /// The key of the last record that was wanted.
    last: Option<String>,
}

impl Batch {
    /// # Errors
    /// `bad_request` when the listing is to begin behind a key that is not among these.
    pub(super) fn new(keys: &[&str], listing: &ListingArguments) -> Result<Batch> {
        let mut keys: Vec<String> = keys.iter().map(|&key| key.to_owned()).collect();
        if listing.reverse {
            keys.reverse();
        }
        if let Some(after) = &listing.after {
            let Some(position) = keys.iter().position(|key| key == after) else {
                return Err(usage(
                    &format!("the key {after:?} of --after is not among these keys"),
                    "name it among them, or leave --after out",
                ));
            };
            keys.drain(..=position);
        }
        Ok(Batch { keys, window: listing.window(&[])?, missing: Vec::new(), last: None })
    }

    /// The next records; none when there are no more, or no more are wanted.
    pub(super) async fn next_page(&mut self, store: &impl Store) -> Result<Option<Vec<Record>>> {
        if self.keys.is_empty() || self.window.has_more {
            return Ok(None);
        }
        let asked = self.keys.len().min(limits::KEYS_PER_REQUEST);
        let request = Request::Read(Read::GetBatch { keys: self.keys[..asked].to_vec() });
        let page: Page<Record> = store.call(request).await?.try_into()?;
        let answered = match page.next.map(|next| self.keys.iter().position(|key| *key == next)) {
            None => asked,
            Some(Some(position)) if position > 0 => position,
            Some(_) => return Err(Error::new(Code::Internal, "a page of get batch went nowhere")),
        };
        let found: HashSet<&str> = page.items.iter().map(|record| record.key.as_str()).collect();
        self.missing.extend(self.keys.drain(..answered).filter(|key| !found.contains(key.as_str())));
        let records = self.window.cut(page.items);
        self.last = records.last().map(|record| record.key.clone()).or(self.last.take());
        Ok(Some(records))
    }

    /// The key of the last record, when a limit has left others out.
    pub(super) fn last(&self) -> Option<&str> {
        self.last.as_deref().filter(|_| self.window.has_more)
    }

    /// Tells which keys do not exist, of those that were asked for.
    ///
    /// # Errors
    /// `not_found` when a key is missing and `is_failure` says that this is one.
    pub(super) fn tell_missing(self, is_failure: bool) -> Result<()> {
        let named: Vec<String> =
            self.missing.iter().take(limits::MISSING_KEYS_NAMED).map(|key| format!("{key:?}")).collect();
        let message = match self.missing.len() - named.len() {
            _ if named.is_empty() => return Ok(()),
            0 => format!("there is no key {}", named.join(", ")),
            more => format!(
                "there is no key {}, nor {}",
                named.join(", "),
                output::counted(more, "other one", "others")
            ),
        };
        if is_failure {
            return Err(Error::new(Code::NotFound, message));
        }
        output::note(&message);
        Ok(())
    }
}
