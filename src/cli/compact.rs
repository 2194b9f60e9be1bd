//! `kv compact`

use kv::store::{Compacted, Result, Store};

use super::output;

pub(super) async fn run(store: &impl Store) -> Result<()> {
    let Compacted { bytes_before, bytes_after, .. } = store.compact().await?;
    output::note(&format!("the store had {bytes_before} bytes and has {bytes_after}"));
    Ok(())
}
