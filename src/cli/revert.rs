//! `kv revert`: a record becomes again what it was.

use clap::Args;
use kv::store::{Code, Condition, Delete, Put, Reply, Result, Store, history};

use super::number;
use super::put::print_version;

#[derive(Debug, Args)]
pub(super) struct Revert {
    /// Key
    key: String,
    /// The revision of the store to which the record goes back, as kv history shows it
    #[arg(long, value_name = "REVISION", value_parser = number::count)]
    to: u64,
    /// Print the new version; nothing when the key is removed
    #[arg(long)]
    print_version: bool,
}

impl Revert {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        loop {
            let before = history::record_at(store, &self.key, self.to).await?;
            let present = store.get(&self.key).await?;
            let revision = Some(present.as_ref().map_or(0, |record| record.revision));
            let condition = Condition { revision, ..Condition::default() };
            let written = match before {
                Some(record) => {
                    let record_type = record.record_type.into();
                    let put = Put { condition, record_type, ..Put::new(&self.key, record.value).keep_ttl() };
                    store.put(put).await.map(Some)
                }
                None if present.is_none() => Ok(None),
                None => store.delete(Delete { condition, ..Delete::keys([&self.key]) }).await.map(|_| None),
            };
            match written {
                // Another writer was faster.
                Err(error) if error.code == Code::VersionMismatch => {}
                Ok(Some(written)) => return print_version(self.print_version, &Reply::Written(written)),
                written => return written.map(drop),
            }
        }
    }
}
