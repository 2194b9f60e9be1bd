//! The rules of consumers: a position that never goes back, and one holder at a time.

use super::Planner;
use super::rows::{ConsumerRow, Lease};
use crate::store::error::{Code, Error, Result};
use crate::store::filter::Filter;
use crate::store::reply::Consumer;
use crate::store::request::{ConsumerCommit, ConsumerHold, ConsumerLeave};
use crate::store::subscription::{Start, check_position, future};
use crate::store::time::Timestamp;

impl ConsumerRow {
    /// The consumer as it is shown: a lease that expired is none. `waiting_since_ms` is the time of the oldest change that it
    /// has still to deal with.
    pub(crate) fn shown(&self, name: &str, waiting_since_ms: Option<i64>, now_ms: i64) -> Consumer {
        let lease = self.held(now_ms);
        Consumer {
            name: name.to_owned(),
            position: self.position,
            filter: self.filter.clone().unwrap_or_default(),
            waiting_since: waiting_since_ms.map(Timestamp::from_unix_ms),
            holder: lease.map(|lease| lease.holder.clone()),
            expires: lease.map(|lease| Timestamp::from_unix_ms(lease.expires_ms)),
        }
    }

    /// The error of another session that wants it, while it is held.
    pub(crate) fn refusal(&self, name: &str, now_ms: i64) -> Option<Error> {
        self.held(now_ms).map(|lease| busy(name, lease))
    }

    fn held(&self, now_ms: i64) -> Option<&Lease> {
        self.lease.as_ref().filter(|lease| lease.expires_ms > now_ms)
    }
}

impl Planner {
    /// Answers the position and the filter. They are those in the store, whatever the holder knows from before.
    pub(super) fn hold(&mut self, request: &ConsumerHold) -> Result<(u64, Filter)> {
        let ConsumerHold { name, holder, duration, start, filter, renew } = request;
        let row = self.consumers.get(name);
        let present = row.and_then(|row| row.held(self.now_ms));
        if let Some(lease) = present.filter(|lease| lease.holder != *holder) {
            return Err(busy(name, lease));
        }
        let was_mine = |row: &ConsumerRow| row.lease.as_ref().is_some_and(|lease| lease.holder == *holder);
        if *renew && !row.is_some_and(was_mine) {
            return Err(lost(name));
        }
        let is_new = present.is_none();
        let filter = filter_of(name, row, filter)?;
        let position = match row {
            Some(row) => row.position,
            None => first_position(start.as_ref(), self.meta.first, self.meta.head)?,
        };
        let expires_ms = self.expires_ms(*duration);
        self.meta.lock_seq += u64::from(is_new);
        let lease = Some(Lease { holder: holder.clone(), expires_ms });
        self.consumers.set(name, Some(ConsumerRow { position, filter: Some(filter.clone()), lease }));
        Ok((position, filter))
    }

    /// Answers whether the holder had something to give up.
    pub(super) fn leave(&mut self, request: &ConsumerLeave) -> bool {
        let ConsumerLeave { name, holder } = request;
        let Some(row) = self.consumers.get(name) else { return false };
        if row.lease.as_ref().is_none_or(|lease| lease.holder != *holder) {
            return false;
        }
        let row = ConsumerRow { lease: None, ..row.clone() };
        self.meta.lock_seq += 1;
        self.consumers.set(name, Some(row));
        true
    }

    /// Answers the position, which is the one before when that is further.
    ///
    /// A holder whose lease expired may commit as long as nobody else got the name: it still is the one who knows.
    pub(super) fn commit(&mut self, request: &ConsumerCommit) -> Result<u64> {
        let ConsumerCommit { name, seq, holder, filter } = request;
        let row = self.consumers.get(name);
        match (holder, row.and_then(|row| row.lease.as_ref())) {
            (Some(holder), Some(lease)) if lease.holder == *holder => {}
            (Some(_), Some(lease)) => return Err(busy(name, lease)),
            (Some(_), None) => return Err(lost(name)),
            (None, Some(lease)) if lease.expires_ms > self.now_ms => return Err(busy(name, lease)),
            (None, _) => {}
        }
        if *seq > self.meta.head {
            return Err(future(*seq, self.meta.head));
        }
        // A position alone does not tell what its reader wants.
        let filter = match filter.is_all() {
            true => row.and_then(|row| row.filter.clone()),
            false => Some(filter_of(name, row, filter)?),
        };
        let before = row.map(|row| row.position);
        if before.is_none() {
            check_position(*seq, self.meta.first, self.meta.head)?;
        }
        let position = before.map_or(*seq, |before| before.max(*seq));
        if before != Some(position) || row.is_some_and(|row| row.filter != filter) {
            let lease = row.and_then(|row| row.lease.clone());
            self.consumers.set(name, Some(ConsumerRow { position, filter, lease }));
        }
        Ok(position)
    }

    /// Answers whether there was one.
    pub(super) fn forget(&mut self, name: &str) -> Result<bool> {
        let Some(row) = self.consumers.get(name) else { return Ok(false) };
        if let Some(lease) = row.held(self.now_ms) {
            return Err(busy(name, lease));
        }
        self.consumers.set(name, None);
        Ok(true)
    }
}

/// The filter with which a consumer is used.
///
/// # Errors
/// `bad_request` when it keeps another one than the one that is asked for.
pub(crate) fn filter_of(name: &str, row: Option<&ConsumerRow>, wanted: &Filter) -> Result<Filter> {
    wanted.for_consumer(name, row.and_then(|row| row.filter.as_ref()))
}

/// Where a consumer begins that is not there yet.
///
/// # Errors
/// `future` or `trimmed` when it cannot begin there.
pub(crate) fn first_position(start: Option<&Start>, first: u64, head: u64) -> Result<u64> {
    match start {
        // It never saw what was trimmed, so it misses nothing of it.
        None => Ok(first - 1),
        Some(Start::Now) => Ok(head),
        Some(Start::After(seq)) => check_position(*seq, first, head).map(|()| *seq),
    }
}

fn busy(name: &str, lease: &Lease) -> Error {
    let expires = Timestamp::from_unix_ms(lease.expires_ms);
    let message = format!("{} follows the stream as {name} until {expires}, or longer", lease.holder);
    let mut error = Error::new(Code::ConsumerBusy, message).hint("end it, or wait for it");
    error.details.holder = Some(lease.holder.clone());
    error.details.expires_ms = Some(lease.expires_ms);
    error
}

fn lost(name: &str) -> Error {
    let message = format!("the session does not follow the stream as {name} any more");
    Error::new(Code::ConsumerBusy, message).hint("follow it anew: the position is read again")
}
