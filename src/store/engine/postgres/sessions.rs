//! The connections of an engine: one that writes, a few that read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::pooled;
use super::lock;
use super::session::{Notifications, Session, connect};
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::open::postgres::PostgresPlace;

pub(super) struct Sessions {
    pub(super) place: PostgresPlace,
    /// The connection that writes, when it is not in use.
    writer: tokio::sync::Mutex<Option<Session>>,
    /// Those that read and are not in use, with the time since when.
    idle: Mutex<Vec<(Session, Instant)>>,
    turns: Arc<Semaphore>,
    /// How the last try to connect failed, and when.
    failure: Mutex<Option<(Instant, Error)>>,
    /// The processes of the server behind the sessions that there are.
    alive: Mutex<Vec<Weak<str>>>,
    /// Counts the losses of connections: behind the address may be another server by then.
    losses: AtomicU64,
}

/// A connection that reads, for as long as somebody reads by it.
pub(super) struct Reader {
    pub(super) session: Session,
    _turn: OwnedSemaphorePermit,
}

impl Sessions {
    pub(super) fn new(place: PostgresPlace) -> Sessions {
        Sessions {
            place,
            writer: tokio::sync::Mutex::default(),
            idle: Mutex::default(),
            turns: Arc::new(Semaphore::new(limits::POSTGRES_READERS)),
            failure: Mutex::default(),
            alive: Mutex::default(),
            losses: AtomicU64::new(0),
        }
    }

    /// Connects, unless that has just failed.
    ///
    /// # Errors
    /// Why the servers cannot be reached, or do not let us in.
    pub(super) async fn connect(&self) -> Result<(Session, Notifications)> {
        let failed = lock(&self.failure)
            .as_ref()
            .filter(|(at, _)| at.elapsed() < limits::POSTGRES_RECONNECT_PAUSE)
            .cloned();
        if let Some((_, error)) = failed {
            return Err(error);
        }
        match connect(&self.place).await {
            Ok((mut session, notifications)) => {
                self.check_apart(&session)?;
                *lock(&self.failure) = None;
                session.opened = self.losses.load(Ordering::SeqCst);
                Ok((session, notifications))
            }
            Err(error) => {
                *lock(&self.failure) = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    /// Checks that no other session of this process has the same process of the server behind it.
    fn check_apart(&self, session: &Session) -> Result<()> {
        let mut alive = lock(&self.alive);
        alive.retain(|backend| backend.strong_count() > 0);
        if alive.iter().filter_map(Weak::upgrade).any(|backend| backend == session.backend) {
            return Err(pooled());
        }
        alive.push(Arc::downgrade(&session.backend));
        Ok(())
    }

    /// Counts a connection that was lost.
    pub(super) fn count_loss(&self) {
        self.losses.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether no connection was lost since this one was opened.
    pub(super) fn is_current(&self, session: &Session) -> bool {
        session.opened == self.losses.load(Ordering::SeqCst)
    }

    /// The connection that was kept at the place of the one that writes, when it is of use; else a new one.
    ///
    /// # Errors
    /// Those of [`connect`](Sessions::connect).
    pub(super) async fn take_writer(&self, place: &mut Option<Session>) -> Result<Session> {
        let is_of_use =
            |session: &Session| !session.is_lost() && !session.is_too_early() && self.is_current(session);
        match place.take().filter(is_of_use) {
            Some(session) => Ok(session),
            None => Ok(self.connect().await?.0),
        }
    }

    /// The place of the connection that writes. Whoever has it is the only writer of this process.
    pub(super) async fn writer(&self) -> tokio::sync::MutexGuard<'_, Option<Session>> {
        self.writer.lock().await
    }

    /// A connection that reads. `is_fresh` says to make a new one.
    ///
    /// # Errors
    /// `busy` when all are in use for too long, and those of [`connect`](Sessions::connect).
    pub(super) async fn reader(&self, is_fresh: bool) -> Result<Reader> {
        let turn = Arc::clone(&self.turns).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(limits::POSTGRES_LOCK_TIMEOUT, turn).await else {
            return Err(Error::new(Code::Busy, "all connections that read are in use").hint("try again"));
        };
        let idle = (!is_fresh).then(|| lock(&self.idle).pop()).flatten();
        let session = match idle.map(|(session, _)| session).filter(|session| !session.is_lost()) {
            Some(session) => session,
            None => self.connect().await?.0,
        };
        Ok(Reader { session, _turn: turn })
    }

    /// Takes back a connection that is of use.
    pub(super) fn give_back(&self, Reader { session, _turn }: Reader) {
        // While sessions of before and after a loss are both there, a reader must not take the former for the latter.
        if !session.is_lost() && self.is_current(&session) {
            lock(&self.idle).push((session, Instant::now()));
        }
    }

    /// Closes connections that nobody needed lately; one stays.
    pub(super) fn tend(&self) {
        let mut idle = lock(&self.idle);
        let mut kept = 0;
        idle.retain(|(_, since)| {
            kept += 1;
            kept == 1 || since.elapsed() < limits::POSTGRES_READER_IDLE
        });
    }

    pub(super) async fn close(&self) {
        *self.writer.lock().await = None;
        lock(&self.idle).clear();
    }
}
