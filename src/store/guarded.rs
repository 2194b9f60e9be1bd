//! A store whose writes carry a fence or an id.

use std::time::Duration;

use async_trait::async_trait;

use super::Store;
use super::error::Result;
use super::reply::{Grant, Reply};
use super::request::{Fence, LockAcquire, Request};
use super::subscription::{Subscribe, Subscription};

/// A store whose writes carry a fence, or an id with which they are applied once.
///
/// ```
/// # use std::time::Duration;
/// use kv::store::{Code, Guarded, JsonText, Put, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// let grant = store.lock_acquire("deploy", "me", Duration::from_secs(60)).await?;
/// let fenced = Guarded::new(&store).fence("deploy", grant.fence);
/// fenced.put(Put::new("version", JsonText::of(&7)?)).await?;
///
/// store.lock_release("deploy", "me").await?;
/// let refused = fenced.put(Put::new("version", JsonText::of(&8)?)).await;
/// assert_eq!(refused.unwrap_err().code, Code::Fenced);
///
/// // A write whose answer was lost can be repeated: it is applied once. Each write has an id of its own.
/// let guarded = Guarded::new(&store);
/// let put = Put::new("orders/17", JsonText::of(&1)?).if_version(0);
/// let first = guarded.once("order-17").put(put.clone()).await?;
/// assert_eq!(guarded.once("order-17").put(put).await?, first);
/// guarded.once("order-18").put(Put::new("orders/18", JsonText::of(&1)?)).await?;
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Guarded<'a> {
    store: &'a dyn Store,
    once: Option<String>,
    fence: Option<Fence>,
}

impl<'a> Guarded<'a> {
    /// The same store without any guard yet.
    #[must_use]
    pub fn new(store: &'a dyn Store) -> Guarded<'a> {
        Guarded { store, once: None, fence: None }
    }

    /// The store whose writes are applied only while the lock has this token and was not released: see [`Fence`].
    #[must_use]
    pub fn fence(&self, lock: impl Into<String>, token: u64) -> Guarded<'a> {
        Guarded { fence: Some(Fence { lock: lock.into(), token }), ..self.clone() }
    }

    /// The store for one write with this id: it is applied once, however often it is repeated within 24 h, and each repeat gets
    /// the first answer. The id has 1 to 64 bytes; another write with the same id fails with `bad_request`. A repeat of a large
    /// [`Delete`](super::Delete) that was interrupted continues it.
    #[must_use]
    pub fn once(&self, id: impl Into<String>) -> Guarded<'a> {
        Guarded { once: Some(id.into()), ..self.clone() }
    }
}

#[async_trait]
impl Store for Guarded<'_> {
    async fn call(&self, mut request: Request) -> Result<Reply> {
        if let Request::Write(write) = &mut request {
            // An id is that of one write, so one that it has already stands.
            write.once = write.once.take().or_else(|| self.once.clone());
            write.fence = self.fence.clone().or_else(|| write.fence.take());
        }
        self.store.call(request).await
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        self.store.subscribe(subscribe).await
    }

    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant> {
        self.store.lock_acquire_within(acquire, wait).await
    }
}
