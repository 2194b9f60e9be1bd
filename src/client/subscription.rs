//! A subscription through a daemon, which goes on with the next daemon when one ends.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::bytes::Bytes;

use super::connect::Target;
use super::own_connection::OwnConnection;
use crate::limits;
use crate::protocol::{Call, Subscribed, decode_event, decode_own, decode_reply, is_reply};
use crate::store::subscription::{Source, no_consumer};
use crate::store::{
    Code, ConsumerCommit, Error, Event, Identity, Reply, Request, Result, Start, Subscribe, Subscription,
    WriteOperation,
};

struct Remote {
    target: Target,
    /// With the seq that was seen last, in its history.
    wanted: Subscribe,
    connection: Option<OwnConnection>,
    /// Events that came before the reply to a commit.
    early: VecDeque<Bytes>,
    /// What was dealt with and is not known to be committed: the first thing that the next session does.
    uncommitted: Option<u64>,
    /// Where the next session begins by that. What comes before it was dealt with.
    position: u64,
}

/// Begins a subscription at the daemon that listens on this socket.
pub(super) async fn begin(target: Target, socket: &Path, wanted: Subscribe) -> Result<Subscription> {
    wanted.check()?;
    let (connection, Subscribed { seq, store_id, epoch, .. }) = subscribe(socket, &wanted).await?;
    // From here on it is known where it is, and in which history. A consumer is where the store says.
    let start = match wanted.start {
        None | Some(Start::Now) if wanted.consumer.is_none() => Some(Start::After(seq)),
        start => start,
    };
    let wanted = Subscribe { start, epoch: Some(epoch.clone()), ..wanted };
    let remote = Remote {
        target,
        wanted,
        connection: Some(connection),
        early: VecDeque::new(),
        uncommitted: None,
        position: 0,
    };
    Ok(Subscription::new(Identity { store_id, epoch }, seq, remote))
}

async fn subscribe(socket: &Path, wanted: &Subscribe) -> Result<(OwnConnection, Subscribed)> {
    let call = Call::Subscribe(wanted.clone());
    let opened = OwnConnection::open(socket, &call, wanted.wait).await;
    // A subscription is no write: nothing of it can have been applied.
    let (connection, reply) = opened.map_err(|error| Error { maybe: false, ..error })?;
    Ok((connection, decode_own(&reply)?))
}

impl Remote {
    /// Subscribes anew, at the daemon that there is by then.
    async fn resume(&mut self) -> Result<()> {
        self.early.clear();
        let begun = Instant::now();
        let only_looking = Target { handover: None, ..self.target.clone() };
        // The lease of a daemon that was killed stands until it expires.
        let patience = match self.wanted.consumer {
            Some(_) => Duration::from_millis(limits::CONSUMER_LEASE_MS) + limits::CONSUMER_RENEWAL,
            None => Duration::ZERO,
        };
        self.wanted.wait = self.wanted.wait.max(patience);
        let deadline = Instant::now() + limits::RESUME_TIMEOUT;
        let mut is_unknown = false;
        loop {
            tokio::time::sleep(limits::RESUME_INTERVAL).await;
            let is_patient = begun.elapsed() < limits::RESUME_PATIENCE;
            let target = if is_patient { only_looking.clone() } else { self.target.clone() };
            match self.begin_session(&target).await {
                Err(error) if passes(&error) && Instant::now() < deadline => is_unknown |= error.maybe,
                Err(error) => return Err(if is_unknown { error.unknown() } else { error }),
                Ok(()) => return Ok(()),
            }
        }
    }

    async fn begin_session(&mut self, target: &Target) -> Result<()> {
        let greeted = target.connect().await?;
        let (connection, _) = subscribe(&greeted.socket, &self.wanted).await?;
        self.connection = Some(connection);
        if let Some(seq) = self.uncommitted {
            self.position = self.commit_in_session(seq).await?;
        }
        Ok(())
    }

    /// A session whose answer does not come is over.
    ///
    /// # Errors
    /// An error that [`passes`] when the next session may try it again, which harms nothing: positions never go back.
    async fn commit_in_session(&mut self, seq: u64) -> Result<u64> {
        let name = self.wanted.consumer.clone().ok_or_else(no_consumer)?;
        let commit = WriteOperation::ConsumerCommit(ConsumerCommit { name, seq, holder: None });
        let request = Request::Write(commit.into());
        let gone = || Error::new(Code::Unavailable, "the daemon went away before it answered");
        // Not put back unless it is sound: half a line may have been sent, or a reply be under way.
        let mut connection = self.connection.take().ok_or_else(gone)?;
        let reply = async {
            connection.send(&Call::Store(request.clone())).await.ok()?;
            loop {
                let line = connection.line().await?;
                if is_reply(&line) {
                    return Some(line);
                }
                self.early.push_back(line);
            }
        };
        let reply = tokio::time::timeout(limits::CALL_TIMEOUT, reply).await;
        let line = reply.ok().flatten().ok_or_else(|| gone().unknown())?;
        let answer = decode_reply(&request, &line);
        if answer.as_ref().is_err_and(passes) {
            return Err(answer.err().unwrap_or_else(gone));
        }
        self.connection = Some(connection);
        self.uncommitted = None;
        match answer? {
            Reply::Position { position } => Ok(position),
            other => {
                Err(Error::new(Code::Internal, format!("the daemon answered something else: {other:?}")))
            }
        }
    }

    async fn line(&mut self) -> Option<Bytes> {
        if let Some(line) = self.early.pop_front() {
            return Some(line);
        }
        self.connection.as_mut()?.line().await
    }
}

/// Whether a daemon that ends, or has no place just now, is all that there is to it.
fn passes(error: &Error) -> bool {
    error.retry && error.code != Code::ConsumerBusy
}

#[async_trait]
impl Source for Remote {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if self.connection.is_none() {
                // Whoever waits for an event has written nothing.
                self.resume().await.map_err(|error| Error { maybe: false, ..error })?;
            }
            let Some(line) = self.line().await else {
                self.connection = None;
                continue;
            };
            // The reply to a commit whose caller went away.
            if is_reply(&line) {
                continue;
            }
            match decode_event(&line) {
                Ok(Some(Event::Change(change))) if change.seq <= self.position => {}
                Ok(None) => {}
                Ok(Some(event)) => {
                    let seq = match &event {
                        Event::Change(change) => change.seq,
                        Event::Progress { seq, .. } => *seq,
                    };
                    if self.wanted.consumer.is_none() {
                        self.wanted.start = Some(Start::After(seq));
                    }
                    return Ok(event);
                }
                Err(error) => {
                    self.connection = None;
                    if !passes(&error) {
                        return Err(error);
                    }
                }
            }
        }
    }

    async fn commit(&mut self, seq: u64) -> Result<u64> {
        if self.wanted.consumer.is_none() {
            return Err(no_consumer());
        }
        self.uncommitted = Some(seq);
        match self.commit_in_session(seq).await {
            Err(lost) if passes(&lost) => match self.resume().await {
                Err(error) if lost.maybe => Err(error.unknown()),
                resumed => resumed.map(|()| self.position),
            },
            outcome => outcome,
        }
    }
}
