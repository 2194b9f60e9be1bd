//! What programs do with a store most: values of their own types, scans and locks.

use std::collections::VecDeque;
use std::future::Future;

use futures_util::Stream;
use futures_util::stream::try_unfold;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Store;
use super::error::Result;
use super::json_text::JsonText;
use super::lock_guard::LockRequest;
use super::record::{Change, Record};
use super::reply::Written;
use super::request::{List, Put};
use super::subscription::{Event, Subscription};

/// Methods of every [`Store`] that need types of the program.
///
/// ```
/// use futures_util::TryStreamExt as _;
/// use kv::store::{List, Store, StoreExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// let store = kv::open(":memory:")?;
/// store.init().await?;
/// for age in 30..33 {
///     store.put_json(&format!("age/{age}"), &age).await?;
/// }
/// assert_eq!(store.get_as::<u32>("age/31").await?.map(|record| record.value), Some(31));
///
/// let newest = List::prefix("age/").reverse().limit(2);
/// let keys: Vec<String> = store.scan(newest).map_ok(|record| record.key).try_collect().await?;
/// assert_eq!(keys, ["age/32", "age/31"]);
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
pub trait StoreExt: Store {
    /// Stores a value of the program as JSON, without a condition.
    ///
    /// # Errors
    /// `bad_request` for what is not JSON, such as a map whose keys are not strings; otherwise those of [`Store::put`].
    fn put_json<T: Serialize + Sync + ?Sized>(
        &self,
        key: &str,
        value: &T,
    ) -> impl Future<Output = Result<Written>> + Send {
        let put = JsonText::of(value).map(|value| Put::new(key, value));
        async { self.put(put?).await }
    }

    /// The record of this key, with its value read into a type of the program; none when there is none.
    ///
    /// # Errors
    /// `bad_request` for a value of another form; otherwise those of [`Store::get`].
    fn get_as<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Option<Record<T>>>> + Send {
        async move { self.get(key).await?.map(Record::into_typed).transpose() }
    }

    /// The records of a listing, read page by page as they are wanted. Each page is one instant of the store, the whole is
    /// not. After an error the stream ends.
    fn scan(&self, list: List) -> impl Stream<Item = Result<Record>> + Send {
        let begun = (Some(list), VecDeque::new());
        try_unfold(begun, move |(mut request, mut ready): (Option<List>, VecDeque<Record>)| async move {
            loop {
                if let Some(record) = ready.pop_front() {
                    return Ok(Some((record, (request, ready))));
                }
                let Some(list) = request.take() else { return Ok(None) };
                let page = self.page(list.clone()).await?;
                request = list.after_page(&page);
                ready.extend(page.items);
            }
        })
    }

    /// A request for a lock, which is acquired when it is awaited.
    fn lock(&self, name: impl Into<String>) -> LockRequest<'_, Self> {
        LockRequest::new(self, name.into())
    }
}

impl<S: Store + ?Sized> StoreExt for S {}

impl Subscription {
    /// The changes of the subscription, without its progress. After an error the stream ends.
    ///
    /// ```
    /// use futures_util::{StreamExt as _, TryStreamExt as _};
    /// use kv::store::{Store, StoreExt, Subscribe};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> kv::store::Result<()> {
    /// let store = kv::open(":memory:")?;
    /// store.init().await?;
    /// let changes = store.subscribe(Subscribe::default()).await?.changes();
    /// store.put_json("a", &1).await?;
    /// store.put_json("a", &2).await?;
    /// let versions = changes.take(2).map_ok(|change| change.record.version);
    /// assert_eq!(versions.try_collect::<Vec<u64>>().await?, [1, 2]);
    /// # store.close().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn changes(self) -> impl Stream<Item = Result<Change>> + Send {
        try_unfold(self, |mut subscription| async move {
            loop {
                if let Event::Change(change) = subscription.next().await? {
                    return Ok(Some((change, subscription)));
                }
            }
        })
    }
}
