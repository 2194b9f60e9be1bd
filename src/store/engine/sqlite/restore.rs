//! Puts another store in the place of this one.

mod prepare;
mod swap;
mod users;

pub(crate) use self::prepare::{PreparedCopy, copy, prepare};
use super::Sqlite;
pub(crate) use super::place::mode_of_new;
use crate::store::engine::Engine;
use crate::store::engine::sql::queries::WhichStore;
use crate::store::error::{Code, Error, Result};
use crate::store::files;
use crate::store::open::SqlitePlace;
use crate::store::reply::Restored;

impl Sqlite {
    /// Puts the file that was staged under this epoch in the place of the store. Requests under way are finished first,
    /// in the old store; those that come in the meantime wait.
    pub(super) async fn take_staged(&self, epoch: &str) -> Result<Restored> {
        let SqlitePlace::File { path, read_only } = &self.core.place else {
            return Err(Error::new(Code::Unsupported, "a memory store has no file that could be replaced"));
        };
        if *read_only {
            return Err(Error::new(Code::ReadOnly, format!("{} is opened with mode=ro", self.core.place)));
        }
        self.core.check_failed()?;
        if files::staged_path(path).symlink_metadata().is_err() {
            // The restore was done before, and no other caller is disturbed: only one that did not receive the answer
            // asks again.
            let is_done =
                (self as &dyn Engine).query(WhichStore).await.is_ok_and(|found| found.rows.epoch == epoch);
            return if is_done { Ok(Restored { replaced: None }) } else { Err(swap::nothing_staged()) };
        }
        let (path, epoch) = (path.clone(), epoch.to_owned());
        let restored = self.with_opened(move |core, opened| {
            opened.clear(core)?;
            // The next request opens the file that is then at the path, the old or the new one.
            swap::swap(&path, &epoch, core.clock.now_ms())
        });
        restored.await?
    }
}
