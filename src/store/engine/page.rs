//! The rules of paging, once for all engines: from a request to bounds that an index can serve, and from what was
//! found to where the next page begins.

use std::ops::Bound;

use super::Candidates;
use crate::limits;
use crate::store::error::Result;
use crate::store::keys::KeyRange;
use crate::store::plan::Meta;
use crate::store::record::{Change, Record};
use crate::store::reply::{Changes, Page};
use crate::store::request::{List, NameList, Selector, Stream};
use crate::store::subscription::trimmed;

/// A listing as an engine answers it.
#[derive(Debug)]
pub(crate) struct ListQuery {
    pub lower: Bound<String>,
    pub upper: Bound<String>,
    pub record_type: Option<String>,
    pub reverse: bool,
    pub offset: u64,
    /// One more than the page may hold, so that it shows whether there is more.
    pub candidates: u64,
}

impl ListQuery {
    /// What to ask for.
    pub(crate) fn of(list: &List) -> ListQuery {
        let KeyRange { from, to } = list.selector.key_range();
        let mut lower = Bound::Included(from);
        let mut upper = to.map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(after) = &list.after {
            // Only the stronger of two bounds is kept, so that the index starts at it.
            let beyond = |bound: &Bound<String>| match bound {
                Bound::Included(bound) | Bound::Excluded(bound) if list.reverse => bound <= after,
                Bound::Included(bound) | Bound::Excluded(bound) => bound > after,
                Bound::Unbounded => false,
            };
            let bound = if list.reverse { &mut upper } else { &mut lower };
            if !beyond(bound) {
                *bound = Bound::Excluded(after.clone());
            }
        }
        let page = list.limit.unwrap_or(u64::MAX).min(limits::PAGE_RECORDS as u64);
        ListQuery {
            lower,
            upper,
            record_type: list.selector.record_type().map(str::to_owned),
            reverse: list.reverse,
            offset: list.offset,
            candidates: page + 1,
        }
    }

    /// Which names to ask for.
    pub(crate) fn of_names(list: &NameList) -> ListQuery {
        let selector = Selector::Prefix(list.prefix.clone());
        ListQuery::of(&List { selector, after: list.after.clone(), ..List::default() })
    }

    /// One name.
    pub(crate) fn of_one(name: &str) -> ListQuery {
        let query = ListQuery::of(&List { limit: Some(1), ..List::default() });
        let bound = || Bound::Included(name.to_owned());
        ListQuery { lower: bound(), upper: bound(), ..query }
    }

    /// The page of what was found.
    pub(crate) fn page<T>(&self, found: Candidates<T>, key: impl Fn(&T) -> &str) -> Page<T> {
        let Candidates { seq, mut fitting, looked_at } = found;
        // An engine finds them in this order; where it does not promise that, a sort of its own would cost more.
        fitting.sort_by(|one, other| {
            let order = key(one).cmp(key(other));
            if self.reverse { order.reverse() } else { order }
        });
        fitting.truncate(usize::try_from(self.candidates - 1).unwrap_or(usize::MAX));
        let more = looked_at > fitting.len() as u64;
        let next = fitting.last().filter(|_| more).map(|last| key(last).to_owned());
        Page { seq, items: fitting, next }
    }
}

/// Where a store stands in one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Which history this is.
    pub epoch: String,
    /// Counts how often this process opened the store: behind one path there may be another file now.
    pub opened: u64,
    /// The last seq of the stream, 0 on a fresh store.
    pub head: u64,
    /// The first seq that is kept, or that will be.
    pub first: u64,
    /// Counts the grants and releases of locks and leases.
    pub lock_seq: u64,
}

impl Bounds {
    /// What a batch has left.
    pub(crate) fn of(Meta { epoch, head, first, lock_seq, .. }: Meta, opened: u64) -> Bounds {
        Bounds { epoch, opened, head, first, lock_seq }
    }

    /// Whether a cursor into the one goes on in the other.
    pub(crate) fn is_same_store(&self, other: &Bounds) -> bool {
        (&self.epoch, self.opened) == (&other.epoch, other.opened)
    }
}

/// A page of the stream as an engine answers it.
#[derive(Debug)]
pub(crate) struct StreamQuery {
    /// The first seq to look at, if the stream does not begin later.
    pub from: u64,
    /// How many changes are looked at, so that a filter that matches little has a bounded cost.
    pub scan: u64,
    pub keys: KeyRange,
    pub record_type: Option<String>,
    pub candidates: u64,
    /// The page ends after the change that passes this many bytes.
    pub bytes: usize,
}

impl StreamQuery {
    /// What to ask for.
    pub(crate) fn of(stream: &Stream) -> StreamQuery {
        StreamQuery {
            bytes: limits::PAGE_BYTES,
            from: stream.seq,
            scan: limits::STREAM_SCAN_RECORDS,
            keys: stream.prefix.as_deref().map_or_else(KeyRange::all, KeyRange::prefix),
            record_type: stream.record_type.clone(),
            candidates: stream.limit.unwrap_or(u64::MAX).min(limits::PAGE_RECORDS as u64) + 1,
        }
    }

    /// The page of what was found.
    pub(crate) fn page(&self, bounds: &Bounds, found: Candidates<Change>) -> Result<Changes> {
        if self.from > 0 && self.from < bounds.first {
            return Err(trimmed(self.from, bounds.first));
        }
        let Candidates { seq, fitting: mut changes, looked_at } = found;
        changes.truncate(usize::try_from(self.candidates - 1).unwrap_or(usize::MAX));
        let cut = looked_at > changes.len() as u64;
        let start = self.from.max(bounds.first);
        let next = match changes.last() {
            Some(last) if cut => last.seq + 1,
            None if cut => start,
            _ => start.saturating_add(self.scan).min(bounds.head + 1).max(start),
        };
        Ok(Changes { seq, changes, next })
    }
}

/// The records of a page of keys, in the order asked for, as far as they fit.
pub(crate) fn fits(records: &[Record], next: &Record, bytes: usize) -> bool {
    records.is_empty()
        || (records.len() < limits::PAGE_RECORDS && bytes + weight_bytes(next) <= limits::PAGE_BYTES)
}

/// What a record counts for in a page.
pub(crate) fn weight_bytes(record: &Record) -> usize {
    record.key.len() + record.value.get().len()
}
