//! The numbered steps of the schema, and what is to be done about a database that has some of them.
//!
//! The same numbers and names stand in each engine's folder of `migrations/`. An engine runs the pending ones in one
//! transaction under the store's write lock; which these are is decided here.

use crate::store::error::{Code, Error, Result};

/// One step of the schema.
#[derive(Debug)]
pub(crate) struct Migration {
    pub number: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

/// The table that holds the numbers of the steps that were done.
pub(crate) const SQLITE_TABLE: &str = "create table if not exists kv_migration (
    number integer primary key, name text not null, applied integer not null)";

/// SQLite's steps.
pub(crate) const SQLITE: &[Migration] = &[
    Migration { number: 1, name: "store", sql: include_str!("../../../migrations/sqlite/0001_store.sql") },
    Migration {
        number: 2,
        name: "locks_once",
        sql: include_str!("../../../migrations/sqlite/0002_locks_once.sql"),
    },
    Migration { number: 3, name: "push", sql: include_str!("../../../migrations/sqlite/0003_push.sql") },
    Migration {
        number: 4,
        name: "batches",
        sql: include_str!("../../../migrations/sqlite/0004_batches.sql"),
    },
];

/// The number of the newest step.
pub(crate) fn newest(known: &[Migration]) -> i64 {
    known.iter().map(|step| step.number).max().unwrap_or(0)
}

/// The steps that are still to be done.
///
/// # Errors
/// `unsupported` when the database has a step that this version does not know.
pub(crate) fn pending<'a>(known: &'a [Migration], applied: &[i64]) -> Result<Vec<&'a Migration>> {
    if let Some(newer) = applied.iter().find(|&&number| known.iter().all(|step| step.number != number)) {
        return Err(Error::new(
            Code::Unsupported,
            format!("the store has schema {newer}, this kv knows up to {}", newest(known)),
        )
        .hint("install the version of kv that made this store, or a newer one"));
    }
    Ok(known.iter().filter(|step| !applied.contains(&step.number)).collect())
}

/// Checks that a database has every step.
///
/// # Errors
/// `not_initialized` when steps are missing, `unsupported` when it has unknown ones.
pub(crate) fn check_complete(known: &[Migration], applied: &[i64], place: &str) -> Result<()> {
    if pending(known, applied)?.is_empty() {
        return Ok(());
    }
    Err(match applied.iter().max() {
        Some(number) => {
            let message = format!("{place} has schema {number}, this kv needs {}", newest(known));
            Error::new(Code::NotInitialized, message).hint("bring it up to date with: kv init")
        }
        None => not_initialized(format!("there is no store at {place}")),
    })
}

/// The error for a store that is not there yet.
pub(crate) fn not_initialized(message: String) -> Error {
    Error::new(Code::NotInitialized, message).hint("create it with: kv init")
}
