//! Faults of this engine, which tests have to see: a build with the feature `planted-defects` has the one that
//! `KV_PLANTED_DEFECT` names, and no other build has this file.

use tokio_postgres::Row;

use super::session::Session;
use super::statement::Result;
use crate::store::engine::sql::apply::Text;
use crate::store::engine::sql::{self, Statement, Value};
use crate::store::plan::{Needs, Plan};

/// Whether the process has this fault.
pub(super) fn is_planted(defect: &str) -> bool {
    std::env::var("KV_PLANTED_DEFECT").is_ok_and(|planted| planted == defect)
}

/// `sequence`: numbers are taken outside the transaction that uses them, as those of a sequence are.
pub(super) async fn take_numbers<'a>(
    session: &Session,
    plan: &Plan,
    mut texts: Vec<Text<'a>>,
) -> Result<Vec<Text<'a>>> {
    if is_planted("sequence") {
        let take = format!("update kv_meta set head = {}; commit; begin", plan.meta.head);
        session.client.batch_execute(&take).await?;
        for (text, _) in &mut texts {
            *text = text.replace("set head = ?", "set head = greatest(head, ?)");
        }
    }
    Ok(texts)
}

/// `lock_in_read`: the statement that waits for the lock also reads the records, as they were before it waited.
pub(super) async fn lock_and_read(session: &Session, needs: &Needs<'_>) -> Result<Option<Vec<Row>>> {
    if !is_planted("lock_in_read") {
        return Ok(None);
    }
    session.client.batch_execute("begin").await?;
    let columns = sql::columns!(record_head);
    let text = format!("select {columns} from kv_meta m, kv_record where \"key\" = any(?) for update of m");
    let statement = Statement { text, values: vec![Value::Texts(&needs.keys)] };
    Ok(Some(session.ready(statement).await?.all_rows(&session.client).await?))
}
