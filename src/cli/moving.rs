//! Moving data: exports, imports, copies and comparisons of stores.
//!
//! - `lines`: the lines of an export; `reader` makes batches of them
//! - `importer`: stores each `batch`, several at once, and counts in a `tally` what became of the records; `rehearsal` only looks
//! - `listing`: the records of a store, page by page; `comparison`: two such listings beside each other
//! - `stores`: the stores that the words of a command name; `work`: progress, and the end by a signal
//! - `export`, `import`, `copy` with `reconciliation`, `diff`: the commands

mod batch;
mod comparison;
mod copy;
mod diff;
mod export;
mod go;
mod import;
mod importer;
mod lines;
mod listing;
mod reader;
mod reconciliation;
mod rehearsal;
mod stores;
mod tally;
mod work;

pub(super) use self::copy::Copy;
pub(super) use self::diff::Diff;
pub(super) use self::export::Export;
pub(super) use self::import::Import;

use clap::ValueEnum;
use kv::store::OnConflict;

/// What happens when a key is there with another record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ConflictMode {
    /// The command ends with an error
    Fail,
    /// That record stays
    Skip,
    /// It is replaced, and the version of the key grows
    Overwrite,
}

impl From<ConflictMode> for OnConflict {
    fn from(mode: ConflictMode) -> OnConflict {
        match mode {
            ConflictMode::Fail => OnConflict::Fail,
            ConflictMode::Skip => OnConflict::Skip,
            ConflictMode::Overwrite => OnConflict::Overwrite,
        }
    }
}
