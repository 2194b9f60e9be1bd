//! The records of a store in key order, page by page.

use kv::store::{List, Page, Record, Result, Selector, Store};

/// A listing that is being read. Each of its pages is one instant of the store.
pub(super) struct Listing<'s> {
    store: &'s dyn Store,
    next: Option<List>,
}

impl<'s> Listing<'s> {
    /// The records whose keys begin with a prefix; none = all.
    pub(super) fn of(store: &'s dyn Store, prefix: Option<&str>) -> Listing<'s> {
        let selector = prefix.map_or(Selector::All, |prefix| Selector::Prefix(prefix.to_owned()));
        Listing::selected(store, selector)
    }

    /// The records that a selector covers.
    pub(super) fn selected(store: &'s dyn Store, selector: Selector) -> Listing<'s> {
        Listing { store, next: Some(List { selector, ..List::default() }) }
    }

    /// The next page; none behind the last one.
    pub(super) async fn page(&mut self) -> Result<Option<Page<Record>>> {
        let Some(list) = &self.next else { return Ok(None) };
        let page = self.store.page(list.clone()).await?;
        self.next = list.after_page(&page);
        Ok(Some(page))
    }
}
