//! `kv revert`: a record becomes again what it was.

use clap::Args;
use kv::store::{Code, Condition, Delete, Error, Put, Record, Result, Store, history};

use super::{number, output};

#[derive(Debug, Args)]
pub(super) struct Revert {
    /// Key
    key: String,
    /// The change behind which the record was as it becomes again, by its seq in kv history
    #[arg(long, value_name = "SEQ", value_parser = number::count)]
    to: u64,
    /// Remove the record when the key did not exist then
    #[arg(long)]
    allow_delete: bool,
}

impl Revert {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        loop {
            let before = history::record_at(store, &self.key, self.to).await?;
            let present = store.get(&self.key).await?;
            let revision = Some(present.as_ref().map_or(0, |record| record.revision));
            let condition = Condition { revision, ..Condition::default() };
            let written = match (before, &present) {
                (Some(before), Some(present)) if is_same(&before, present) => {
                    return self.tell_unchanged("is as it was then");
                }
                (None, None) => return self.tell_unchanged("does not exist, as then"),
                (Some(before), _) => {
                    let record_type = before.record_type.into();
                    let put = Put { condition, record_type, ..Put::new(&self.key, before.value).keep_ttl() };
                    store.put(put).await.map(drop)
                }
                (None, Some(_)) if !self.allow_delete => return Err(self.did_not_exist()),
                (None, Some(_)) => {
                    store.delete(Delete { condition, ..Delete::keys([&self.key]) }).await.map(|_| {
                        output::note(&format!(
                            "{} did not exist at seq {}: it was removed",
                            output::escaped(&self.key),
                            self.to
                        ));
                    })
                }
            };
            match written {
                // Another writer was faster.
                Err(error) if error.code == Code::VersionMismatch => {}
                written => return written,
            }
        }
    }

    fn tell_unchanged(&self, why: &str) -> Result<()> {
        output::note(&format!("nothing was changed: {} {why}", output::escaped(&self.key)));
        Ok(())
    }

    fn did_not_exist(&self) -> Error {
        Error::new(Code::NotFound, format!("{} did not exist at seq {}", self.key, self.to))
            .hint("kv history shows when it existed; --allow-delete removes the record")
    }
}

/// Whether a revert to one record would store the other one again.
fn is_same(before: &Record, present: &Record) -> bool {
    (&before.value, &before.record_type) == (&present.value, &present.record_type)
}
