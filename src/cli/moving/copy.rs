//! `kv copy`

use std::collections::BTreeSet;

use clap::{Args, ValueHint};
use kv::limits;
use kv::store::{Filter, Import, Mutation, OnConflict, Result, Store, Stream};

use super::ConflictMode;
use super::batch::Batch;
use super::comparison::{Comparison, Difference, reread};
use super::importer::Importer;
use super::listing::Listing;
use super::reconciliation::Reconciliation;
use super::stores;
use super::work::{Counter, until_interrupted};
use crate::cli::arguments::StoreArguments;
use crate::cli::progress::Completion;
use crate::cli::{exit_code, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Copy {
    /// The store that is copied: a path, a URL or a profile
    #[arg(long, value_name = "STORE", value_hint = ValueHint::AnyPath, allow_hyphen_values = true)]
    from: String,
    /// The store that it is copied into, which is created when it is not there
    #[arg(long, value_name = "STORE", value_hint = ValueHint::AnyPath, allow_hyphen_values = true)]
    to: String,
    /// Only keys that start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// What happens when a key is there with a record that is not of the store which is copied
    #[arg(long, value_name = "MODE", default_value = "fail")]
    on_conflict: ConflictMode,
}

/// What a comparison of both stores has found at the end.
#[derive(Default)]
struct Verified {
    keys: u64,
    differences: u64,
    /// The keys whose records are the same but for a later version in the target, where they took the place of other ones.
    later: u64,
    /// The first differences, in words.
    named: Vec<String>,
}

impl Copy {
    pub(in crate::cli) async fn run(self, globals: &StoreArguments) -> Result<u8> {
        let (from, to) = stores::pair(&self.from, &self.to, globals)?;
        output::use_color(from.settings.color.value);
        let source = from.open().await?;
        // Without a store to copy, none is created.
        source.stream_seq().await?;
        let target = to.open_or_create().await?;
        let pair = Reconciliation { source: &source, target: &target, on_conflict: self.on_conflict.into() };
        let mut importer = Importer::new(&target, false, Counter::new("copying")).keeping_skipped();
        let outcome = until_interrupted(self.copy(pair, &mut importer)).await;
        if matches!(outcome, Ok(Completion::Interrupted(_))) {
            importer.finish_soon().await;
        }
        let tally = importer.tally();
        drop(importer);
        source.close().await;
        target.close().await;
        match outcome {
            Ok(Completion::Finished(verified)) => Ok(verified.tell()),
            Ok(Completion::Interrupted(code)) => {
                tally.tell_so_far("interrupted", None);
                Ok(code)
            }
            Err(error) => {
                tally.tell_so_far("ended", Some(&error));
                Err(error)
            }
        }
    }

    async fn copy(&self, pair: Reconciliation<'_>, importer: &mut Importer<'_>) -> Result<Verified> {
        let seq = self.copy_pages(pair, importer).await?;
        self.catch_up(pair, seq, importer).await?;
        let verified = self.verify(pair, importer).await?;
        output::note(&format!("copied: {}", importer.tally()));
        Ok(verified)
    }

    /// Copies every record, and answers the head of the source at the first page.
    async fn copy_pages(&self, pair: Reconciliation<'_>, importer: &mut Importer<'_>) -> Result<u64> {
        let mut listing = Listing::of(pair.source, self.prefix.as_deref());
        let (mut first, mut skipped) = (None, Vec::new());
        while let Some(page) = listing.page().await? {
            first.get_or_insert(page.seq);
            let mut batch = Batch::default();
            for record in page.items {
                // A record that is in the way may be one that was copied before and has changed since: that is looked at
                // afterwards.
                let import = Mutation::Import(Import::of(record).on_conflict(OnConflict::Skip));
                if batch.is_full_for(&import) {
                    importer.push(std::mem::take(&mut batch)).await?;
                }
                batch.add(import, None);
            }
            importer.push(batch).await?;
            skipped.push(importer.take_skipped());
            if is_enough(&skipped) {
                pair.bring(std::mem::take(&mut skipped), importer).await?;
            }
        }
        importer.finish().await?;
        skipped.push(importer.take_skipped());
        pair.bring(skipped, importer).await?;
        Ok(first.unwrap_or(0))
    }

    /// Brings what has changed in the source behind a seq, until nothing newer is there.
    async fn catch_up(&self, pair: Reconciliation<'_>, seq: u64, importer: &mut Importer<'_>) -> Result<()> {
        let filter = self.prefix.as_ref().map_or_else(Filter::default, Filter::prefix);
        let (mut next, mut changed) =
            (Some(Stream { seq: seq + 1, filter, ..Stream::default() }), Vec::new());
        while let Some(request) = next {
            let page = pair.source.changes(request.clone()).await?;
            next = request.after_page(&page);
            let keys: BTreeSet<String> = page.changes.into_iter().map(|change| change.record.key).collect();
            changed.push(keys.into_iter().collect());
            if is_enough(&changed) {
                pair.bring(std::mem::take(&mut changed), importer).await?;
            }
        }
        pair.bring(changed, importer).await
    }

    async fn verify(&self, pair: Reconciliation<'_>, importer: &mut Importer<'_>) -> Result<Verified> {
        let mut comparison = Comparison::of(pair.source, pair.target, self.prefix.as_deref());
        let counter = Counter::new("verifying");
        let mut verified = Verified::default();
        let removed_before = importer.tally().removed;
        while let Some(suspects) = comparison.next_suspects().await? {
            counter.add(usize::try_from(comparison.keys - verified.keys).unwrap_or(0));
            verified.keys = comparison.keys;
            // What differs may have changed since it was copied.
            pair.bring(vec![suspects.clone()], importer).await?;
            let (later, differences): (Vec<_>, Vec<_>) = reread(pair.source, pair.target, suspects)
                .await?
                .into_iter()
                .partition(Difference::is_later_version);
            verified.later += later.len() as u64;
            verified.differences += differences.len() as u64;
            let room = limits::DIFFERENCES_NAMED.saturating_sub(verified.named.len());
            verified.named.extend(differences.iter().take(room).map(|difference| difference.line()));
        }
        // Neither store has those any more.
        verified.keys = comparison.keys.saturating_sub(importer.tally().removed - removed_before);
        Ok(verified)
    }
}

/// Whether these pages of keys are worth a look into the stream.
fn is_enough(pages: &[Vec<String>]) -> bool {
    pages.iter().map(Vec::len).sum::<usize>() >= limits::RECONCILED_KEYS
}

impl Verified {
    /// Says what was found, and answers the exit code.
    fn tell(&self) -> u8 {
        let keys = output::counted(self.keys, "key", "keys");
        if self.later > 0 {
            let have = output::counted(self.later, "key has", "keys have");
            output::note(&format!("{have} a later version in the target, having replaced other records"));
        }
        if self.differences == 0 {
            output::note(&format!("verified: {keys}, both stores have the same"));
            return exit_code::OK;
        }
        for line in &self.named {
            output::note(line);
        }
        let differ = output::counted(self.differences, "differs", "differ");
        output::note(&format!(
            "verified: {keys}, of which {differ} (- is only in the first store, + only in the second one)"
        ));
        exit_code::FAILURE
    }
}
