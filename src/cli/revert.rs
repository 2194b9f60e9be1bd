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
    /// Print the version of the record behind that; nothing when there is none
    #[arg(long)]
    print_version: bool,
}

impl Revert {
    pub(super) async fn run(self, store: &impl Store) -> Result<()> {
        let version = self.revert(store).await?;
        match version.filter(|_| self.print_version) {
            Some(version) => output::print_line(&version.to_string()),
            None => Ok(()),
        }
    }

    /// The version of the record that is there then, if there is one.
    async fn revert(&self, store: &impl Store) -> Result<Option<u64>> {
        loop {
            let before = history::record_at(store, &self.key, self.to).await?;
            let present = store.get(&self.key).await?;
            let revision = Some(present.as_ref().map_or(0, |record| record.revision));
            let condition = Condition { revision, ..Condition::default() };
            let written = match (before, present) {
                (Some(before), Some(present)) if is_same(&before, &present) => {
                    self.tell("nothing was changed, because it is as it was then");
                    return Ok(Some(present.version));
                }
                (None, None) => {
                    self.tell("nothing was changed, because it did not exist then either");
                    return Ok(None);
                }
                (Some(before), _) => {
                    let record_type = before.record_type.into();
                    let put = Put { condition, record_type, ..Put::new(&self.key, before.value).keep_ttl() };
                    store.put(put).await.map(|written| Some(written.version))
                }
                (None, Some(_)) if !self.allow_delete => return Err(self.did_not_exist()),
                (None, Some(_)) => {
                    store.delete(Delete { condition, ..Delete::keys([&self.key]) }).await.map(|_| {
                        self.tell(&format!("it was removed, because it did not exist at seq {}", self.to));
                        None
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

    fn tell(&self, what: &str) {
        output::note(&format!("{}: {what}", output::escaped(&self.key)));
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
