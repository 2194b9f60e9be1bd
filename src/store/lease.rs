//! The hold of a session on a consumer, which is renewed for as long as the session lives.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::batcher::WeakWriter;
use super::error::{Error, Result};
use super::request::{ConsumerCommit, ConsumerHold, ConsumerLeave, Write, WriteOperation};
use super::waiting;
use super::waiting::{Claimable, Waiters};
use crate::limits;

/// Given back when it is dropped.
pub(crate) struct Lease {
    name: String,
    holder: String,
    writer: WeakWriter,
    renewing: JoinHandle<()>,
    lost: watch::Receiver<Option<Error>>,
}

impl Lease {
    /// Gains the hold, waiting for it if asked to, and answers the position as it is by then.
    ///
    /// # Errors
    /// `consumer_busy` when somebody else has it.
    pub(crate) async fn gain(waiters: &Waiters, hold: ConsumerHold, wait: Duration) -> Result<(Lease, u64)> {
        let ConsumerHold { name, holder, .. } = hold.clone();
        let renewal = ConsumerHold { start: None, renew: true, ..hold.clone() };
        let operation = WriteOperation::ConsumerHold(renewal);
        let position = waiters.acquire(&Claimable::Consumer(hold), wait).await?.keep()?.into_position()?;
        let writer = waiters.writer().downgrade();
        let (tell, lost) = watch::channel(None);
        let renewing = tokio::spawn(renew(writer.clone(), operation, tell));
        Ok((Lease { name, holder, writer, renewing, lost }, position))
    }

    /// Who has it.
    pub(crate) fn holder(&self) -> &str {
        &self.holder
    }

    /// The error of a hold that was lost already.
    pub(crate) fn check(&self) -> Result<()> {
        self.lost.borrow().clone().map_or(Ok(()), Err)
    }

    /// Waits until the hold is lost, and answers to whom.
    pub(crate) async fn lost(&mut self) -> Error {
        match self.lost.wait_for(Option::is_some).await.map(|lost| lost.clone()) {
            Ok(Some(error)) => error,
            // The store is closing; whoever follows it hears of that elsewhere.
            _ => std::future::pending().await,
        }
    }

    /// Moves the position on.
    pub(crate) async fn commit(&self, seq: u64) -> Result<u64> {
        let (name, holder) = (self.name.clone(), Some(self.holder.clone()));
        let commit = WriteOperation::ConsumerCommit(ConsumerCommit { name, seq, holder });
        self.writer.write(Write::from(commit)).await?.into_position()
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
            // What cannot be renewed now is tried again: as long as nobody else has got it, it is still held.
            Err(error) => tracing::warn!(%error, "the hold on a consumer could not be renewed"),
            Ok(_) => {}
        }
    }
}

/// A name that no two sessions have: the host, this process, and something random.
#[must_use]
pub fn session_name() -> String {
    session_name_of(i32::try_from(std::process::id()).ok())
}

/// The same for another process, as far as it is known.
#[must_use]
pub(crate) fn session_name_of(pid: Option<i32>) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let process = pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
    format!("{host}/{process}/{}", uuid::Uuid::new_v4().simple())
}
