//! Brings the schema up to date.

use super::Core;
use super::error::Trouble;
use super::http::Kind;
use super::statement::Body;
use crate::limits;
use crate::store::damage::Damage;
use crate::store::engine::migrations::{self, Migration, pending};
use crate::store::engine::sql::apply::Argument;
use crate::store::engine::sql::{Cells as _, Statement, Value};
use crate::store::error::{Code, Error};

/// What stands where the store is to be made.
struct Present {
    /// The numbers of the steps that were done.
    applied: Vec<i64>,
    store_id: Option<String>,
}

impl Core {
    /// Runs the steps that are missing in one request, which fails when another process has done so, and answers whether all
    /// were: then this is a new store.
    pub(super) async fn migrate(&self) -> Result<bool, Error> {
        self.migrate_on_nodes().await.map_err(|trouble| trouble.describe(&self.cluster.place))
    }

    async fn migrate_on_nodes(&self) -> Result<bool, Trouble> {
        let random = || uuid::Uuid::new_v4().simple().to_string();
        let (store_id, epoch) = (random(), random());
        let mut tries = 0;
        loop {
            let present = self.present().await?;
            let steps = pending(migrations::SQLITE, &present.applied)?;
            if steps.is_empty() {
                // The answer of a try before may have been lost.
                return Ok(present.store_id.as_ref() == Some(&store_id));
            }
            tries += 1;
            if tries > limits::STALE_TRIES {
                let error = Error::new(Code::Busy, "other processes change the schema of the store");
                return Err(error.hint("try again").into());
            }
            let body = self.request(&steps, present.applied.is_empty(), (&store_id, &epoch));
            let count = body.count();
            match self.cluster.write(&body.into_json().into(), count).await {
                // Each of them is looked at again: it was done, or somebody else was faster.
                Ok(()) | Err(Trouble::Lost(_)) => {}
                Err(Trouble::Sql(words)) if is_done_already(&words) => {}
                Err(trouble) => return Err(trouble),
            }
        }
    }

    async fn present(&self) -> Result<Present, Trouble> {
        let steps = Statement { text: migrations::STEPS.to_owned(), values: Vec::new() };
        let store = Statement { text: "select store_id from kv_meta".to_owned(), values: Vec::new() };
        let read = self.cluster.read(Kind::Read, Body::of([steps, store]), |rows| {
            let [steps, store] = &rows[..] else { return Err(Damage::new("an answer is missing").into()) };
            let number = |row: crate::store::damage::Result<super::answer::Row<'_>>| {
                row?.integer(0)?.ok_or_else(|| Damage::new("the number of a step is missing"))
            };
            let applied = steps.iter().map(number).collect::<Result<_, _>>()?;
            let store_id = store.only().ok().and_then(|row| row.text(0).ok().flatten().map(str::to_owned));
            Ok(Present { applied, store_id })
        });
        match read.await {
            Err(trouble) if trouble.is_no_table() => Ok(Present { applied: Vec::new(), store_id: None }),
            outcome => outcome,
        }
    }

    fn request(&self, steps: &[&Migration], is_new: bool, (store_id, epoch): (&str, &str)) -> Body {
        let mut body = Body::default();
        if is_new {
            body.add_text(migrations::RQLITE_TABLE, &[]);
        }
        // First: their numbers are those that another process would use.
        for step in steps {
            let now_ms = Value::Integer(self.clock.now_ms());
            let values = [Value::Integer(step.number), Value::Text(step.name), now_ms];
            body.add_text(migrations::STEP_DONE, &values.map(Argument::from));
        }
        for step in steps {
            statements(step.sql).for_each(|text| body.add_text(&text, &[]));
        }
        if is_new {
            let values = [Value::Text(store_id), Value::Text(epoch)];
            body.add_text(migrations::NEW_STORE, &values.map(Argument::from));
        } else {
            // A batch that was planned with the schema before must not be written.
            body.add_text("update kv_meta set batches = batches + 1", &[]);
        }
        body
    }
}

/// Whether another process has made the table, or has done the step.
fn is_done_already(words: &str) -> bool {
    words.contains("table kv_migration already exists")
        || words.contains("UNIQUE constraint failed: kv_migration.number")
}

/// The statements of a step: each ends with a semicolon at the end of a line.
fn statements(sql: &str) -> impl Iterator<Item = String> {
    let without_comments: Vec<&str> =
        sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    let statements: Vec<String> = without_comments
        .join("\n")
        .split(";\n")
        .map(|text| text.trim().trim_end_matches(';').to_owned())
        .filter(|text| !text.is_empty())
        .collect();
    statements.into_iter()
}
