//! The statement that ends a batch.

use crate::limits;
use crate::store::engine::sql::apply::{Argument, Text};
use crate::store::engine::sql::{self, Value};
use crate::store::plan::Plan;

/// What says that a batch was committed, and tells others of it.
pub(super) struct Mark<'a> {
    pub(super) id: &'a str,
    /// That of the batch before, whose row goes.
    pub(super) last_id: &'a str,
    pub(super) now_ms: i64,
    pub(super) channel: &'a str,
}

/// Writes `kv_meta`, marks the batch as committed, and notifies others.
pub(super) fn finish<'a>(plan: &'a Plan, mark: &Mark<'a>) -> Text<'a> {
    let text = "with meta as (
            update kv_meta set head = ?, first = ?, last_ms = ?, fence = ?, lock_seq = ?, batches = batches + 1),
        gone as (
            delete from kv_batch where id = ? or id = any(array(
                select id from kv_batch where time <= ? order by time limit ?))),
        mark as (insert into kv_batch (id, time) values (?, ?))
        select pg_notify(?, '')";
    let forgotten = Value::count(limits::BATCH_IDS_FORGOTTEN);
    let mut arguments: Vec<Argument<'a>> = sql::meta_values(&plan.meta).map(Argument::from).into();
    let mark = [
        Value::Text(mark.last_id),
        Value::Integer(mark.now_ms.saturating_sub(limits::BATCH_ID_KEPT_MS)),
        forgotten,
        Value::Text(mark.id),
        Value::Integer(mark.now_ms),
        Value::Text(mark.channel),
    ];
    arguments.extend(mark.map(Argument::from));
    (text.to_owned(), arguments)
}
