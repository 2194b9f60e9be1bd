//! The numbered steps of the schema, and which of them a database still needs.
//!
//! Each engine's folder of `migrations/` has the same numbers and names. An engine runs the pending steps in one
//! transaction under the write lock of the store.

use crate::store::error::{Code, Error, Result};

/// One step of the schema.
#[derive(Debug)]
pub(crate) struct Migration {
    pub number: i64,
    pub name: &'static str,
    pub sql: &'static str,
}

/// The table that holds the numbers of the steps that were run.
pub(crate) const SQLITE_TABLE: &str = "create table if not exists kv_migration (
    number integer primary key, name text not null, applied integer not null)";

/// As [`SQLITE_TABLE`], on rqlite: of several processes that make a store one succeeds.
#[cfg(feature = "rqlite")]
pub(crate) const RQLITE_TABLE: &str = "create table kv_migration (
    number integer primary key, name text not null, applied integer not null)";

/// As [`SQLITE_TABLE`], on PostgreSQL.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES_TABLE: &str = "create table kv_migration (
    number bigint primary key, name text not null, applied bigint not null)";

/// Lists the numbers of the steps that were done.
pub(crate) const STEPS: &str = "select number from kv_migration order by number";

/// Records that a step was done: its number, its name and the time.
pub(crate) const STEP_DONE: &str = "insert into kv_migration (number, name, applied) values (?, ?, ?)";

/// Gives a new store its id and its epoch.
pub(crate) const NEW_STORE: &str =
    "insert into kv_meta (one, store_id, epoch, head, first, last_ms) values (1, ?, ?, 0, 1, 0)";

/// A step whose text is in the engine's folder of `migrations/`.
macro_rules! step {
    ($engine:literal, $number:literal, $file:literal, $name:literal) => {
        Migration {
            number: $number,
            name: $name,
            sql: include_str!(concat!("../../../migrations/", $engine, "/", $file, "_", $name, ".sql")),
        }
    };
}

/// The steps of an engine. Numbers and names are the same on each.
macro_rules! steps {
    ($engine:literal) => {
        &[
            step!($engine, 1, "0001", "store"),
            step!($engine, 2, "0002", "locks_once"),
            step!($engine, 3, "0003", "push"),
            step!($engine, 4, "0004", "batches"),
            step!($engine, 5, "0005", "expiry"),
            step!($engine, 6, "0006", "delivery"),
        ]
    };
}

/// SQLite's steps, which are those of rqlite too.
pub(crate) const SQLITE: &[Migration] = steps!("sqlite");

/// PostgreSQL's steps.
#[cfg(feature = "postgres")]
pub(crate) const POSTGRES: &[Migration] = steps!("postgres");

/// The number of the newest step.
pub(crate) fn newest(known: &[Migration]) -> i64 {
    known.iter().map(|step| step.number).max().unwrap_or(0)
}

/// The steps that a database still needs.
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

/// Checks that the newest step of a database is the newest one that this version knows.
///
/// # Errors
/// `unsupported` when it is a newer one, `not_initialized` when it is an older one.
#[cfg(any(feature = "postgres", feature = "rqlite"))]
pub(crate) fn check_newest(known: &[Migration], newest_applied: i64) -> Result<()> {
    pending(known, &[newest_applied])?;
    if newest_applied == newest(known) {
        return Ok(());
    }
    let message = format!("the store has schema {newest_applied}, this kv needs {}", newest(known));
    Err(Error::new(Code::NotInitialized, message).hint("bring it up to date with: kv init"))
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

/// The error for a store that does not exist yet.
pub(crate) fn not_initialized(message: String) -> Error {
    Error::new(Code::NotInitialized, message).hint("create it with: kv init")
}
