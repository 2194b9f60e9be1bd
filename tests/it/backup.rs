//! Whole stores: backups, checks, restores and what gives space back, by the real binary.

mod check;
mod compact;
mod copy;
mod kills;
mod restore;

/// The statements that take a store back to an older schema, on any engine.
pub(crate) fn back_to(schema: u32) -> String {
    const UNDO: [(u32, &str); 4] = [
        (
            6,
            "alter table kv_consumer drop column filtered; alter table kv_consumer drop column only_key; \
             alter table kv_consumer drop column only_prefix; alter table kv_consumer drop column only_type; \
             alter table kv_meta drop column retain_ms; alter table kv_meta drop column retain_count; \
             alter table kv_meta drop column retain_unread;",
        ),
        (5, "drop index kv_record_expires; alter table kv_stream drop column expires;"),
        (4, "drop table kv_batch; alter table kv_meta drop column batches;"),
        (3, "drop table kv_consumer; alter table kv_lock drop column refreshes;"),
    ];
    let undone = UNDO.iter().take_while(|(step, _)| *step > schema).map(|(_, text)| *text);
    format!("{} delete from kv_migration where number > {schema};", undone.collect::<String>())
}
