//! `kv check`: each rule of the store has a finding.

use super::back_to;
use crate::support::Kv;

/// A store in which every table has rows; the stream begins at 3.
fn store() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; for key in a b c; do kv put $key --value 1; done; kv stream trim 2");
    kv.ok("kv put b --value 2 --of-type T --once o; kv put d --value 1; kv delete d; kv delete a");
    kv.ok("printf '%s\\n' '{\"op\":\"put\",\"key\":\"x\",\"value\":1}' '{\"op\":\"put\",\"key\":\"y\",\"value\":1}' | kv mutate");
    kv.ok("kv lock acquire l me; kv lock acquire m me; kv consumer commit mail 5; kv daemon stop");
    kv
}

/// Changes the file of a store as no kv does, and answers what is found.
fn found(damage: &str) -> String {
    let kv = store();
    kv.ok(&format!("sqlite3 data.db \"{damage}\""));
    let check = kv.shell("kv check");
    assert_eq!(check.status.code(), Some(1), "{damage}: {check:?}");
    String::from_utf8(check.stdout).unwrap()
}

#[test]
fn a_sound_store_has_no_finding() {
    let kv = store();
    let check = kv.shell("kv check");
    assert!(check.status.success() && check.stdout.is_empty(), "{check:?}");
    assert_eq!(
        String::from_utf8_lossy(&check.stderr),
        "4 records and 7 changes were looked at: the store is sound\n"
    );
    // The same while a daemon serves it, and in this process.
    assert_eq!(
        kv.ok("kv get b; kv check; kv --daemon=never check; kv --connection 'file:data.db?mode=ro' check"),
        "2\n"
    );
}

#[test]
fn each_broken_rule_of_the_stream_is_found() {
    for (damage, told) in [
        ("delete from kv_stream where seq = 5", "kv_stream: change 5 is missing"),
        ("delete from kv_stream where seq between 4 and 6", "kv_stream: changes 4 to 6 are missing"),
        ("delete from kv_stream where seq = 9", "kv_stream: change 9 is missing"),
        ("update kv_meta set head = 8", "kv_stream 9: the stream ends at 8"),
        ("update kv_meta set head = 11", "kv_stream: changes 10 to 11 are missing"),
        (
            "update kv_stream set tx = 9 where seq = 9",
            "kv_stream 9: its call goes on from change 8, and its tx is 9",
        ),
        ("update kv_stream set tx = 3 where seq = 4", "kv_stream 4: it begins a call, and its tx is 3"),
        ("update kv_stream set tx_end = 0 where seq = 9", "kv_stream 9: its call has no end"),
        ("update kv_stream set tx_end = 2 where seq = 9", "kv_stream 9: tx_end is 2"),
        (
            "update kv_stream set action = 'rename' where seq = 4",
            "kv_stream 4: the action \\\"rename\\\" is unknown",
        ),
        (
            "update kv_stream set action = 'expire' where seq = 6",
            "kv_stream 6: it says that a record has expired which stays",
        ),
        ("update kv_stream set version = 0 where seq = 4", "kv_stream 4: version is 0"),
        (
            "update kv_stream set version = 7 where seq = 6",
            "kv_stream 6: it does not remove what change 5 wrote",
        ),
        (
            "update kv_stream set revision = 3 where seq = 4",
            "kv_stream 4: the record in it has the revision 3",
        ),
        ("update kv_stream set revision = 6 where seq = 6", "kv_stream 6: it removes what was written at 6"),
        (
            "update kv_stream set revision = 4 where seq = 6",
            "kv_stream 6: it does not remove what change 5 wrote",
        ),
        (
            "update kv_stream set updated = 5 where seq = 4",
            "kv_record \\\"b\\\": it is not what change 4 says",
        ),
        ("update kv_stream set time = 'noon' where seq = 4", "kv_stream 4: time is text, not an integer"),
        ("update kv_stream set \\\"key\\\" = '' where seq = 4", "kv_stream 4: a key has at least one byte"),
        ("update kv_stream set value = '[1, 2]' where seq = 4", "kv_stream 4: the value has white space"),
        ("update kv_stream set value = x'00' where seq = 4", "kv_stream 4: value is a blob, not text"),
        ("update kv_stream set type = '' where seq = 4", "kv_stream 4: type has at least one byte"),
        (
            "delete from kv_record where \\\"key\\\" = 'x'",
            "kv_stream 8: it is the last change of \"x\", which is not there",
        ),
        (
            "insert into kv_record select \\\"key\\\", version, 1, type, created, updated, null, value from kv_stream where seq = 6",
            "kv_stream 6: it is the last change of \"d\", which is there",
        ),
        (
            "update kv_record set revision = 1 where \\\"key\\\" = 'b'",
            "kv_stream 4: it is the last change of \"b\", whose record has the revision 1",
        ),
    ] {
        let lines = found(damage);
        assert!(lines.contains(&told.replace('\\', "")), "{damage}: {lines}");
    }
}

#[test]
fn each_broken_rule_of_the_other_tables_is_found() {
    for (damage, told) in [
        (
            "update kv_record set version = 7 where \\\"key\\\" = 'b'",
            "kv_record \"b\": it is not what change 4 says",
        ),
        (
            "update kv_record set value = '3' where \\\"key\\\" = 'b'",
            "kv_record \"b\": it is not what change 4 says",
        ),
        (
            "update kv_record set type = null where \\\"key\\\" = 'b'",
            "kv_record \"b\": it is not what change 4 says",
        ),
        (
            "update kv_record set revision = 99 where \\\"key\\\" = 'b'",
            "kv_record \"b\": revision is 99, and the stream ends at 9",
        ),
        (
            "update kv_record set value = '{' where \\\"key\\\" = 'b'",
            "kv_record \"b\": the value is not JSON of kv",
        ),
        ("update kv_record set version = 0 where \\\"key\\\" = 'c'", "kv_record \"c\": version is 0"),
        (
            "update kv_record set expires = 5 where \\\"key\\\" = 'b'",
            "kv_record \"b\": it is not what change 4 says",
        ),
        ("update kv_record set expires = 'soon' where \\\"key\\\" = 'c'", "kv_record \"c\": expires is text"),
        (
            "insert into kv_record select 'n', 1, 2, null, 0, 0, null, '1' union select 'm', 1, 2, null, 0, 0, null, '1'",
            "kv_record: 2 records have the revision 2",
        ),
        (
            "update kv_lock set fence = 3 where name = 'l'",
            "kv_lock \"l\": its fence is 3, and 2 was the last one given",
        ),
        ("update kv_lock set fence = 2", "kv_lock: 2 locks have the fence 2"),
        ("update kv_lock set owner = '' where name = 'l'", "kv_lock \"l\": owner has at least one byte"),
        (
            "update kv_consumer set position = 10",
            "kv_consumer \"mail\": its position is 10, and the stream ends at 9",
        ),
        ("update kv_consumer set holder = 'h'", "kv_consumer \"mail\": it has a holder without an expiry"),
        ("update kv_once set outcome = '{'", "kv_once \"o\": its outcome is not JSON"),
        ("update kv_meta set first = 0", "kv_meta: first is 0, and head is 9"),
        ("update kv_meta set first = 11", "kv_meta: first is 11, and head is 9"),
        ("update kv_meta set head = -1", "kv_meta: head is -1"),
        ("update kv_meta set fence = 'x'", "kv_meta: fence is text, not an integer"),
        ("update kv_meta set epoch = ''", "kv_meta: epoch has at least one byte"),
        ("delete from kv_meta", "kv_meta: it has no row"),
        ("drop table kv_once", "kv_once: it is missing"),
        ("drop index kv_record_type", "kv_record: kv_record_type on (type, key) is missing"),
        ("alter table kv_lock drop column refreshes", "kv_lock: refreshes integer not null is missing"),
        ("create index own on kv_stream (\\\"key\\\")", "kv_stream: own on (key) is not kv's"),
        (
            "create trigger t after insert on kv_lock begin select 1; end",
            "database: the trigger \"t\" on kv_lock is not kv's",
        ),
        ("pragma writable_schema = on; delete from sqlite_schema where name = 'kv_once_time'", "database: "),
    ] {
        let lines = found(damage);
        assert!(lines.contains(told), "{damage}: {lines}");
    }
}

#[test]
fn findings_are_printed_for_programs_and_cannot_pretend_to_be_others() {
    let kv = store();
    kv.ok("sqlite3 data.db \"update kv_lock set fence = 9, name = 'l' || char(10) || 'kv_meta: x' where name = 'l'\"");
    let output = kv.shell("kv check --output ndjson | jq -c .; exit ${PIPESTATUS[0]}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "{\"table\":\"kv_lock\",\"row\":\"l\\nkv_meta: x\",\"problem\":\"its fence is 9, and 2 was the last one given\"}\n"
    );
    let text = kv.shell("kv check");
    assert_eq!(String::from_utf8_lossy(&text.stdout).lines().count(), 1, "{text:?}");
}

#[test]
fn a_file_with_broken_pages_is_damaged_whichever_page_it_is() {
    for page in 2..14 {
        let kv = store();
        kv.ok(&format!("test $(stat -c %s data.db) -gt $(({page} * 4096)); head -c 4096 /dev/urandom | dd of=data.db bs=4096 seek={} conv=notrunc status=none", page - 1));
        let check = kv.shell("kv check");
        assert!(matches!(check.status.code(), Some(1 | 6)), "page {page}: {check:?}");
        assert!(
            !check.stdout.is_empty() || String::from_utf8_lossy(&check.stderr).contains("hint"),
            "page {page}: {check:?}"
        );
    }
}

#[test]
fn an_older_schema_is_not_checked_and_told_how_to_bring_it_up_to_date() {
    let kv = store();
    kv.ok(&format!("sqlite3 data.db '{}'", back_to(2)));
    let (code, stderr) = kv.fails("kv check");
    assert!(code == 6 && stderr.contains("has schema 2") && stderr.contains("kv init"), "{code} {stderr}");
    kv.ok("kv init; kv check");
}

#[test]
fn a_store_from_before_records_expired_is_brought_up_to_date_with_all_that_is_in_it() {
    let kv = store();
    let before = kv.ok("kv list --output ndjson; kv stream get --output ndjson; kv daemon stop");
    kv.ok(&format!("sqlite3 data.db '{}'", back_to(4)));
    let (code, stderr) = kv.fails("kv get b");
    assert!(code == 6 && stderr.contains("has schema 4") && stderr.contains("kv init"), "{code} {stderr}");
    kv.ok("kv init");
    assert_eq!(kv.ok("kv list --output ndjson; kv stream get --output ndjson"), before);
    assert_eq!(
        kv.ok("kv expire b 1h --print-version; kv get b --output record | jq 'has(\"expires\")'"),
        "3\ntrue\n"
    );
    kv.ok("kv check; kv backup backup.db; kv --connection backup.db check");
}
