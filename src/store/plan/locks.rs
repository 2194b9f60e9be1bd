//! The rules of locks and fences.

use super::Planner;
use super::rows::LockRow;
use super::table::Table;
use crate::limits;
use crate::store::error::{Code, Error, Result};
use crate::store::reply::{Grant, Lock};
use crate::store::request::{Fence, LockAcquire, LockRelease};
use crate::store::time::Timestamp;

impl LockRow {
    /// The lock as it is shown, unless it expired.
    pub(crate) fn held(&self, name: &str, now_ms: i64) -> Option<Lock> {
        self.is_held(now_ms).then(|| Lock {
            name: name.to_owned(),
            owner: self.owner.clone(),
            fence: self.fence,
            expires: Timestamp::from_unix_ms(self.expires_ms),
        })
    }

    fn is_held(&self, now_ms: i64) -> bool {
        self.expires_ms > now_ms
    }

    /// The error of another owner that wants it, while it is held.
    pub(crate) fn refusal(&self, name: &str, now_ms: i64) -> Option<Error> {
        self.is_held(now_ms).then(|| locked(name, self))
    }

    /// Whether it expired so long ago that it counts as released.
    fn is_over(&self, now_ms: i64) -> bool {
        self.expires_ms.saturating_add(limits::LOCK_KEPT_MS) <= now_ms
    }

    /// The same grant, for longer.
    fn refreshed(&self, expires_ms: i64) -> LockRow {
        LockRow { refreshes: self.refreshes + 1, expires_ms: self.expires_ms.max(expires_ms), ..self.clone() }
    }
}

/// Removes locks that are over for good, of those that were only looked at for that.
pub(super) fn sweep(locks: &mut Table<LockRow>, swept: Vec<(String, LockRow)>, now_ms: i64) {
    for (name, lock) in swept {
        if lock.expires_ms.saturating_add(limits::LOCK_ROW_KEPT_MS) <= now_ms && locks.get(&name).is_none() {
            locks.add_stored(name.clone(), lock);
            locks.set(&name, None);
        }
    }
}

impl Planner {
    /// The last grant of a lock, if it was not released and is not over.
    fn lock(&self, name: &str) -> Option<&LockRow> {
        self.locks.get(name).filter(|lock| !lock.is_over(self.now_ms))
    }

    /// The holder refreshes, anybody else waits for the expiry. A new grant has a new fence, also for the last owner:
    /// somebody else may have held the lock in between. Whoever names the fence of a grant refreshes that grant or
    /// nothing: its row stays for a day, the next grant or the release, so it tells whether either happened.
    pub(super) fn acquire(&mut self, request: &LockAcquire) -> Result<Grant> {
        let LockAcquire { name, owner, duration, fence } = request;
        let expires_ms = self.expires_ms(*duration);
        let present = self.lock(name);
        let row = match (present, fence) {
            (Some(lock), Some(fence)) if lock.owner == *owner && lock.fence == *fence => {
                lock.refreshed(expires_ms)
            }
            (present, Some(fence)) => {
                let message = format!("{owner} does not hold {name} with the fence {fence} any more");
                return Err(self.not_owner(message, present));
            }
            (Some(lock), None) if lock.is_held(self.now_ms) => {
                if lock.owner != *owner {
                    return Err(locked(name, lock));
                }
                lock.refreshed(expires_ms)
            }
            (_, None) => {
                self.meta.fence += 1;
                self.meta.lock_seq += 1;
                LockRow { owner: owner.clone(), fence: self.meta.fence, refreshes: 0, expires_ms }
            }
        };
        let LockRow { fence, refreshes, .. } = row;
        let grant = Grant { fence, refreshes, expires: Timestamp::from_unix_ms(row.expires_ms) };
        self.locks.set(name, Some(row));
        Ok(grant)
    }

    /// Answers whether there was something to give back. The last owner can give back a lock that expired, which
    /// makes its fence invalid.
    pub(super) fn release(&mut self, request: &LockRelease) -> Result<bool> {
        let LockRelease { name, owner, fence, refreshes } = request;
        let is_meant = |lock: &LockRow| {
            fence.is_none_or(|fence| fence == lock.fence)
                && refreshes.is_none_or(|refreshes| refreshes == lock.refreshes)
        };
        match self.lock(name) {
            // The grant that is meant is gone already, whoever has the lock now.
            Some(lock) if !is_meant(lock) => return Ok(false),
            Some(lock) if lock.owner == *owner => {}
            Some(lock) if lock.is_held(self.now_ms) => {
                let message = format!("{owner} does not hold {name}, {} does", lock.owner);
                return Err(self.not_owner(message, Some(lock)));
            }
            _ => return Ok(false),
        }
        self.meta.lock_seq += 1;
        self.locks.set(name, None);
        Ok(true)
    }

    /// With the one who holds the lock now, when somebody does.
    fn not_owner(&self, message: String, present: Option<&LockRow>) -> Error {
        let mut error = Error::new(Code::NotOwner, message);
        if let Some(lock) = present.filter(|lock| lock.is_held(self.now_ms)) {
            error.details.holder = Some(lock.owner.clone());
            error.details.expires_ms = Some(lock.expires_ms);
        }
        error
    }

    /// Whether the token is the present one. Expiry alone does not matter: as long as nobody else got the lock, the
    /// write harms nobody, and clocks need not agree.
    pub(super) fn check_fence(&self, fence: &Fence) -> Result<()> {
        let Fence { lock: name, token } = fence;
        let present = self.lock(name);
        let message = match present {
            Some(lock) if lock.fence == *token => return Ok(()),
            Some(lock) => {
                format!("the fence of the lock {name} is {}, not {token}", lock.fence)
            }
            None => format!("the lock {name} was released, or never held"),
        };
        let mut error = Error::new(Code::Fenced, message).hint("acquire the lock again and read anew");
        error.details.current = present.map(|lock| lock.fence);
        Err(error)
    }
}

fn locked(name: &str, lock: &LockRow) -> Error {
    let expires = Timestamp::from_unix_ms(lock.expires_ms);
    let mut error = Error::new(Code::Locked, format!("{} holds {name} until {expires}", lock.owner));
    error.details.holder = Some(lock.owner.clone());
    error.details.expires_ms = Some(lock.expires_ms);
    error
}
