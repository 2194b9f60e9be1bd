//! The rules of records that expire. A record whose time is over is absent for every write and every read, whether or not somebody
//! has removed it. It leaves by a change of its own, before anything else happens in the batch that comes upon it.

use super::Planner;
use super::rows::Row;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::record::Action;
use crate::store::reply::{Reply, Written};
use crate::store::request::{Expire, ExpiryChange, TypeChange};

/// Whether the time of a record is over.
pub(crate) fn is_over(expires_ms: Option<i64>, now_ms: i64) -> bool {
    expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms)
}

/// What a batch has removed because its time was over.
#[derive(Debug, Default)]
pub(super) struct Expired {
    removed: u64,
    /// In how many milliseconds the next one expires, as far as that was asked for.
    next_ms: Option<u64>,
}

impl Planner {
    /// Removes the records whose time is over: those that the batch touches, and `swept`, which expired first. `next_ms` is when
    /// the first one expires of the others, if that was asked for.
    pub(super) fn remove_expired(&mut self, swept: Vec<(String, Row)>, next_ms: Option<i64>) {
        let are_left = swept.len() >= limits::EXPIRED_PER_BATCH;
        // A server may have found more than have expired by the time of the batch, which it told before.
        let found = swept.iter().filter_map(|(_, row)| row.expires_ms).filter(|&ms| ms > self.now_ms);
        let left = |ms: i64| u64::try_from(ms.saturating_sub(self.now_ms)).unwrap_or(0);
        let next_ms = if are_left { Some(0) } else { found.min().or(next_ms).map(left) };
        for (key, row) in swept {
            self.records.add_stored(key, row);
        }
        let now_ms = self.now_ms;
        let mut over: Vec<(i64, String)> = self
            .records
            .iter()
            .filter(|(_, row)| is_over(row.expires_ms, now_ms))
            .filter_map(|(key, row)| row.expires_ms.map(|expires_ms| (expires_ms, key.clone())))
            .collect();
        over.sort_unstable();
        self.expired = Expired { removed: over.len() as u64, next_ms };
        for (_, key) in over {
            if let Some(row) = self.set(&key, None) {
                self.append(self.meta.head + 1, Action::Expire, &key, row);
                self.end_call();
            }
        }
    }

    pub(super) fn expired_removed(&self) -> Reply {
        let Expired { removed, next_ms } = self.expired;
        Reply::ExpiredRemoved { removed, next_ms }
    }

    /// When a record expires that is written now and is in the place of `present`.
    pub(super) fn expiry(&self, change: ExpiryChange, present: Option<&Row>) -> Option<i64> {
        match change {
            ExpiryChange::Keep => present.and_then(|row| row.expires_ms),
            ExpiryChange::Clear => None,
            ExpiryChange::After(ttl) => Some(self.expires_ms(ttl)),
        }
    }

    pub(super) fn expire(&mut self, expire: &Expire, tx: u64) -> Result<Written> {
        let Expire { key, ttl, condition } = expire;
        let Some(value) = self.value_to_change(key, *condition)? else {
            return Err(Error::new(Code::NotFound, format!("{key} is not there, so it cannot expire")));
        };
        self.spend_value_bytes(value.get().len(), false)?;
        Ok(self.write(key, value, &TypeChange::Keep, (*ttl).into(), tx))
    }
}
