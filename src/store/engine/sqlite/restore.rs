//! Puts another store in the place of this one.

mod prepare;
mod swap;
mod users;

use tokio::sync::MutexGuard;

pub(crate) use self::prepare::{Prepared, copy, prepare};
use super::error::in_use;
pub(crate) use super::place::mode_of_new;
use super::retire::Opened;
use super::{Sqlite, failed};
use crate::limits;
use crate::store::engine::Engine as _;
use crate::store::error::{Code, Error, Result};
use crate::store::files;
use crate::store::open::SqlitePlace;
use crate::store::reply::Restored;

impl Sqlite {
    /// Takes the file that was staged beside the store under this epoch. Whoever asks meanwhile waits; what is under way
    /// is finished first, in the store that goes.
    pub(super) async fn take_staged(&self, epoch: &str) -> Result<Restored> {
        let SqlitePlace::File { path, read_only } = &self.place else {
            return Err(Error::new(Code::Unsupported, "a memory store has no file that could be replaced"));
        };
        if *read_only {
            return Err(Error::new(Code::ReadOnly, format!("{} is opened with mode=ro", self.place)));
        }
        if self.failed.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(failed());
        }
        if files::staged_path(path).symlink_metadata().is_err() {
            // Nobody is disturbed; only who did not hear the answer asks again.
            let is_done = self.meta().await.is_ok_and(|(bounds, _)| bounds.epoch == epoch);
            return if is_done { Ok(Restored { replaced: None }) } else { Err(swap::nothing_staged()) };
        }
        let mut open = self.lock_open().await?;
        self.clear(&mut open).await?;
        let (path, epoch, now_ms) = (path.clone(), epoch.to_owned(), self.clock.now_ms());
        // The next request opens what is there by then, whichever that is.
        tokio::task::spawn_blocking(move || swap::swap(&path, &epoch, now_ms))
            .await
            .unwrap_or_else(|error| Err(Error::new(Code::Internal, error.to_string()).unknown()))
    }

    /// The connections, unless somebody keeps them for long.
    pub(super) async fn lock_open(&self) -> Result<MutexGuard<'_, Opened>> {
        self.in_turn(self.open.lock()).await
    }

    /// Waits for what others have in hand, as long as any request may take. Only a compact and a restore keep it for longer,
    /// and a memory store knows neither.
    ///
    /// # Errors
    /// `busy` when that is not enough.
    pub(super) async fn in_turn<T>(&self, turn: impl Future<Output = T>) -> Result<T> {
        if self.place == SqlitePlace::Memory {
            return Ok(turn.await);
        }
        tokio::time::timeout(limits::SQLITE_BUSY_TIMEOUT, turn).await.map_err(|_| in_use(&self.place))
    }
}
