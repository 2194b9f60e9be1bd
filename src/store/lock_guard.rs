//! A lock that is held while a program works, and renewed meanwhile.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::Store;
use super::error::{Code, Error, Result};
use super::guarded::Guarded;
use super::lease::session_name;
use super::reply::Grant;
use super::request::{Fence, LockAcquire};
use crate::limits;

/// A request for a lock, which waits for it when it is awaited: see [`StoreExt::lock`](super::StoreExt::lock).
#[must_use = "the lock is acquired when the request is awaited"]
pub struct LockRequest<'a, S: ?Sized> {
    store: &'a S,
    name: String,
    owner: String,
    duration: Duration,
    wait: Duration,
}

impl<'a, S: Store + ?Sized> LockRequest<'a, S> {
    pub(super) fn new(store: &'a S, name: String) -> LockRequest<'a, S> {
        // No two guards have the same owner, or they would share the lock.
        let owner = session_name();
        let wait = Duration::from_millis(limits::TIMEOUT_MS);
        LockRequest { store, name, owner, duration: limits::LOCK_GUARD_DURATION, wait }
    }

    /// How long the lock stays held when this process dies, from 1 ms to 100 years; 30 s by default. It is renewed after half
    /// of that time.
    pub fn duration(self, duration: Duration) -> LockRequest<'a, S> {
        LockRequest { duration, ..self }
    }

    /// How long to wait while another owner holds the lock; a day by default.
    pub fn wait(self, wait: Duration) -> LockRequest<'a, S> {
        LockRequest { wait, ..self }
    }

    async fn acquire(self) -> Result<LockGuard<'a, S>> {
        let LockRequest { store, name, owner, duration, wait } = self;
        let acquire = LockAcquire::new(&name, &owner, duration);
        let grant = store.lock_acquire_within(acquire, wait).await?;
        let mut guard = LockGuard::granted(store, name, owner, grant, duration);
        // It may have been granted long before the answer came.
        guard.renew().await?;
        Ok(guard)
    }
}

impl<'a, S: Store + ?Sized> IntoFuture for LockRequest<'a, S> {
    type Output = Result<LockGuard<'a, S>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<LockGuard<'a, S>>> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.acquire())
    }
}

/// A lock that this program holds.
///
/// It is renewed while [`run`](LockGuard::run) or [`lost`](LockGuard::lost) is awaited. A guard that is dropped without
/// [`release`](LockGuard::release) leaves a lock that expires by itself.
///
/// ```
/// use kv::store::{JsonText, Put, Store, StoreExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// let store = kv::open(":memory:")?;
/// store.init().await?;
/// let mut lock = store.lock("nightly").await?;
/// // The store refuses a write that carries the fence, if another owner got the lock in the meantime.
/// let fenced = lock.guarded();
/// lock.run(async {
///     fenced.put(Put::new("report", JsonText::of("done")?)).await
/// })
/// .await??;
/// lock.release().await?;
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
pub struct LockGuard<'a, S: ?Sized> {
    store: &'a S,
    name: String,
    owner: String,
    fence: u64,
    duration: Duration,
    /// Until this time of the clock of this process no other owner can have the lock: it is counted from before the
    /// request.
    until: Instant,
}

impl<'a, S: Store + ?Sized> LockGuard<'a, S> {
    /// The guard of a lock that was acquired just now, for so long.
    #[must_use]
    #[doc(hidden)]
    pub fn granted(store: &'a S, name: String, owner: String, grant: Grant, duration: Duration) -> Self {
        LockGuard { store, name, owner, fence: grant.fence, duration, until: Instant::now() + duration / 2 }
    }

    /// The name of the lock.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The fence of the lock. A write that carries it ([`Guarded::fence`]) is applied only while this grant is the last one.
    #[must_use]
    pub fn fence(&self) -> Fence {
        Fence { lock: self.name.clone(), token: self.fence }
    }

    /// Runs some work, and renews the lock meanwhile. The work is dropped when the lock is lost.
    ///
    /// # Errors
    /// As [`lost`](LockGuard::lost).
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            done = work => Ok(done),
            error = self.lost() => Err(error),
        }
    }

    /// Renews the lock until it is lost, and answers why. It may be awaited again after its future was dropped.
    ///
    /// A lock whose time was over meanwhile, as on a host that was asleep, is not lost as long as no other owner got it.
    pub async fn lost(&mut self) -> Error {
        loop {
            sleep(self.duration / 2).await;
            if let Err(error) = self.renew().await {
                return self.loss(&error);
            }
        }
    }

    /// Renews the lock now, repeatedly in the time that is left of it, and then a few times more: only the store knows
    /// whether another owner has the lock, and not the clock of a process that may have been asleep.
    ///
    /// # Errors
    /// `not_owner` when another owner got the lock or it was released; the last error when the store does not answer.
    pub async fn renew(&mut self) -> Result<()> {
        let mut last_tries = 0;
        loop {
            let asked = Instant::now();
            let is_overdue = asked >= self.until;
            let answer_until = if is_overdue { asked + limits::LOCK_ANSWER } else { self.until };
            let refreshed = self.store.lock_refresh(&self.name, &self.owner, self.fence, self.duration);
            let late = || Err(Error::new(Code::Timeout, "the store does not answer"));
            let error = match timeout_at(answer_until, refreshed).await.unwrap_or_else(|_| late()) {
                Ok(_) => {
                    self.until = asked + self.duration;
                    return Ok(());
                }
                Err(error) if error.code == Code::NotOwner => return Err(error),
                Err(error) => error,
            };
            if !is_overdue {
                sleep((self.duration / 10).min(limits::LOCK_LOOK_MAX)).await;
                continue;
            }
            last_tries += 1;
            if last_tries == limits::LOCK_LAST_TRIES {
                return Err(error);
            }
            sleep(limits::LOCK_LOOK_MAX).await;
        }
    }

    /// The error for a lock that could not be renewed.
    #[must_use]
    #[doc(hidden)]
    pub fn loss(&self, error: &Error) -> Error {
        Error::new(Code::Locked, format!("the lock {} was lost: {}", self.name, error.message))
    }

    /// Releases the lock, and answers whether it was still held.
    ///
    /// # Errors
    /// `not_owner` when another owner has it by now.
    pub async fn release(self) -> Result<bool> {
        self.store.lock_release(&self.name, &self.owner).await
    }
}

impl<S: ?Sized> fmt::Debug for LockRequest<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockRequest").field("name", &self.name).finish_non_exhaustive()
    }
}

impl<S: ?Sized> fmt::Debug for LockGuard<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, fence) = (&self.name, self.fence);
        f.debug_struct("LockGuard").field("name", name).field("fence", &fence).finish_non_exhaustive()
    }
}

impl<'a, S: Store> LockGuard<'a, S> {
    /// The store, whose writes are applied only while this grant is the last one.
    #[must_use]
    pub fn guarded(&self) -> Guarded<'a> {
        Guarded::new(self.store).fence(&self.name, self.fence)
    }
}
