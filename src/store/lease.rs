//! The hold of a session on a consumer, which is renewed for as long as the session lives.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::batcher::WeakWriter;
use super::error::{Error, Result};
use super::filter::Filter;
use super::reply::{Reply, answer};
use super::request::{ConsumerCommit, ConsumerHold, ConsumerLeave, Write, WriteOperation};
use super::waiting;
use super::waiting::{Claimable, Waiters};
use crate::limits;

/// The hold of a session on a consumer. It ends when the value is dropped.
pub(crate) struct Lease {
    name: String,
    holder: String,
    writer: WeakWriter,
    renewing: JoinHandle<()>,
    lost: watch::Receiver<Option<Error>>,
}

impl Lease {
    /// Acquires the hold, waiting up to `wait` for it, and answers the present position of the consumer and its filter.
    ///
    /// # Errors
    /// `consumer_busy` when another session still holds the consumer after that time.
    pub(crate) async fn gain(
        waiters: &Waiters,
        hold: ConsumerHold,
        wait: Duration,
    ) -> Result<(Lease, u64, Filter)> {
        let ConsumerHold { name, holder, .. } = hold.clone();
        let renewal = ConsumerHold { start: None, renew: true, ..hold.clone() };
        let operation = WriteOperation::ConsumerHold(renewal);
        let reply = waiters.acquire(&Claimable::Consumer(hold), wait).await?.keep()?;
        let (position, filter) = answer!(reply, Reply::Held { position, filter } => (position, filter))?;
        let writer = waiters.writer().clone();
        let (tell, lost) = watch::channel(None);
        let renewing = tokio::spawn(renew(writer.clone(), operation, tell));
        Ok((Lease { name, holder, writer, renewing, lost }, position, filter))
    }

    /// The session that holds the consumer.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// Checks that the hold was not lost.
    ///
    /// # Errors
    /// `consumer_busy` when it was.
    pub(crate) fn check(&self) -> Result<()> {
        self.lost.borrow().clone().map_or(Ok(()), Err)
    }

    /// Waits until the hold is lost, and answers the error, which names the new holder.
    pub(crate) async fn lost(&mut self) -> Error {
        match self.lost.wait_for(Option::is_some).await.map(|lost| lost.clone()) {
            Ok(Some(error)) => error,
            // The store is closing, which the subscription learns from the feed.
            _ => std::future::pending().await,
        }
    }

    /// Advances the position of the consumer, and answers it.
    ///
    /// # Errors
    /// `consumer_busy` when the hold was lost, `future` beyond the head of the stream.
    pub(crate) async fn commit(&self, seq: u64) -> Result<u64> {
        let (name, holder) = (self.name.clone(), Some(self.holder.clone()));
        let commit = ConsumerCommit { name, seq, holder, filter: Filter::default() };
        self.writer.write(WriteOperation::ConsumerCommit(commit).into()).await?.into_position()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        let (name, holder) = (self.name.clone(), self.holder.clone());
        self.writer.give_back(WriteOperation::ConsumerLeave(ConsumerLeave { name, holder }).into());
    }
}

async fn renew(writer: WeakWriter, hold: WriteOperation, tell: watch::Sender<Option<Error>>) {
    loop {
        tokio::time::sleep(limits::CONSUMER_RENEWAL).await;
        match writer.write(Write::from(hold.clone())).await {
            Err(error) if waiting::is_held(&error) => {
                tell.send_replace(Some(error));
                return;
            }
            // A failed renewal is tried again: as long as no other session has acquired the consumer, it is still held.
            Err(error) => tracing::warn!(%error, "the hold on a consumer could not be renewed"),
            Ok(_) => {}
        }
    }
}

/// A name that no other session has: the host, the pid of this process, and a random part.
#[must_use]
pub fn session_name() -> String {
    session_name_of(i32::try_from(std::process::id()).ok())
}

/// A session name for another process; `?` stands for a pid that is not known.
#[must_use]
pub(crate) fn session_name_of(pid: Option<i32>) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let process = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    format!("{host}/{process}/{}", uuid::Uuid::new_v4().simple())
}
