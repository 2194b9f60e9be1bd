//! Whole stores: backups, checks, restores and what gives space back, by the real binary.

mod check;
mod compact;
mod copy;
mod kills;
mod restore;

use crate::support::Kv;

/// The statements that take a store back to an older schema, on any engine.
fn back_to(schema: u32) -> String {
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

/// Takes a store on a server back to the schema before records expired, by statements that the engine runs, and checks that
/// all that was in it is there when it is brought up to date.
pub(crate) fn is_brought_up_from_schema_4(kv: &Kv, run: impl FnOnce(&str)) {
    const EVERYTHING: &str =
        "kv list --output ndjson; kv stream get --output ndjson; kv lock list; kv consumer list";
    kv.ok("kv init; kv put a --value 1; kv put b --value 2; kv lock acquire l me; kv consumer commit c 1");
    let before = kv.ok(&format!("{EVERYTHING}; kv daemon stop"));
    run(&back_to(4));
    let (code, stderr) = kv.fails("kv get a");
    assert!(code == 6 && stderr.contains("bring it up to date with: kv init"), "{code} {stderr}");
    kv.ok("kv init");
    assert_eq!(kv.ok(EVERYTHING), before);
    kv.ok("kv expire b 1h; kv consumer stream c --prefix b --limit 1; kv lock release l me; kv check");
}
