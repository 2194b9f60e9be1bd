//! A subscription through a daemon, which goes on with the next daemon when one ends.

use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::connect::Target;
use super::deaths::Deaths;
use super::own_connection::OwnConnection;
use crate::limits;
use crate::protocol::{Call, Subscribed, decode_event, decode_own, decode_reply};
use crate::store::subscription::{Source, no_consumer};
use crate::store::{
    Change, Code, ConsumerCommit, Error, Event, Identity, Request, Result, Start, Subscribe, Subscription,
    WriteOperation,
};

struct Remote {
    target: Target,
    /// With the seq that was seen last, in its history.
    wanted: Subscribe,
    session: Option<Session>,
    /// What was dealt with and is not known to be committed: the first thing that the next session does.
    uncommitted: Option<u64>,
    /// The position of the consumer, as far as it was told.
    position: u64,
    /// How far the events were handed out. The next session begins at the position, and brings some of them again.
    handed_out: u64,
}

/// A subscription at one daemon.
struct Session {
    events: OwnConnection,
    /// Commits have a connection of their own: on that of the events their replies would come behind all that was sent.
    commits: Option<OwnConnection>,
    /// Who the daemon says that holds the consumer.
    holder: Option<String>,
}

/// How the daemon ended under the begin of a session.
enum Ending {
    /// It is still there.
    None,
    InOrder,
    /// It took the request and went away without an answer.
    Unanswered {
        asked: Instant,
    },
}

/// Begins a subscription at the daemon that there is, or at the next one when that one ends.
pub(super) async fn begin(target: Target, wanted: Subscribe) -> Result<Subscription> {
    wanted.check()?;
    let wait = wanted.wait;
    let mut remote = Remote { target, wanted, session: None, uncommitted: None, position: 0, handed_out: 0 };
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
        let mut deaths = Deaths::default();
        loop {
            let mut target = self.target.clone();
            // Whoever ended it may be about to start the next one.
            if gone_since.is_some_and(|since| since.elapsed() < limits::RESUME_PATIENCE) {
                target.launch = None;
            }
            let asked = Instant::now();
            let left = wait.saturating_sub(begun.elapsed());
            let mut ending = Ending::None;
            let error = match self.begin_session(&target, left, &mut ending).await {
                Ok(subscribed) => return Ok(subscribed),
                Err(error) => error,
            };
            is_unknown |= error.maybe;
            if let Ending::Unanswered { asked } = ending {
                deaths.add(asked)?;
            }
            // One that let it wait for long was there until now.
            if !matches!(ending, Ending::None)
                && (gone_since.is_none() || asked.elapsed() >= 2 * limits::RESUME_PATIENCE)
            {
                gone_since = Some(Instant::now());
            }
            if !passes(&error) || gone_since.is_none_or(|since| since.elapsed() >= limits::RESUME_TIMEOUT) {
                return Err(if is_unknown { error.unknown() } else { error });
            }
            tokio::time::sleep(limits::RESUME_INTERVAL).await;
        }
    }

    /// Tells how the daemon ended under it.
    async fn begin_session(
        &mut self,
        target: &Target,
        wait: Duration,
        ending: &mut Ending,
    ) -> Result<Subscribed> {
        // What the last session held must not stand in the way of this one.
        self.session = None;
        let socket = target.connect().await?.socket;
        // Before the events, so that no commit goes to a later daemon.
        let commits = match self.wanted.consumer {
            Some(_) => Some(OwnConnection::open(&socket).await.inspect_err(|_| *ending = Ending::InOrder)?),
            None => None,
        };
        let mut events = OwnConnection::open(&socket).await.inspect_err(|_| *ending = Ending::InOrder)?;
        let call = Call::Subscribe(Subscribe { wait, ..self.wanted.clone() });
        let asked = Instant::now();
        let subscribed: Subscribed = match events.ask(&call, wait).await.and_then(|reply| decode_own(&reply))
        {
            Ok(subscribed) => subscribed,
            Err(error) => {
                if passes(&error) && events.has_ended().await {
                    *ending = if error.maybe { Ending::Unanswered { asked } } else { Ending::InOrder };
                }
                // A subscription is no write: nothing of it can have been applied.
                return Err(Error { maybe: false, ..error });
            }
        };
        let holder = subscribed.holder.clone();
        self.session = Some(Session { events, commits, holder });
        if let Some(seq) = self.uncommitted {
            self.commit_in_session(seq).await?;
        }
        Ok(subscribed)
    }

    /// A session is over when its daemon is. What was not answered then the next one may commit, which harms nothing:
    /// positions never go back.
    async fn commit_in_session(&mut self, seq: u64) -> Result<u64> {
        let name = self.wanted.consumer.clone().ok_or_else(no_consumer)?;
        let Some(session) = &mut self.session else { return Err(gone()) };
        let commit = ConsumerCommit { name, seq, holder: session.holder.clone() };
        let request = Request::Write(WriteOperation::ConsumerCommit(commit).into());
        // It is not used again when this is given up: half a line may have been sent, or a reply be under way.
        let taken = session.commits.take();
        let socket = session.events.socket().to_owned();
        let answered = async {
            let mut commits = match taken {
                Some(commits) => commits,
                None => OwnConnection::open(&socket).await?,
            };
            let line = commits.ask(&Call::Store(request.clone()), Duration::ZERO).await?;
            Ok((commits, line))
        };
        let (mut commits, line) = answered.await.inspect_err(|_: &Error| self.session = None)?;
        let answer = decode_reply(&request, &line);
        match &answer {
            Err(error) if is_free(error) => self.session = None,
            Err(error) if passes(error) => {
                if commits.has_ended().await {
                    self.session = None;
                }
            }
            _ => self.uncommitted = None,
        }
        if let Some(session) = &mut self.session {
            session.commits = Some(commits);
        }
        self.position = answer?.into_position()?;
        Ok(self.position)
    }
}

fn gone() -> Error {
    Error::new(Code::Unavailable, "the daemon went away")
}

/// Whether the session lost the consumer to nobody: the daemon ends one that takes nothing for long, as while a command
/// runs. The next session may commit what was dealt with.
fn is_free(error: &Error) -> bool {
    error.code == Code::ConsumerBusy && error.details.holder.is_none()
}

/// Whether a daemon that ends, or has no place just now, is all that there is to it.
fn passes(error: &Error) -> bool {
    error.retry && error.code != Code::ConsumerBusy
}

#[async_trait]
impl Source for Remote {
    async fn next(&mut self) -> Result<Event> {
        loop {
            let Some(session) = &mut self.session else {
                // Whoever waits for an event has written nothing.
                self.resume().await.map_err(|error| Error { maybe: false, ..error })?;
                continue;
            };
            let Some(line) = session.events.line().await else {
                self.session = None;
                continue;
            };
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
                    self.session = None;
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
            Err(lost) if self.session.is_none() && self.uncommitted.is_some() => match self.resume().await {
                Err(error) if lost.maybe => Err(error.unknown()),
                resumed => resumed.map(|()| self.position),
            },
            outcome => outcome,
        }
    }
}
