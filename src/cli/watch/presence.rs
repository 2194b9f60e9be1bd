//! The records that are there when a watch begins, and which changes they already show.

use std::collections::VecDeque;

use kv::store::{Change, Filter, List, Record, Result, Selector, Start, Store};

/// A listing of the records that a filter covers, which the changes of the stream continue without a gap.
///
/// Each page of a listing is an instant of its own. So a change is left out when the page that has the place of its key
/// was read after it.
pub(super) struct Presence {
    filter: Filter,
    request: Option<List>,
    ready: VecDeque<Record>,
    /// The last key of each page, and the seq of its instant; the last page has the place of every further key.
    pages: Vec<(Option<String>, u64)>,
}

impl Presence {
    pub(super) fn new(filter: Filter) -> Presence {
        let (selector, limit) = match &filter {
            // No other key with this prefix comes before the key itself.
            Filter { key: Some(key), .. } => (Selector::Prefix(key.clone()), Some(1)),
            Filter { prefix: Some(prefix), .. } => (Selector::Prefix(prefix.clone()), None),
            Filter { record_type: Some(record_type), .. } => (Selector::Type(record_type.clone()), None),
            _ => (Selector::All, None),
        };
        let request = Some(List { selector, limit, ..List::default() });
        Presence { filter, request, ready: VecDeque::new(), pages: Vec::new() }
    }

    /// The next record; none after the last one.
    pub(super) async fn next(&mut self, store: &dyn Store) -> Result<Option<Record>> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(Some(record));
            }
            let Some(list) = &self.request else { return Ok(None) };
            let page = store.page(list.clone()).await?;
            self.request = list.after_page(&page);
            let last = self.request.as_ref().and(page.next);
            self.pages.push((last, page.seq));
            self.ready.extend(page.items.into_iter().filter(|record| self.filter.covers(record)));
        }
    }

    /// The position from which the stream continues the listing, when it has ended.
    pub(super) fn start(&self) -> Start {
        self.pages.first().map_or(Start::Now, |(_, seq)| Start::After(*seq))
    }

    /// Whether the listing already shows a change.
    pub(super) fn shows(&self, change: &Change) -> bool {
        let key = change.record.key.as_str();
        let index = self.pages.partition_point(|(last, _)| last.as_deref().is_some_and(|last| last < key));
        self.pages.get(index).is_some_and(|(_, seq)| change.seq <= *seq)
    }
}
