//! The rules of paging, once for all engines: which index range a request covers, how much a page holds, and where the
//! next page begins.

use std::ops::Bound;

use super::damage::{self, Damage};
use super::engine::sql::Now;
use super::error::Result;
use super::keys::KeyRange;
use super::position::Position;
use super::record::{Change, Record};
use super::reply::{Changes, Page};
use super::request::{List, NameList, Selector, Stream};
use super::subscription::trimmed;
use crate::limits;

/// The size of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageSize {
    /// The most rows.
    pub rows: u64,
    /// The page ends with the row that exceeds this many bytes.
    pub bytes: usize,
}

impl PageSize {
    /// The largest page, or one of at most `limit` rows.
    fn up_to(limit: Option<u64>) -> PageSize {
        let rows = limit.unwrap_or(u64::MAX).min(limits::PAGE_RECORDS as u64);
        PageSize { rows, bytes: limits::PAGE_BYTES }
    }
}

/// The rows of one page.
#[derive(Debug)]
pub(crate) struct PageRows<T> {
    /// The rows that fit, in order.
    pub rows: Vec<T>,
    /// Whether another row follows.
    pub more: bool,
    bytes: usize,
}

impl<T> Default for PageRows<T> {
    fn default() -> PageRows<T> {
        PageRows { rows: Vec::new(), more: false, bytes: 0 }
    }
}

impl<T> PageRows<T> {
    /// Adds a row, if the page has room; answers whether it had, and otherwise notes that there are more rows. `make`
    /// answers the row and the bytes that it counts for.
    pub(crate) fn add(
        &mut self,
        size: PageSize,
        make: impl FnOnce() -> damage::Result<(T, usize)>,
    ) -> damage::Result<bool> {
        let has_room = (self.rows.len() as u64) < size.rows && self.bytes < size.bytes;
        if has_room {
            let (row, bytes) = make()?;
            self.bytes += bytes;
            self.rows.push(row);
        } else {
            self.more = true;
        }
        Ok(has_room)
    }
}

/// A range of keys or names, with the direction in which they are listed.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub lower: Bound<String>,
    pub upper: Bound<String>,
    pub reverse: bool,
}

impl Span {
    fn of(keys: KeyRange, after: Option<&str>, reverse: bool) -> Span {
        let mut lower = Bound::Included(keys.from);
        let mut upper = keys.to.map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(after) = after {
            // Only the tighter of two bounds is kept, so that the index scan starts at it.
            let beyond = |bound: &Bound<String>| match bound {
                Bound::Included(bound) | Bound::Excluded(bound) if reverse => bound.as_str() <= after,
                Bound::Included(bound) | Bound::Excluded(bound) => bound.as_str() > after,
                Bound::Unbounded => false,
            };
            let bound = if reverse { &mut upper } else { &mut lower };
            if !beyond(bound) {
                *bound = Bound::Excluded(after.to_owned());
            }
        }
        Span { lower, upper, reverse }
    }

    /// These keys or names, in their order.
    pub(crate) fn all_of(keys: KeyRange) -> Span {
        Span::of(keys, None, false)
    }

    /// Whether it leaves out any key or name.
    fn is_limited(&self) -> bool {
        !matches!(&self.lower, Bound::Included(key) if key.is_empty()) || self.upper != Bound::Unbounded
    }

    /// One key or name.
    pub(crate) fn one(key: &str) -> Span {
        let bound = || Bound::Included(key.to_owned());
        Span { lower: bound(), upper: bound(), reverse: false }
    }
}

/// A listing of records, for an engine.
#[derive(Debug, Clone)]
pub(crate) struct ListQuery {
    pub span: Span,
    pub record_type: Option<String>,
    pub offset: u64,
    pub size: PageSize,
    /// The time by which records have expired.
    pub now: Now,
}

impl ListQuery {
    /// The query for this listing.
    pub(crate) fn of(list: &List, now: Now) -> ListQuery {
        ListQuery {
            span: Span::of(list.selector.key_range(), list.after.as_deref(), list.reverse),
            record_type: list.selector.record_type().map(str::to_owned),
            offset: list.offset,
            size: PageSize::up_to(list.limit),
            now,
        }
    }

    /// The query for all records that a selector covers, to count them.
    pub(crate) fn of_all(selector: Selector, now: Now) -> ListQuery {
        ListQuery::of(&List { selector, ..List::default() }, now)
    }
}

/// A listing of locks or consumers, for an engine.
#[derive(Debug, Clone)]
pub(crate) struct NameQuery {
    pub span: Span,
    pub size: PageSize,
}

impl NameQuery {
    /// The query for this listing.
    pub(crate) fn of(list: &NameList) -> NameQuery {
        let span = Span::of(KeyRange::prefix(&list.prefix), list.after.as_deref(), false);
        NameQuery { span, size: PageSize::up_to(None) }
    }

    /// One name.
    pub(crate) fn one(name: &str) -> NameQuery {
        NameQuery { span: Span::one(name), size: PageSize::up_to(Some(1)) }
    }
}

/// The page of a listing: the next one begins after its last row.
pub(crate) fn page<T>(seq: u64, found: PageRows<T>, key: impl Fn(&T) -> &str) -> Page<T> {
    let next = found.rows.last().filter(|_| found.more).map(|last| key(last).to_owned());
    Page { seq, items: found.rows, next }
}

/// A page of the stream, for an engine.
#[derive(Debug, Clone)]
pub(crate) struct StreamQuery {
    /// The first seq to examine, unless the stream begins later; in reverse, unless it ends earlier.
    pub from: u64,
    /// From the newest change to the oldest.
    pub reverse: bool,
    /// The most changes to examine, so that a filter that matches little has a bounded cost.
    pub scan: u64,
    pub keys: Span,
    pub record_type: Option<String>,
    pub size: PageSize,
}

impl StreamQuery {
    /// The query for this request.
    pub(crate) fn of(stream: &Stream) -> StreamQuery {
        StreamQuery {
            from: if stream.reverse && stream.seq == 0 { limits::COUNT_MAX } else { stream.seq },
            reverse: stream.reverse,
            scan: limits::STREAM_SCAN_RECORDS,
            keys: stream.filter.keys(),
            record_type: stream.filter.record_type.clone(),
            size: PageSize::up_to(stream.limit),
        }
    }

    /// The seqs to examine, without the last one.
    pub(crate) fn seqs(&self, position: &Position) -> std::ops::Range<u64> {
        if self.reverse {
            let end = self.from.min(position.head) + 1;
            return end.saturating_sub(self.scan).max(position.first).min(end)..end;
        }
        let start = self.from.max(position.first);
        start..start.saturating_add(self.scan).min(position.head + 1).max(start)
    }

    /// Whether it leaves out some of the changes that it examines.
    fn is_filtered(&self) -> bool {
        self.keys.is_limited() || self.record_type.is_some()
    }

    /// Checks that the page has no hole: a reader must never pass over a change silently, so a hole in the stream is
    /// damage.
    ///
    /// # Errors
    /// The damage.
    pub(crate) fn check_dense(
        &self,
        position: &Position,
        found: &PageRows<Change>,
    ) -> std::result::Result<(), Damage> {
        let mut seqs = self.seqs(position);
        let is_whole = found.more || found.rows.len() as u64 == seqs.end - seqs.start;
        let mut next = || if self.reverse { seqs.next_back() } else { seqs.next() };
        if self.is_filtered() || (is_whole && found.rows.iter().all(|change| next() == Some(change.seq))) {
            return Ok(());
        }
        Err(Damage::new("the stream has a hole"))
    }

    /// The page of these rows.
    ///
    /// # Errors
    /// `trimmed` when its first seq is no longer kept.
    pub(crate) fn page(&self, position: &Position, found: PageRows<Change>) -> Result<Changes> {
        if self.from > 0 && self.from < position.first {
            return Err(trimmed(self.from, position.first));
        }
        let seqs = self.seqs(position);
        let next = match found.rows.last() {
            Some(last) if found.more && self.reverse => last.seq - 1,
            Some(last) if found.more => last.seq + 1,
            None if found.more && self.reverse => seqs.end - 1,
            None if found.more => seqs.start,
            _ if self.reverse => seqs.start - 1,
            _ => seqs.end,
        };
        // Seqs begin with 1, so 0 says that nothing older is kept.
        let next = if self.reverse && next < position.first { 0 } else { next };
        Ok(Changes { seq: position.head, changes: found.rows, next })
    }
}

/// The bytes that a record counts for in a page.
pub(crate) fn weight_bytes(record: &Record) -> usize {
    record.key.len() + record.value.get().len()
}

/// Whether another record fits a page of records that were requested by key.
pub(crate) fn fits(records: &[Record], next: &Record, bytes: usize) -> bool {
    records.is_empty()
        || (records.len() < limits::PAGE_RECORDS && bytes + weight_bytes(next) <= limits::PAGE_BYTES)
}
