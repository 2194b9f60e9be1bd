//! How much of requests and replies the daemon holds at once.
//!
//! Small messages are counted by their bytes. A large one, a line or a reply, takes one of a few places: before the line
//! is read, and before the reply is loaded. A client that keeps others waiting for what it holds has only a little while
//! to take its reply, or to finish its line.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits;

/// The memory for messages. What is taken is given back when the permit is dropped.
#[derive(Debug)]
pub(super) struct Memory {
    small_bytes: Arc<Semaphore>,
    large_places: Arc<Semaphore>,
}

impl Memory {
    pub(super) fn new() -> Memory {
        Memory {
            small_bytes: Arc::new(Semaphore::new(limits::IN_FLIGHT_BYTES)),
            large_places: Arc::new(Semaphore::new(limits::LARGE_MESSAGES)),
        }
    }

    /// Waits for the memory of a small message.
    pub(super) async fn small(&self, bytes: usize) -> OwnedSemaphorePermit {
        let bytes = u32::try_from(bytes.clamp(limits::REQUEST_WEIGHT_BYTES, limits::IN_FLIGHT_BYTES));
        let semaphore = Arc::clone(&self.small_bytes);
        acquired(semaphore.acquire_many_owned(bytes.unwrap_or(u32::MAX)).await)
    }

    /// Waits for a place for a large message. Who waits may hold no such place already.
    pub(super) async fn large(&self) -> OwnedSemaphorePermit {
        acquired(Arc::clone(&self.large_places).acquire_owned().await)
    }

    /// The bytes that small messages take now.
    pub(super) fn small_in_flight_bytes(&self) -> usize {
        limits::IN_FLIGHT_BYTES.saturating_sub(self.small_bytes.available_permits())
    }

    /// Large messages that are held now.
    pub(super) fn large_in_flight(&self) -> usize {
        limits::LARGE_MESSAGES.saturating_sub(self.large_places.available_permits())
    }

    /// Whether somebody waits for memory, or soon will.
    fn is_short(&self) -> bool {
        self.large_places.available_permits() == 0
            || self.small_bytes.available_permits() < limits::SMALL_MESSAGE_BYTES
    }

    /// Waits until a client has done its part, which began at `since`: the whole time for a stall when there is memory
    /// for all, else a shorter one. A client that takes or sends a byte now and then wins nothing.
    pub(super) async fn patiently<T>(
        &self,
        since: Instant,
        part: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let begun = Instant::now();
        let mut part = std::pin::pin!(part);
        loop {
            if let Ok(done) = tokio::time::timeout(limits::SHORTAGE_INTERVAL, &mut part).await {
                return done;
            }
            let is_stalled = begun.elapsed() >= limits::STALL_TIMEOUT;
            if is_stalled || (self.is_short() && since.elapsed() >= limits::SHORTAGE_TIMEOUT) {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

fn acquired<E>(permit: Result<OwnedSemaphorePermit, E>) -> OwnedSemaphorePermit {
    match permit {
        Ok(permit) => permit,
        Err(_) => unreachable!("these semaphores are never closed"),
    }
}
