//! Stores records as they were elsewhere, in batches of which several are under way.

use std::convert::Infallible;
use std::pin::Pin;

use futures_util::stream::FuturesOrdered;
use futures_util::{FutureExt as _, StreamExt as _};
use kv::limits;
use kv::store::{
    Clock, Code, Condition, Delete, Error, Import, ImportOutcome, Imported, Mutation, MutationResult,
    OnConflict, Result, Store, Timestamp,
};

use super::batch::Batch;
use super::rehearsal::rehearse;
use super::tally::Tally;
use super::work::Counter;

/// What became of a batch.
#[derive(Default)]
struct Applied {
    tally: Tally,
    /// The last line up to which all is applied; 0 when none is.
    line: u64,
    /// The keys that were left as they are because another record is there.
    skipped: Vec<String>,
    error: Option<Error>,
}

/// Stores batches. After the first error no further one is sent, and those under way are waited for.
pub(super) struct Importer<'s> {
    store: &'s dyn Store,
    is_rehearsal: bool,
    under_way: FuturesOrdered<Pin<Box<dyn Future<Output = Applied> + 's>>>,
    is_in_order: bool,
    /// Whether somebody asks for the keys that were left as they are.
    keeps_skipped: bool,
    applied: Applied,
    counter: Counter,
}

impl<'s> Importer<'s> {
    /// With `is_rehearsal` nothing is written: the store is asked what would happen.
    pub(super) fn new(store: &'s dyn Store, is_rehearsal: bool, counter: Counter) -> Importer<'s> {
        Importer {
            store,
            is_rehearsal,
            under_way: FuturesOrdered::new(),
            is_in_order: false,
            keeps_skipped: false,
            applied: Applied::default(),
            counter,
        }
    }

    /// This importer, which keeps the keys that are left as they are until [`take_skipped`](Importer::take_skipped).
    pub(super) fn keeping_skipped(self) -> Importer<'s> {
        Importer { keeps_skipped: true, ..self }
    }

    /// What has become of the records so far.
    pub(super) fn tally(&self) -> Tally {
        self.applied.tally
    }

    /// The line up to which everything was applied.
    pub(super) fn line(&self) -> u64 {
        self.applied.line
    }

    /// The keys that were left as they are since this was asked last. They are not counted as such any more: the caller deals
    /// with them.
    pub(super) fn take_skipped(&mut self) -> Vec<String> {
        let skipped = std::mem::take(&mut self.applied.skipped);
        self.applied.tally.skipped -= skipped.len() as u64;
        skipped
    }

    /// Counts a record that is left as it is.
    pub(super) fn count_skipped(&mut self) {
        self.applied.tally.skipped += 1;
    }

    /// Counts a record that was removed.
    pub(super) fn count_removed(&mut self) {
        self.applied.tally.removed += 1;
    }

    /// Sends a batch, after it has waited for room.
    ///
    /// # Errors
    /// That of the first batch that failed.
    pub(super) async fn push(&mut self, batch: Batch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let may_overtake = !batch.is_in_order && !self.is_in_order;
        let room = if may_overtake { limits::IMPORT_BATCHES } else { 1 };
        self.is_in_order = batch.is_in_order;
        while self.under_way.len() >= room {
            self.settle_next().await;
        }
        if self.applied.error.is_some() {
            return self.finish().await;
        }
        let (store, is_rehearsal) = (self.store, self.is_rehearsal);
        self.under_way.push_back(Box::pin(async move {
            if is_rehearsal { rehearsed(store, &batch).await } else { apply(store, batch).await }
        }));
        // It is sent at the first poll.
        if let Some(Some(applied)) = self.under_way.next().now_or_never() {
            self.settle(applied);
        }
        Ok(())
    }

    /// Notes what becomes of the batches under way, for as long as none fails. It may be dropped at any time.
    ///
    /// # Errors
    /// As [`push`](Importer::push).
    pub(super) async fn settle_all(&mut self) -> Result<Infallible> {
        while self.applied.error.is_none() {
            match self.under_way.next().await {
                Some(applied) => self.settle(applied),
                None => std::future::pending().await,
            }
        }
        self.finish().await?;
        std::future::pending().await
    }

    /// Waits for what is under way.
    ///
    /// # Errors
    /// As [`push`](Importer::push).
    pub(super) async fn finish(&mut self) -> Result<()> {
        while !self.under_way.is_empty() {
            self.settle_next().await;
        }
        self.applied.error.take().map_or(Ok(()), Err)
    }

    /// Waits a moment for what is under way, after a signal asked to end.
    pub(super) async fn finish_soon(&mut self) {
        // What fails then is done again by the next command, as what is not answered is.
        let _ = tokio::time::timeout(limits::END_GRACE, self.finish()).await;
    }

    async fn settle_next(&mut self) {
        if let Some(applied) = self.under_way.next().await {
            self.settle(applied);
        }
    }

    fn settle(&mut self, Applied { tally, line, skipped, error }: Applied) {
        self.counter.add(
            skipped.len() + usize::try_from(tally.created + tally.updated + tally.unchanged).unwrap_or(0),
        );
        self.applied.tally.add(tally);
        if self.keeps_skipped {
            self.applied.skipped.extend(skipped);
        }
        if self.applied.error.is_none() {
            self.applied.line = self.applied.line.max(line);
            self.applied.error = error;
        }
    }
}

async fn rehearsed(store: &dyn Store, batch: &Batch) -> Applied {
    let mut applied = Applied::default();
    match rehearse(store, &batch.mutations, &mut applied.tally).await {
        Ok(()) => applied.line = batch.lines.last().copied().unwrap_or(0),
        Err(error) => applied.error = Some(batch.explain(error)),
    }
    applied
}

/// Applies a batch. One that is too large for the store, which has to compare the values, is applied in parts.
async fn apply(store: &dyn Store, batch: Batch) -> Applied {
    let mut applied = Applied::default();
    let mut left = vec![batch];
    while let Some(batch) = left.pop() {
        match store.mutate_all(batch.mutations.clone()).await {
            Ok(results) => {
                let counted = if batch.is_in_order {
                    applied.count_changes(store, &batch.mutations, &results).await
                } else {
                    applied.count_records(&batch.mutations, &results);
                    Ok(())
                };
                if let Err(error) = counted {
                    applied.error = Some(batch.explain(error));
                    return applied;
                }
                applied.line = batch.lines.last().copied().unwrap_or(0);
            }
            Err(error) if error.code == Code::TooLarge && !error.maybe && batch.mutations.len() > 1 => {
                let (first, second) = batch.halves();
                left.extend([second, first]);
            }
            Err(error) => {
                applied.error = Some(batch.explain(error));
                return applied;
            }
        }
    }
    applied
}

/// The imports among these mutations, with their results.
fn imports<'a>(
    mutations: &'a [Mutation],
    results: &'a [MutationResult],
) -> impl Iterator<Item = (&'a Import, &'a Imported)> {
    mutations.iter().zip(results).filter_map(|pair| match pair {
        (Mutation::Import(import), MutationResult::Imported(imported)) => Some((import, imported)),
        _ => None,
    })
}

impl Applied {
    fn count_records(&mut self, mutations: &[Mutation], results: &[MutationResult]) {
        let now = Timestamp::from_unix_ms(Clock::System.now_ms());
        for (import, imported) in imports(mutations, results) {
            self.tally.count(imported.outcome, import.expires, now);
            if imported.outcome == ImportOutcome::Skipped && import.on_conflict == OnConflict::Skip {
                self.skipped.push(import.key.clone());
            }
        }
    }

    async fn count_changes(
        &mut self,
        store: &dyn Store,
        mutations: &[Mutation],
        results: &[MutationResult],
    ) -> Result<()> {
        self.tally.repeated += mutations.len() as u64;
        for (import, imported) in imports(mutations, results) {
            // The change put a record in the place of this one that has expired by now, so none is there any more.
            if imported.outcome == ImportOutcome::Skipped && imported.revision > 0 {
                remove(store, &import.key, imported.revision).await?;
            }
        }
        Ok(())
    }
}

/// Removes the record of this revision, unless the key has changed since; answers whether it did.
pub(super) async fn remove(store: &dyn Store, key: &str, revision: u64) -> Result<bool> {
    let condition = Condition { revision: Some(revision), ..Condition::default() };
    match store.delete(Delete { condition, ..Delete::keys([key]) }).await {
        Err(error) if error.code == Code::VersionMismatch => Ok(false),
        deleted => deleted.map(|_| true),
    }
}
