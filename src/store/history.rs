//! What the stream tells about earlier states of the store, as long as it keeps them.
//!
//! These functions read pages of the stream, and examine at most the changes that are kept: the cost of a key that changed
//! long ago, or of a filter that matches little, grows with their number.

use super::Store;
use super::error::Result;
use super::filter::Filter;
use super::record::Record;
use super::reply::{Reply, answer};
use super::request::{Read, Stream};
use super::subscription::{future, trimmed};
use super::time::Timestamp;

/// The record under this key as it was when the store was at this revision; none when there was no such record.
///
/// ```
/// use kv::store::{JsonText, Put, Store, history};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let store = kv::open(":memory:")?;
/// # store.init().await?;
/// let first = store.put(Put::new("mode", JsonText::of("slow")?)).await?;
/// store.put(Put::new("mode", JsonText::of("fast")?)).await?;
/// let before = history::record_at(&store, "mode", first.revision).await?;
/// assert_eq!(before.map(|record| record.value), Some(JsonText::of("slow")?));
/// # store.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `future` for a revision beyond the head of the stream; `trimmed` when the changes that would tell are no longer kept;
/// otherwise those of [`Store::call`].
pub async fn record_at(store: &dyn Store, key: &str, revision: u64) -> Result<Option<Record>> {
    let (head, _) = bounds(store).await?;
    if revision > head {
        return Err(future(revision, head).hint(format!("the last change is {head}")));
    }
    let mut request = Some(Stream { seq: revision, limit: Some(1), ..newest(Filter::key(key)) });
    // Nothing has a revision of 0.
    while let Some(stream) = request.take_if(|stream| stream.seq > 0) {
        let page = match store.changes(stream.clone()).await {
            Err(error) if error.details.first.is_some() => return untold(store, key, revision, error).await,
            page => page?,
        };
        if let Some(change) = page.changes.first() {
            return Ok(change.clone().remaining());
        }
        request = stream.after_page(&page);
    }
    let (_, first) = bounds(store).await?;
    if first == 1 { Ok(None) } else { untold(store, key, revision, trimmed(revision, first)).await }
}

/// The answer where the stream does not tell: a record that has not changed since is the one that was there.
async fn untold(store: &dyn Store, key: &str, revision: u64, error: super::Error) -> Result<Option<Record>> {
    match store.get(key).await? {
        Some(record) if record.revision <= revision => Ok(Some(record)),
        _ => Err(error),
    }
}

/// The seq after which the changes of this time and later ones follow: that of the last change before it. The clock that
/// gave the changes their times may have been set back; then it is that of the first change whose successor is so late.
///
/// # Errors
/// Those of [`Store::call`]; `trimmed` when the stream was trimmed meanwhile.
pub async fn seq_before(store: &dyn Store, time: Timestamp) -> Result<u64> {
    let (head, first) = bounds(store).await?;
    // Every change before `low` is older, every change from `high` on is not.
    let (mut low, mut high) = (first, head + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let page = store.changes(Stream { seq: middle, limit: Some(1), ..Stream::default() }).await?;
        match page.changes.first() {
            Some(change) if change.time < time => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low - 1)
}

/// The seq after which the newest `count` changes follow that match the filter, or as many as are kept.
///
/// # Errors
/// Those of [`Store::call`].
pub async fn seq_before_newest(store: &dyn Store, count: u64, filter: Filter) -> Result<u64> {
    let (head, first) = bounds(store).await?;
    let mut request = Some(Stream { seq: head, limit: Some(count), ..newest(filter) });
    let (mut seq, mut found) = (head, 0);
    while let Some(stream) = request.take_if(|stream| stream.seq > 0 && found < count) {
        let page = store.changes(stream.clone()).await?;
        found += page.changes.len() as u64;
        seq = page.changes.last().map_or(seq, |change| change.seq - 1);
        request = stream.after_page(&page);
    }
    // With fewer of them, all that is kept is wanted, and what comes.
    Ok(if found < count { first - 1 } else { seq })
}

/// The seq after which every change that is kept follows.
///
/// # Errors
/// Those of [`Store::call`].
pub async fn seq_before_first(store: &dyn Store) -> Result<u64> {
    bounds(store).await.map(|(_, first)| first - 1)
}

/// From the newest change to the oldest.
fn newest(filter: Filter) -> Stream {
    Stream { reverse: true, filter, ..Stream::default() }
}

/// The last seq of the stream, and the first that is kept.
async fn bounds(store: &dyn Store) -> Result<(u64, u64)> {
    answer!(store.call(Read::StreamSeq.into()).await?, Reply::Head { seq, first } => (seq, first))
}
