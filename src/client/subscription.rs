//! A subscription through a daemon, which goes on with the next daemon when one ends.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio_util::bytes::Bytes;

use super::connect::Target;
use super::own_connection::OwnConnection;
use crate::limits;
use crate::protocol::{Call, Subscribed, decode_event, decode_own, decode_reply, is_reply};
use crate::store::subscription::{Source, no_consumer};
use crate::store::{
    Change, Code, ConsumerCommit, Error, Event, Identity, Reply, Request, Result, Start, Subscribe,
    Subscription, WriteOperation,
};

struct Remote {
    target: Target,
    /// With the seq that was seen last, in its history.
    wanted: Subscribe,
    connection: Option<OwnConnection>,
    early: Early,
    /// What was dealt with and is not known to be committed: the first thing that the next session does.
    uncommitted: Option<u64>,
    /// The position of the consumer, as far as it was told.
    position: u64,
    /// How far the events were handed out. The next session begins at the position, and brings some of them again.
    handed_out: u64,
}

/// Events that came before the reply to a commit. A commit for each change would gather all that there is.
#[derive(Default)]
struct Early {
    lines: VecDeque<Bytes>,
    bytes: usize,
    /// Something was left out, so the next session brings it and what follows.
    is_over: bool,
}

impl Early {
    fn push(&mut self, line: Bytes) {
        self.bytes += line.len();
        self.is_over |= self.bytes > limits::EARLY_EVENTS_BYTES;
        if !self.is_over {
            self.lines.push_back(line);
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let line = self.lines.pop_front()?;
        self.bytes -= line.len();
        Some(line)
    }
}

/// Begins a subscription at the daemon that there is, or at the next one when that one ends.
pub(super) async fn begin(target: Target, wanted: Subscribe) -> Result<Subscription> {
    wanted.check()?;
    let wait = wanted.wait;
    let mut remote = Remote {
        target,
        wanted,
        connection: None,
        early: Early::default(),
        uncommitted: None,
        position: 0,
        handed_out: 0,
    };
    let Subscribed { seq, store_id, epoch, .. } = remote.new_session(wait, false).await?;
    // From here on it is known where it is, and in which history. A consumer is where the store says.
    let wanted = &mut remote.wanted;
    if wanted.consumer.is_none() && matches!(wanted.start, None | Some(Start::Now)) {
        wanted.start = Some(Start::After(seq));
    }
    wanted.epoch = Some(epoch.clone());
    Ok(Subscription::new(Identity { store_id, epoch }, seq, remote))
}

impl Remote {
    /// Subscribes anew, at the daemon that there is by then.
    async fn resume(&mut self) -> Result<()> {
        // The lease of a daemon that was killed stands until it expires.
        let lease = match self.wanted.consumer {
            Some(_) => Duration::from_millis(limits::CONSUMER_LEASE_MS) + limits::CONSUMER_RENEWAL,
            None => Duration::ZERO,
        };
        self.new_session(self.wanted.wait.max(lease), true).await.map(drop)
    }

    /// Tries it for as long as only a daemon that ended stands in the way.
    async fn new_session(&mut self, wait: Duration, is_resumed: bool) -> Result<Subscribed> {
        let begun = Instant::now();
        let mut gone_since = is_resumed.then_some(begun);
        let mut is_unknown = false;
        loop {
            let mut target = self.target.clone();
            // Whoever ended it may be about to start the next one.
            if gone_since.is_some_and(|since| since.elapsed() < limits::RESUME_PATIENCE) {
                target.handover = None;
            }
            let asked = Instant::now();
            let left = wait.saturating_sub(begun.elapsed());
            let mut has_ended = false;
            let error = match self.begin_session(&target, left, &mut has_ended).await {
                Err(error) if passes(&error) => error,
                Err(error) => return Err(if is_unknown { error.unknown() } else { error }),
                Ok(subscribed) => return Ok(subscribed),
            };
            is_unknown |= error.maybe;
            // One that let it wait for long was there until now.
            if has_ended && (gone_since.is_none() || asked.elapsed() >= 2 * limits::RESUME_PATIENCE) {
                gone_since = Some(Instant::now());
            }
            if gone_since.is_none_or(|since| since.elapsed() >= limits::RESUME_TIMEOUT) {
                return Err(if is_unknown { error.unknown() } else { error });
            }
            tokio::time::sleep(limits::RESUME_INTERVAL).await;
        }
    }

    /// Tells whether the daemon ended under it.
    async fn begin_session(
        &mut self,
        target: &Target,
        wait: Duration,
        has_ended: &mut bool,
    ) -> Result<Subscribed> {
        self.early = Early::default();
        let greeted = target.connect().await?;
        let opened = OwnConnection::open(&greeted.socket).await;
        *has_ended = opened.is_err();
        let mut connection = opened?;
        let call = Call::Subscribe(Subscribe { wait, ..self.wanted.clone() });
        let subscribed = match connection.ask(&call, wait).await.and_then(|reply| decode_own(&reply)) {
            Ok(subscribed) => subscribed,
            Err(error) => {
                *has_ended = passes(&error) && connection.has_ended().await;
                // A subscription is no write: nothing of it can have been applied.
                return Err(Error { maybe: false, ..error });
            }
        };
        self.connection = Some(connection);
        if let Some(seq) = self.uncommitted {
            self.commit_in_session(seq).await?;
        }
        Ok(subscribed)
    }

    /// A session is over when its daemon is. What was not answered then the next one may commit, which harms nothing:
    /// positions never go back.
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
                self.early.push(line);
            }
        };
        let reply = tokio::time::timeout(limits::CALL_TIMEOUT, reply).await;
        let line = reply.ok().flatten().ok_or_else(|| gone().unknown())?;
        let answer = decode_reply(&request, &line);
        match &answer {
            Err(error) if passes(error) => {
                if !connection.has_ended().await {
                    self.connection = Some(connection);
                }
                return Err(error.clone());
            }
            _ => self.uncommitted = None,
        }
        if self.early.is_over {
            self.early = Early::default();
        } else {
            self.connection = Some(connection);
        }
        match answer? {
            Reply::Position { position } => {
                self.position = position;
                Ok(position)
            }
            other => {
                Err(Error::new(Code::Internal, format!("the daemon answered something else: {other:?}")))
            }
        }
    }

    async fn line(&mut self) -> Option<Bytes> {
        if let Some(line) = self.early.pop() {
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
            let known = self.position.max(self.handed_out);
            match decode_event(&line) {
                Ok(Some(Event::Change(change))) if change.seq <= known => {}
                Ok(Some(Event::Progress { seq, .. })) if seq < known => {}
                Ok(None) => {}
                Ok(Some(event)) => {
                    let (Event::Change(Change { seq, .. }) | Event::Progress { seq, .. }) = &event;
                    self.handed_out = *seq;
                    if self.wanted.consumer.is_none() {
                        self.wanted.start = Some(Start::After(*seq));
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
            Err(lost) if self.connection.is_none() && self.uncommitted.is_some() => match self.resume().await
            {
                Err(error) if lost.maybe => Err(error.unknown()),
                resumed => resumed.map(|()| self.position),
            },
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_events_are_kept_up_to_a_bound() {
        let line = Bytes::from(vec![b'x'; limits::EARLY_EVENTS_BYTES / 4]);
        let mut early = Early::default();
        for _ in 0..4 {
            early.push(line.clone());
        }
        assert!(early.pop().is_some() && !early.is_over);
        early.push(line.clone());
        assert!(!early.is_over);
        early.push(line.clone());
        // What follows something that was left out would leave a hole.
        early.push(Bytes::from_static(b"x"));
        assert_eq!((early.is_over, early.lines.len()), (true, 4));
    }
}
