//! How much of the stream is kept: a rule that stands in the store, and is applied by the processes that write to it.

use std::time::{Duration, Instant};

use super::Store;
use super::engine::sql::queries;
use super::error::Result;
use super::history;
use super::local::LocalStore;
use super::request::{NameList, Retention, Trim};
use super::time::Timestamp;
use crate::limits;

/// When a process has to apply the retention again.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The head of the stream when the retention was last applied, or when it was first known, and the time of that.
    last: Option<(u64, Instant)>,
    /// Whether this process has changed the retention since.
    has_changed: bool,
    /// When the oldest change that is kept gets too old.
    due: Option<Instant>,
}

impl Schedule {
    /// Whether the retention is to be applied, in a store whose head is known to be this one. A store in which nothing
    /// happens is not asked.
    pub(super) fn is_due(&mut self, head: u64) -> bool {
        let (last_head, last) = *self.last.get_or_insert((head, Instant::now()));
        self.has_changed
            || (head != last_head && last.elapsed() >= limits::RETENTION_INTERVAL)
            || self.due.is_some_and(|due| due <= Instant::now())
    }

    /// Lets it be applied at once, because it has changed.
    pub(super) fn reset(&mut self) {
        self.has_changed = true;
    }
}

/// Trims what is no longer to be kept, and answers when to look again.
///
/// # Errors
/// Those of [`Store::call`].
pub(super) async fn apply(store: &LocalStore) -> Result<Schedule> {
    let found = store.feed().engine().query(queries::KeptRetention).await?;
    let (retention, now_ms) = (found.rows, found.now_ms);
    let (first, head) = (found.position.first, found.position.head);
    let begun = Instant::now();
    let mut schedule = Schedule { last: Some((head, begun)), ..Schedule::default() };
    if retention == Retention::default() {
        return Ok(schedule);
    }
    let mut last = first - 1;
    if let Some(count) = retention.count {
        last = last.max(head.saturating_sub(count));
    }
    if let Some(age) = retention.age {
        let oldest_ms = now_ms.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
        last = last.max(history::seq_before(store, Timestamp::from_unix_ms(oldest_ms)).await?);
    }
    if retention.unread {
        last = last.min(slowest_position(store).await?.unwrap_or(last));
    }
    if last >= first {
        let trimmed = store.stream_trim(Trim::UpTo(last)).await?;
        tracing::debug!(trimmed, last, "the retention of the stream was applied");
    }
    if let Some(age) = retention.age
        && let Some(oldest) = store.stream(last + 1, Some(1)).await?.first()
    {
        let left_ms = oldest.time.unix_ms() + i64::try_from(age.as_millis()).unwrap_or(i64::MAX / 2) - now_ms;
        let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)).max(limits::RETENTION_INTERVAL);
        schedule.due = begun.checked_add(left);
    }
    Ok(schedule)
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
