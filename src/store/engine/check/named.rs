//! Locks, consumers and the outcomes that are kept.

use super::columns::Columns;
use super::{Check, Meta};
use crate::store::error::Result;

impl Check<'_, '_> {
    /// Looks at those of these tables that are there.
    pub(super) fn named(&mut self, tables: &[&str], meta: &Meta) -> Result<()> {
        if tables.contains(&"kv_lock") {
            self.locks(meta)?;
        }
        if tables.contains(&"kv_consumer") {
            self.consumers(meta)?;
        }
        if tables.contains(&"kv_once") { self.once() } else { Ok(()) }
    }

    /// A token that was not given yet, or twice, would let two owners write.
    fn locks(&mut self, meta: &Meta) -> Result<()> {
        self.each("kv_lock", "select * from kv_lock order by name", |check, row| {
            let mut columns = Columns::of(row);
            let name = columns.name("name").map(str::to_owned);
            columns.name("owner");
            columns.count("refreshes");
            columns.integer("expires");
            if let Some(fence) = columns.count("fence")
                && (fence < 1 || fence > meta.fence)
            {
                columns.problem(format!("its fence is {fence}, and {} was the last one given", meta.fence));
            }
            check.tell("kv_lock", name, columns);
            Ok(())
        })?;
        self.unique("kv_lock", "fence", "locks")
    }

    fn consumers(&mut self, meta: &Meta) -> Result<()> {
        self.each("kv_consumer", "select * from kv_consumer order by name", |check, row| {
            let mut columns = Columns::of(row);
            let name = columns.name("name").map(str::to_owned);
            if let Some(position) = columns.count("position")
                && position > meta.head
            {
                columns.problem(format!("its position is {position}, and the stream ends at {}", meta.head));
            }
            if columns.count("filtered").is_some_and(|flag| flag > 1) {
                columns.problem("filtered is neither 0 nor 1");
            }
            for part in ["only_key", "only_prefix", "only_type"] {
                if !columns.is_null(part) {
                    columns.text(part);
                }
            }
            match (columns.is_null("holder"), columns.is_null("expires")) {
                (true, true) => {}
                (false, false) => {
                    columns.name("holder");
                    columns.integer("expires");
                }
                _ => columns.problem("it has a holder without an expiry, or the other way round"),
            }
            check.tell("kv_consumer", name, columns);
            Ok(())
        })
    }

    fn once(&mut self) -> Result<()> {
        self.each("kv_once", "select * from kv_once order by id", |check, row| {
            let mut columns = Columns::of(row);
            let id = columns.once_id().map(str::to_owned);
            columns.name("request");
            columns.integer("time");
            let outcome = columns.text("outcome").map(serde_json::from_str::<serde::de::IgnoredAny>);
            if let Some(Err(error)) = outcome {
                columns.problem(format!("its outcome is not JSON: {error}"));
            }
            check.tell("kv_once", id, columns);
            Ok(())
        })
    }
}
