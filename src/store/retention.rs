//! How much of the stream is kept: a rule that stands in the store, and is applied by the processes that write to it.

use std::time::{Duration, Instant};

use super::Store;
use super::engine::sql::queries;
use super::error::Result;
use super::history;
use super::local::LocalStore;
use super::request::{NameList, Trim};
use super::time::Timestamp;
use crate::limits;

/// When a process has to apply the retention again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The head of the stream when the retention was last applied, or when this process first wrote, and the time of that.
    last: Option<(u64, Instant)>,
    /// Whether this process has changed the retention since.
    pub(super) has_changed: bool,
    /// When the oldest change that is kept gets too old.
    pub(super) due: Option<Instant>,
}

impl Schedule {
    /// Whether the retention is to be applied now, by a process after whose last commit the head of the stream is this one.
    /// A process that does not write asks nothing. What changes meanwhile makes it due again.
    pub(super) fn take_due(&mut self, head: u64) -> bool {
        let now = Instant::now();
        let (last_head, last) = *self.last.get_or_insert((head, now));
        let is_due = self.has_changed
            || (head != last_head && last.elapsed() >= limits::RETENTION_INTERVAL)
            || self.due.is_some_and(|due| due <= now);
        if is_due {
            *self = Schedule { last: Some((head, now)), ..Schedule::default() };
        }
        is_due
    }
}

/// Trims what is no longer to be kept, and answers when the oldest change that is kept gets too old.
///
/// # Errors
/// Those of [`Store::call`].
pub(super) async fn apply(store: &LocalStore) -> Result<Option<Instant>> {
    let found = store.feed().engine().query(queries::KeptRetention).await?;
    let (retention, now_ms) = (found.rows, found.now_ms);
    let (first, head) = (found.position.first, found.position.head);
    let begun = Instant::now();
    // An age is at most 100 years.
    let age_ms = retention.age.map(|age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2));
    let mut last = first - 1;
    if let Some(count) = retention.count {
        last = last.max(head.saturating_sub(count));
    }
    if let Some(age_ms) = age_ms {
        let oldest = Timestamp::from_unix_ms(now_ms.saturating_sub(age_ms));
        last = last.max(history::seq_before(store, oldest).await?);
    }
    if last >= first && retention.unread {
        last = last.min(slowest_position(store).await?.unwrap_or(last));
    }
    if last >= first {
        let trimmed = store.stream_trim(Trim::UpTo(last)).await?;
        tracing::debug!(trimmed, last, "the retention of the stream was applied");
    }
    let Some(age_ms) = age_ms else { return Ok(None) };
    let oldest = store.stream(first.max(last + 1), Some(1)).await?;
    Ok(oldest.first().and_then(|oldest| {
        let left_ms = oldest.time.unix_ms().saturating_add(age_ms).saturating_sub(now_ms);
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).max(limits::RETENTION_INTERVAL);
        begun.checked_add(left)
    }))
}

/// The position of the consumer that is farthest behind; none without any consumer.
///
/// # Errors
/// Those of [`Store::call`].
pub async fn slowest_position(store: &dyn Store) -> Result<Option<u64>> {
    let mut request = Some(NameList::default());
    let mut slowest = None;
    while let Some(list) = request {
        let page = store.consumers(list.clone()).await?;
        slowest = slowest.into_iter().chain(page.items.iter().map(|consumer| consumer.position)).min();
        request = list.after_page(&page);
    }
    Ok(slowest)
}
