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

/// A subscription of a client, across the daemons that serve it one after the other.
struct RemoteSubscription {
    target: Target,
    /// What the next session asks for: it starts after the last change that was handed out, in the epoch of the first session.
    request: Subscribe,
    session: Option<Session>,
    /// The seq up to which the caller has asked to commit, until a daemon has confirmed it. The next session commits it
    /// first.
    uncommitted: Option<u64>,
    /// The last position of the consumer that a daemon has confirmed.
    position: u64,
    /// The seq of the last event that was handed out. A session of a consumer begins at its position, so the next one brings
    /// some events again, which are dropped.
    handed_out: u64,
}

/// The part of a subscription at one daemon.
struct Session {
    events: OwnConnection,
    /// The connection for commits; none while a commit is under way, and without a consumer. On the connection of the
    /// events, their replies would come behind all events that were sent before.
    commits: Option<OwnConnection>,
    /// The name under which this session holds the consumer, from the daemon.
    holder: Option<String>,
}

/// What became of the daemon while a session was begun.
enum Ending {
    /// It did not end.
    None,
    /// It ended in order: it answered the request, or did not take it.
    InOrder,
    /// It took the request at the time `asked` and ended without an answer.
    Unanswered { asked: Instant },
}

/// Begins a subscription at the daemon of the target, or at the next one when that one ends.
///
/// # Errors
/// As [`Store::subscribe`](crate::store::Store::subscribe), and as those of a connect.
pub(super) async fn begin(target: Target, request: Subscribe) -> Result<Subscription> {
    request.check()?;
    let wait = request.wait;
    let mut remote =
        RemoteSubscription { target, request, session: None, uncommitted: None, position: 0, handed_out: 0 };
    let Subscribed { seq, store_id, epoch, .. } = remote.new_session(wait, false).await?;
    // The next session goes on from here, in the same epoch. The position of a consumer is in the store.
    let request = &mut remote.request;
    if request.consumer.is_none() && matches!(request.start, None | Some(Start::Now)) {
        request.start = Some(Start::After(seq));
    }
    request.epoch = Some(epoch.clone());
    Ok(Subscription::new(Identity { store_id, epoch }, seq, remote))
}

impl RemoteSubscription {
    /// Begins the next session after the last one has ended.
    async fn resume(&mut self) -> Result<()> {
        // When the daemon was killed, the lease of the last session stands until it expires.
        let lease = match self.request.consumer {
            Some(_) => limits::CONSUMER_LEASE + limits::CONSUMER_RENEWAL,
            None => Duration::ZERO,
        };
        self.new_session(self.request.wait.max(lease), true).await.map(drop)
    }

    /// Begins a session. Tries again for up to [`limits::RESUME_TIMEOUT`] while the only obstacle is a daemon that ended.
    /// `wait` is how long it may wait for a consumer that another session holds.
    async fn new_session(&mut self, wait: Duration, is_resumed: bool) -> Result<Subscribed> {
        let begun = Instant::now();
        let mut gone_since = is_resumed.then_some(begun);
        let mut is_unknown = false;
        let mut deaths = Deaths::default();
        loop {
            let mut target = self.target.clone();
            // What ended the daemon may be about to start the next one.
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
            // A daemon that kept the request waiting for long lived until now.
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

    /// Tries once to begin a session, and sets `ending` when the daemon ends meanwhile.
    async fn begin_session(
        &mut self,
        target: &Target,
        wait: Duration,
        ending: &mut Ending,
    ) -> Result<Subscribed> {
        // The connections of the last session hold the consumer, which this one is to get.
        self.session = None;
        let socket = target.connect().await?.socket;
        // This connection is made before that of the events, so that no commit goes to a later daemon.
        let commits = match self.request.consumer {
            Some(_) => Some(OwnConnection::open(&socket).await.inspect_err(|_| *ending = Ending::InOrder)?),
            None => None,
        };
        let mut events = OwnConnection::open(&socket).await.inspect_err(|_| *ending = Ending::InOrder)?;
        let call = Call::Subscribe(Subscribe { wait, ..self.request.clone() });
        let asked = Instant::now();
        let subscribed: Subscribed = match events.ask(&call, wait).await.and_then(|reply| decode_own(&reply))
        {
            Ok(subscribed) => subscribed,
            Err(error) => {
                if passes(&error) && events.has_ended().await {
                    *ending = if error.maybe { Ending::Unanswered { asked } } else { Ending::InOrder };
                }
                // A subscription writes nothing that could have been applied.
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

    /// Commits a position by the present session. Ends the session when its daemon has ended; the next session may then
    /// commit the same again, which has no second effect, because positions never go back.
    async fn commit_in_session(&mut self, seq: u64) -> Result<u64> {
        let name = self.request.consumer.clone().ok_or_else(no_consumer)?;
        let Some(session) = &mut self.session else { return Err(gone()) };
        let commit =
            ConsumerCommit { name, seq, holder: session.holder.clone(), ..ConsumerCommit::default() };
        let request = Request::Write(WriteOperation::ConsumerCommit(commit).into());
        // When the caller drops this future, the connection is not used again: half a line may have been sent, or a reply may
        // be under way.
        let commits = session.commits.take();
        let socket = session.events.socket().to_owned();
        let answered = async {
            let mut commits = match commits {
                Some(commits) => commits,
                None => OwnConnection::open(&socket).await?,
            };
            let line = commits.ask(&Call::Store(request.clone()), Duration::ZERO).await?;
            Ok((commits, line))
        };
        let (mut commits, line) = answered.await.inspect_err(|_: &Error| self.session = None)?;
        let answer = decode_reply(&request, &line);
        match &answer {
            Err(error) if is_unheld(error) => self.session = None,
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

/// The error when the session has ended before the commit.
fn gone() -> Error {
    Error::new(Code::Unavailable, "the daemon went away")
}

/// Whether the session has lost the consumer and no other session holds it: the daemon ends a session that reads nothing
/// for long, as while its program runs. Then the next session may commit in its place.
fn is_unheld(error: &Error) -> bool {
    error.code == Code::ConsumerBusy && error.details.holder.is_none()
}

/// Whether an error passes by itself: the daemon is ending, or has no free place at the moment.
fn passes(error: &Error) -> bool {
    error.retry && error.code != Code::ConsumerBusy
}

#[async_trait]
impl Source for RemoteSubscription {
    async fn next(&mut self) -> Result<Event> {
        loop {
            let Some(session) = &mut self.session else {
                // To wait for an event writes nothing that could have been applied.
                self.resume().await.map_err(|error| Error { maybe: false, ..error })?;
                continue;
            };
            let Some(line) = session.events.line().await else {
                self.session = None;
                continue;
            };
            let delivered = self.position.max(self.handed_out);
            match decode_event(&line) {
                Ok(Some(Event::Change(change))) if change.seq <= delivered => {}
                Ok(Some(Event::Progress { seq, .. })) if seq < delivered => {}
                Ok(None) => {}
                Ok(Some(event)) => {
                    let (Event::Change(Change { seq, .. }) | Event::Progress { seq, .. }) = &event;
                    self.handed_out = *seq;
                    if self.request.consumer.is_none() {
                        self.request.start = Some(Start::After(*seq));
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
        if self.request.consumer.is_none() {
            return Err(no_consumer());
        }
        self.uncommitted = Some(seq);
        match self.commit_in_session(seq).await {
            Err(failure) if self.session.is_none() && self.uncommitted.is_some() => match self.resume().await
            {
                Err(error) if failure.maybe => Err(error.unknown()),
                resumed => resumed.map(|()| self.position),
            },
            outcome => outcome,
        }
    }
}
