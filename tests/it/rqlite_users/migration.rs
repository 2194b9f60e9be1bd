//! Steps of the schema: of a store that an older kv has made, of several commands at once, and of a newer kv.

use crate::backup::is_brought_up_from_schema_4;
use crate::support::rqlite::Database;
use crate::support::{Kv, Load, skipped, wait_until};

/// The first version of the schema.
const FIRST: &str = include_str!("../../../migrations/sqlite/0001_store.sql");

/// A store as a kv that had only the first schema would have left it: two keys, one that was written twice, one that is gone.
const CONTENTS: &[&str] = &[
    "create table kv_migration (number integer primary key, name text not null, applied integer not null) strict",
    "insert into kv_migration values (1, 'store', 1700000000000)",
    "insert into kv_meta values (1, '0123456789abcdef0123456789abcdef', 'fedcba9876543210fedcba9876543210', 4, 1, 1700000000400)",
    r#"insert into kv_record values
        ('a', 2, 2, 'T', 1700000000100, 1700000000200, null, '{"n":1.10,"n":2}'),
        ('ä', 2, 4, null, 1700000000300, 1700000000400, null, '"x"')"#,
    r#"insert into kv_stream values
        (1, 1, 0, 'create', 1700000000100, 'a', 1, 1, null, 1700000000100, 1700000000100, '1'),
        (2, 1, 1, 'update', 1700000000200, 'a', 2, 2, 'T', 1700000000100, 1700000000200, '{"n":1.10,"n":2}'),
        (3, 3, 1, 'create', 1700000000300, 'ä', 1, 3, null, 1700000000300, 1700000000300, '0'),
        (4, 4, 1, 'update', 1700000000400, 'ä', 2, 4, null, 1700000000300, 1700000000400, '"x"')"#,
];

fn kv(database: &Database) -> Kv {
    Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", database.url())])
}

/// A store with the first schema.
fn old_store() -> Option<Database> {
    let database = Database::lease()?;
    let schema = FIRST.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    let schema: Vec<&str> = schema.split(";\n").filter(|text| !text.trim().is_empty()).collect();
    database.node().transaction(&[&schema[..], CONTENTS].concat());
    Some(database)
}

fn steps(database: &Database) -> String {
    database.sql("select group_concat(number) from (select number from kv_migration order by number)")
}

#[test]
fn an_old_store_is_brought_up_to_date_with_all_that_is_in_it() {
    let Some(database) = old_store() else {
        return skipped("an_old_store_is_brought_up_to_date_with_all_that_is_in_it");
    };
    let kv = kv(&database);
    for text in
        ["kv get a", "kv list", "kv put a --value 1", "kv --daemon=never get a", "kv stream get", "kv check"]
    {
        let (code, stderr) = kv.fails(text);
        assert!(code == 6 && stderr.contains("bring it up to date with: kv init"), "{text}: {code} {stderr}");
    }
    kv.ok("kv init");
    assert_eq!(steps(&database), "1,2,3,4,5,6");
    assert_eq!(kv.ok("kv get a --raw; kv get ä --raw; kv count all"), "{\"n\":1.10,\"n\":2}\n\"x\"\n2\n");
    let changes =
        kv.ok("kv stream get --output ndjson | jq -c '[.seq, .tx, .action, .record.key, .record.version]'");
    assert_eq!(
        changes,
        "[1,1,\"create\",\"a\",1]\n[2,1,\"update\",\"a\",2]\n[3,3,\"create\",\"ä\",1]\n[4,4,\"update\",\"ä\",2]\n"
    );
    assert_eq!(kv.ok("kv daemon status | jq -r .store_id"), "0123456789abcdef0123456789abcdef\n");
    kv.ok("kv put a --value 3 --version 2 --once i; kv lock acquire l me; kv consumer commit c 5; kv check");
    assert_eq!(kv.ok("kv stream seq; kv init 2>&1"), "5\nthe store exists already\n");
}

#[test]
fn a_store_from_before_records_expired_keeps_its_locks_and_consumers() {
    let Some(database) = Database::lease() else {
        return skipped("a_store_from_before_records_expired_keeps_its_locks_and_consumers");
    };
    let kv = kv(&database);
    is_brought_up_from_schema_4(&kv, |undo| {
        let statements: Vec<&str> = undo.split(';').filter(|text| !text.trim().is_empty()).collect();
        database.node().transaction(&statements);
    });
    assert_eq!(steps(&database), "1,2,3,4,5,6");
}

/// A daemon that has the store in hand while another command brings it up to date goes on with it.
#[test]
fn a_daemon_that_waits_for_the_schema_serves_it_at_once() {
    let Some(database) = old_store() else {
        return skipped("a_daemon_that_waits_for_the_schema_serves_it_at_once");
    };
    let kv = kv(&database);
    let readers = "for i in 1 2 3 4; do (until kv get a --raw 2>/dev/null; do kv put b$i --value 1 2>/dev/null; done; kv put c$i --value 1) & done";
    let out = kv.ok(&format!(
        "kv daemon start; {readers}; kv --daemon=never init; wait; kv count prefix c; kv check"
    ));
    assert_eq!(out, format!("{}4\n", "{\"n\":1.10,\"n\":2}\n".repeat(4)));
}

#[test]
fn of_several_inits_at_once_one_creates_the_store() {
    for is_new in [true, false] {
        let Some(database) = (if is_new { Database::lease() } else { old_store() }) else {
            return skipped("of_several_inits_at_once_one_creates_the_store");
        };
        let kv = kv(&database);
        let told = kv.ok("for i in 1 2 3 4 5 6; do kv --daemon=never init 2>&1 & done; wait");
        let created = told.lines().filter(|line| *line == "the store was created").count();
        assert_eq!((told.lines().count(), created), (6, usize::from(is_new)), "{told}");
        assert_eq!(steps(&database), "1,2,3,4,5,6");
        assert_eq!(database.sql("select count(*) from kv_meta"), "1");
        kv.ok("kv put x --value 1; kv check");
    }
}

#[test]
fn nothing_is_written_behind_a_step_of_a_newer_kv() {
    let Some(database) = Database::lease() else {
        return skipped("nothing_is_written_behind_a_step_of_a_newer_kv");
    };
    let kv = kv(&database);
    kv.ok("kv init");
    let load = Load::start(&kv);
    wait_until("some load", || load.acknowledged() > 100);
    // As a newer kv does it; what was planned before is stale by then.
    let head = database
        .node()
        .transaction(&[
            "insert into kv_migration values (99, 'later', 0)",
            "update kv_meta set batches = batches + 1",
            "select head from kv_meta",
        ])
        .pop()
        .unwrap();
    for text in [
        "kv get 0/0",
        "kv list",
        "kv stream get",
        "kv put x --value 1",
        "kv delete prefix 0",
        "kv lock acquire l me",
        "kv lock status l",
        "kv watch --after 0",
        "kv consumer stream c",
        "kv init",
        "kv check",
        "kv --daemon=never put x --value 1",
    ] {
        let (code, stderr) = kv.fails(text);
        assert!(
            code == 1 && stderr.contains("unsupported") && stderr.contains("schema 99"),
            "{text}: {code} {stderr}"
        );
        assert!(stderr.contains("newer one"), "{text}: {stderr}");
    }
    assert_eq!(database.sql("select head from kv_meta"), head);
    assert_eq!(database.sql("select count(*) from kv_stream"), head);
    // To look at what is there.
    database.sql("delete from kv_migration where number = 99");
    load.check(&kv);
    assert_eq!(kv.ok("kv stream seq"), format!("{head}\n"));
}

#[test]
fn tables_of_others_are_left_alone() {
    let Some(database) = Database::lease() else { return skipped("tables_of_others_are_left_alone") };
    let kv = kv(&database);
    let theirs =
        "create table if not exists people (name text); create index if not exists by_name on people (name)";
    database.node().transaction(&theirs.split("; ").collect::<Vec<_>>());
    database.sql("insert into people values ('alice')");
    assert_eq!(kv.ok("kv init 2>&1; kv init 2>&1"), "the store was created\nthe store exists already\n");
    kv.ok("kv put x --value 1; kv delete prefix ''; kv stream trim 2; kv put y --value 1; kv check");
    assert_eq!(database.sql("select name from people"), "alice");
    database.sql("drop table people");
}
