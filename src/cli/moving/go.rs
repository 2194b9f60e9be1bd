//! `kv import --from-go`: takes over the database of the Go original.

use kv::store::{Import, Mutation, Result, original};

use super::batch::Batch;
use super::importer::Importer;
use super::reader::Selection;
use super::stores::Named;
use crate::cli::arguments::StoreArguments;
use crate::cli::output;

/// Imports every record of the database that a word names.
pub(super) async fn feed(
    word: &str,
    globals: &StoreArguments,
    selection: Selection,
    importer: &mut Importer<'_>,
) -> Result<()> {
    let original = Named::of(word, globals)?.address;
    let (mut after, mut positions) = (None, 0);
    loop {
        let page = original::page(&original, after.as_deref()).await?;
        let mut batch = Batch::default();
        for record in page.records {
            if !selection.covers(&record.key) {
                continue;
            }
            let import = Mutation::Import(Import::of(record).on_conflict(selection.on_conflict));
            if batch.is_full_for(&import) {
                importer.push(std::mem::take(&mut batch)).await?;
            }
            batch.add(import, None);
        }
        importer.push(batch).await?;
        positions += page.positions;
        after = page.last;
        if after.is_none() {
            break;
        }
    }
    importer.finish().await?;
    if positions > 0 {
        output::note(&format!(
            "{} of consumers left out: the changes of the original are numbered in another way than those of kv",
            output::counted(positions, "position", "positions")
        ));
    }
    Ok(())
}
