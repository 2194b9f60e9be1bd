//! Looks for what others have committed: rqlite tells nobody.

use std::time::Duration;

use super::Core;
use super::http::Kind;
use crate::limits;
use crate::store::engine::sql;
use crate::store::error::Result;

/// When the next look is due. Who has just seen something new looks often, for more may come.
pub(super) struct Look {
    interval: Duration,
    /// How many looks have found nothing new.
    quiet: u32,
    /// Whether anybody has looked yet.
    has_begun: bool,
}

impl Default for Look {
    fn default() -> Look {
        Look { interval: limits::RQLITE_LOOK_MIN, quiet: 0, has_begun: false }
    }
}

impl Look {
    /// Returns when another process may have committed since this returned last.
    pub(super) async fn changed(&mut self, core: &Core) -> Result<()> {
        if !std::mem::replace(&mut self.has_begun, true) {
            return Ok(());
        }
        loop {
            tokio::time::sleep(self.interval).await;
            if core.has_news().await? {
                *self = Look { has_begun: true, ..Look::default() };
                return Ok(());
            }
            self.quiet += 1;
            if self.quiet > limits::RQLITE_LOOKS_BUSY {
                self.interval = (self.interval * 3 / 2).min(limits::RQLITE_LOOK_MAX);
            }
        }
    }
}

impl Core {
    /// Whether others have committed batches that whoever follows does not know of.
    async fn has_news(&self) -> Result<bool> {
        let text = "select batches from kv_meta";
        let look = self.cluster.read_row(Kind::Look, text, |row| Ok(sql::count(row, 0)?));
        let batches = look.await.map_err(|trouble| trouble.describe(&self.cluster.place))?;
        Ok(self.history.is_news(batches))
    }
}
