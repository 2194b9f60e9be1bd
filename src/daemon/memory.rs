//! Bounds the memory for requests and replies of all connections.
//!
//! Small messages are counted by their bytes. A large line takes one of a few permits before it is read, and a large
//! reply another one before it is loaded. A client that others have to wait for has only a short time to take its
//! reply, or to finish its line.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;
use crate::store::{Code, Error, Result};

/// The memory for messages. A permit releases its share when it is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    small_bytes: Arc<Semaphore>,
    line_places: Arc<Semaphore>,
    reply_places: Arc<Semaphore>,
    event_bytes: Arc<Semaphore>,
    large_events: Arc<Semaphore>,
    attached: Arc<Semaphore>,
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory {
            small_bytes: Arc::new(Semaphore::new(limits::IN_FLIGHT_BYTES)),
            line_places: Arc::new(Semaphore::new(limits::LARGE_LINES)),
            reply_places: Arc::new(Semaphore::new(limits::LARGE_REPLIES)),
            event_bytes: Arc::new(Semaphore::new(limits::EVENTS_HELD_BYTES)),
            large_events: Arc::new(Semaphore::new(limits::LARGE_EVENTS)),
            attached: Arc::new(Semaphore::new(limits::ATTACHED)),
        }
    }

    /// Waits for the memory of a small message.
    pub(super) async fn small(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.clamp(limits::REQUEST_WEIGHT_BYTES, limits::IN_FLIGHT_BYTES));
        let semaphore = Arc::clone(&self.small_bytes);
        acquired(semaphore.acquire_many_owned(bytes.unwrap_or(u32::MAX)).await)
    }

    /// Waits for the memory of events before they are encoded. It is separate, so that subscriptions that are not read
    /// hold up no requests.
    pub(super) async fn events(&self, bytes: usize) -> OwnedSemaphorePermit {
        if bytes > limits::EVENTS_BYTES * 2 {
            return acquired(Arc::clone(&self.large_events).acquire_owned().await);
        }
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        acquired(Arc::clone(&self.event_bytes).acquire_many_owned(bytes).await)
    }

    /// A permit for something that ends with this daemon: a subscription, a request that waits for a lock, a lock of a
    /// connection.
    ///
    /// # Errors
    /// `busy` when there are [`limits::ATTACHED`] of them.
    pub(super) fn attach(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.attached).try_acquire_owned().map_err(|_| {
            let message = format!("{} subscriptions and waiting requests are too many", limits::ATTACHED);
            Error::new(Code::Busy, message).hint("end some")
        })
    }

    /// The number of these permits in use.
    pub(super) fn attached(&self) -> usize {
        limits::ATTACHED - self.attached.available_permits()
    }

    /// Waits for the permit of a large line. The caller must not hold any permit.
    pub(super) async fn large_line(&self) -> OwnedSemaphorePermit {
        acquired(Arc::clone(&self.line_places).acquire_owned().await)
    }

    /// Waits for the permit of a large reply. The caller must not hold another one.
    pub(super) async fn large_reply(&self) -> OwnedSemaphorePermit {
        acquired(Arc::clone(&self.reply_places).acquire_owned().await)
    }

    /// The bytes of the small messages in flight.
    pub(super) fn small_in_flight_bytes(&self) -> usize {
        limits::IN_FLIGHT_BYTES.saturating_sub(self.small_bytes.available_permits())
    }

    /// The number of large lines and replies in flight.
    pub(super) fn large_in_flight(&self) -> usize {
        let free = self.line_places.available_permits() + self.reply_places.available_permits();
        (limits::LARGE_LINES + limits::LARGE_REPLIES).saturating_sub(free)
    }

    /// Whether a message has to wait for memory, or soon will.
    pub(super) fn is_short(&self) -> bool {
        self.line_places.available_permits() == 0
            || self.reply_places.available_permits() == 0
            || self.small_bytes.available_permits() < limits::SMALL_MESSAGE_BYTES
    }

    /// Whether events have to wait for memory, or soon will.
    pub(super) fn is_short_of_events(&self) -> bool {
        self.large_events.available_permits() == 0
            || self.event_bytes.available_permits() < limits::EVENTS_BYTES
    }

    /// Whether the time of a client for a long line that began at `since` is over.
    pub(super) fn is_overdue(&self, since: Instant) -> bool {
        since.elapsed() >= limits::STALL_TIMEOUT
            || (self.is_short() && since.elapsed() >= limits::SHORTAGE_TIMEOUT)
    }

    /// Waits for a client to do its part, which began at `since`: for the whole stall timeout when there is enough
    /// memory, otherwise for a shorter time. Taking or sending a byte now and then does not prolong the shorter time.
    ///
    /// # Errors
    /// `TimedOut` when the time is over.
    pub(super) async fn patiently<T>(
        &self,
        since: Instant,
        part: impl Future<Output = io::Result<T>>,
        is_short: fn(&Memory) -> bool,
    ) -> io::Result<T> {
        let begun = Instant::now();
        let mut part = std::pin::pin!(part);
        loop {
            if let Ok(done) = tokio::time::timeout(limits::SHORTAGE_INTERVAL, &mut part).await {
                return done;
            }
            let is_stalled = begun.elapsed() >= limits::STALL_TIMEOUT;
            if is_stalled || (is_short(self) && since.elapsed() >= limits::SHORTAGE_TIMEOUT) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

fn acquired<E>(permit: std::result::Result<OwnedSemaphorePermit, E>) -> OwnedSemaphorePermit {
    match permit {
        Ok(permit) => permit,
        Err(_) => unreachable!("these semaphores are never closed"),
    }
}
