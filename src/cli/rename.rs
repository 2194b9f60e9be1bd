//! `kv rename` and `kv copy-key`: a record under another key, in one transaction.

use clap::Args;
use kv::store::{Check, Code, Condition, Delete, Error, Mutation, Put, Record, Result, Store};

use super::arguments::usage;
use super::duration;
use super::put::print_version;

#[derive(Debug, Args)]
pub(super) struct Keys {
    /// Key of the record
    from: String,
    /// Key under which the record is stored
    to: String,
    /// Replace the record under that key, if there is one
    #[arg(long)]
    overwrite: bool,
    /// Print the version of the record under that key
    #[arg(long)]
    print_version: bool,
}

/// What becomes of the record under the old key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Original {
    Removed,
    Kept,
}

impl Keys {
    pub(super) async fn run(self, store: &impl Store, original: Original) -> Result<()> {
        if self.from == self.to {
            return Err(usage("both keys are the same", "name another key"));
        }
        loop {
            let record = store
                .get(&self.from)
                .await?
                .ok_or_else(|| Error::new(Code::NotFound, format!("there is no key {:?}", self.from)))?;
            match store.mutate_all(self.mutations(record, original)).await {
                Err(error) if error.code != Code::VersionMismatch => return Err(error),
                // Another writer changed the record meanwhile.
                Err(error) if error.details.index == Some(0) => {}
                Err(_) => {
                    let message = format!("there is a record under {:?} already", self.to);
                    return Err(
                        Error::new(Code::VersionMismatch, message).hint("replace it with --overwrite")
                    );
                }
                Ok(results) => {
                    // The check comes before it.
                    let put = results.into_iter().nth(1);
                    return put.map_or(Ok(()), |put| print_version(self.print_version, &put.into()));
                }
            }
        }
    }

    fn mutations(&self, record: Record, original: Original) -> Vec<Mutation> {
        let at = |revision: u64| Condition { revision: Some(revision), ..Condition::default() };
        let unchanged = Check { key: self.from.clone(), condition: at(record.revision) };
        let put = Put {
            expiry: record.expires.map(duration::left).into(),
            condition: if self.overwrite { Condition::default() } else { at(0) },
            record_type: record.record_type.into(),
            ..Put::new(&self.to, record.value)
        };
        let mut mutations = vec![Mutation::Check(unchanged), Mutation::Put(put)];
        if original == Original::Removed {
            mutations.push(Mutation::Delete(Delete::keys([&self.from])));
        }
        mutations
    }
}
