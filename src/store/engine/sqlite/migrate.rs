//! Brings the schema of a database up to date.

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::Core;
use super::error::describe;
use crate::store::engine::migrations::{self, Migration, pending};
use crate::store::error::Result;

impl Core {
    /// Runs the missing steps in one transaction that excludes every other process. Answers whether every step was
    /// missing: then this is a new store.
    pub(super) fn migrate(&self, connection: &Connection) -> Result<bool> {
        let described = |error: rusqlite::Error| describe(&error, &self.place);
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate);
        let transaction = transaction.map_err(described)?;
        transaction.execute_batch(migrations::SQLITE_TABLE).map_err(described)?;
        let applied = applied(&transaction).map_err(described)?;
        let steps = pending(migrations::SQLITE, &applied)?;
        run(&transaction, &steps, self.clock.now_ms()).map_err(described)?;
        if applied.is_empty() {
            found(&transaction).map_err(described)?;
        }
        transaction.commit().map_err(described)?;
        Ok(applied.is_empty())
    }
}

/// The numbers of the steps that a database has.
pub(super) fn applied(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    let mut select = connection.prepare(migrations::STEPS)?;
    select.query_map([], |row| row.get(0))?.collect()
}

/// Runs steps, and records that they were run.
pub(super) fn run(connection: &Connection, steps: &[&Migration], now_ms: i64) -> rusqlite::Result<()> {
    for step in steps {
        connection.execute_batch(step.sql)?;
        connection.execute(migrations::STEP_DONE, (step.number, step.name, now_ms))?;
    }
    Ok(())
}

/// Gives a new store its identity.
pub(super) fn found(connection: &Connection) -> rusqlite::Result<()> {
    let random = || uuid::Uuid::new_v4().simple().to_string();
    connection.execute(migrations::NEW_STORE, (random(), random()))?;
    Ok(())
}
