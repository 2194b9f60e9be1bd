//! What goes out of one store and into another one is the same.

use kv::store::EngineKind;

use super::{Stores, records};
use crate::support::{Kv, wait_until};

/// Keys, values, types and an expiry that some layer may take for something else.
const ODD: &[&str] = &[
    r#"{"key":"it's; drop table kv_meta;--","value":"\"quoted\" \\ \u001f","type":"%_'"}"#,
    r#"{"key":"tab\tand\nbreak\u0001","value":{"b":1,"a":1E2,"b":1.00},"version":7,"created":"1999-12-31T23:59:59.999Z","updated":"2020-02-29T00:00:00.001Z"}"#,
    r#"{"key":"日本 👩‍👩‍👧","value":[99999999999999999999999999,-0,1e400,0.1000000000000000055]}"#,
    r#"{"key":"x'6162'","value":null,"type":"日本"}"#,
    r#"{"key":"$1?:p","value":"2023-11-14T22:13:20Z","version":4503599627370495}"#,
    r#"{"key":"goes","value":false,"expires":"2999-01-01T00:00:00.000Z"}"#,
];

/// Writes the odd records, a deep one and a large one into a file.
fn write_odd(kv: &Kv) {
    let deep = format!("{{\"key\":\"deep\",\"value\":{}{}}}", "[".repeat(100), "]".repeat(100));
    let large = format!("{{\"key\":\"large\",\"value\":\"{}\"}}", "é".repeat(4 * 1_024 * 1_024 - 1));
    let lines = [ODD, &[&deep, &large]].concat().join("\n");
    std::fs::write(kv.directory.path().join("odd.ndjson"), lines).unwrap();
}

const ENGINES: &[EngineKind] = &[EngineKind::Sqlite, EngineKind::Postgres, EngineKind::Rqlite];

#[test]
fn odd_records_are_the_same_in_each_store_that_they_are_moved_to() {
    let stores = Stores::on(ENGINES);
    let kv = &stores.kv;
    write_odd(kv);
    kv.ok("kv init; kv import odd.ndjson 2>told");
    assert_eq!(kv.ok("cat told"), "8 created, 0 updated, 0 unchanged, 0 skipped, 0 expired\n");
    kv.ok("kv export all.ndjson");
    let records = "sed '/^{\"kv_/d; s/\"revision\":[0-9]*,//'";
    let expected = kv.ok(&format!("{records} <all.ndjson"));
    for line in ODD {
        let key = &line[..line.find(",\"value\"").unwrap()];
        let value = line.split("\"value\":").nth(1).unwrap();
        let value = value.split(",\"type\"").next().unwrap().split(",\"version\"").next().unwrap();
        let value = value.split(",\"expires\"").next().unwrap().trim_end_matches('}');
        let found = expected.lines().find(|found| found.starts_with(key)).expect(key);
        assert!(found.contains(value), "{line}\n{found}");
    }
    for (options, word) in stores.options().iter().zip(stores.words()) {
        kv.ok(&format!("kv {options} init; kv {options} import all.ndjson"));
        assert_eq!(kv.ok(&format!("kv {options} export | {records}")), expected, "{word}");
        kv.ok(&format!("kv diff data.db '{word}'"));
        let again = kv.ok(&format!("kv {options} import all.ndjson 2>&1"));
        assert_eq!(again, "0 created, 0 updated, 8 unchanged, 0 skipped, 0 expired\n", "{word}");
    }
}

#[test]
fn a_copy_goes_between_any_two_engines() {
    let stores = Stores::on(ENGINES);
    let kv = &stores.kv;
    write_odd(kv);
    kv.ok("kv init; kv import odd.ndjson");
    let mut from = "data.db".to_owned();
    for word in stores.words() {
        let told = kv.ok(&format!("kv copy --from '{from}' --to '{word}' 2>&1"));
        assert!(told.contains("was created\ncopied: 8 created"), "{told}");
        assert!(told.ends_with("verified: 8 keys, both stores have the same\n"), "{told}");
        assert_eq!(kv.ok(&format!("kv diff data.db '{word}'")), "");
        from = word;
    }
}

/// The new store has the history of the old one, also where a part of it was trimmed.
#[test]
fn changes_are_repeated_in_order() {
    let kv = Kv::new();
    kv.ok("kv init; for value in 1 2 3; do kv put a --value $value; done; kv put b --value 1; kv delete b; kv put b --value 2");
    kv.ok("kv export --stream all.ndjson; kv --connection new.db init; kv --connection new.db import all.ndjson");
    let history = |store: &str, key: &str| {
        kv.ok(&format!(
            "kv --connection {store} history {key} --output ndjson | jq -c '[.action, .record.version, .record.updated, .record.value]'"
        ))
    };
    for key in ["a", "b"] {
        assert_eq!(history("new.db", key), history("data.db", key));
    }
    kv.ok("kv diff data.db new.db");
    // Repeated once more they would be there twice.
    let (code, told) = kv.fails("kv --connection new.db import all.ndjson");
    assert_eq!((code, told.contains("the store has changes already")), (4, true), "{told}");
    kv.ok("kv --connection new.db import --on-conflict overwrite all.ndjson");
    // No version goes back, which is a difference and no reason to copy.
    let output = kv.shell("kv diff data.db new.db");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "~ a: version 3 → 6\n");
    let told = kv.ok("kv copy --from data.db --to new.db 2>&1");
    assert_eq!(
        told,
        "copied: 0 created, 0 updated, 2 unchanged, 0 skipped, 0 expired\n\
         1 key has a later version in the target, having replaced other records\n\
         verified: 2 keys, both stores have the same\n"
    );

    kv.ok("kv stream trim 3; kv export --stream rest.ndjson");
    assert_eq!(kv.ok("grep -c '^{\"key\":\"a\"' rest.ndjson; grep -c '^{\"change' rest.ndjson"), "1\n3\n");
    kv.ok(
        "kv --connection rest.db init; kv --connection rest.db import rest.ndjson; kv diff data.db rest.db",
    );
}

#[test]
fn a_selection_is_moved_alone() {
    let kv = Kv::new();
    kv.ok(
        "kv init; kv put a/1 --value 1 --of-type T; kv put a/2 --value 2; kv put b/1 --value 3 --of-type T",
    );
    let keys = |command: &str| kv.ok(&format!("{command} | jq -r 'select(.key).key' | paste -sd' '"));
    assert_eq!(keys("kv export --prefix a/"), "a/1 a/2\n");
    assert_eq!(keys("kv export --of-type T"), "a/1 b/1\n");
    assert_eq!(keys("kv export --of-type T --prefix a/"), "a/1\n");
    kv.ok(
        "kv export all.ndjson; kv --connection b.db init; kv --connection b.db import --prefix b/ all.ndjson",
    );
    assert_eq!(keys("kv --connection b.db export"), "b/1\n");
    kv.ok("kv copy --from data.db --to a.db --prefix a/ && kv diff --prefix a/ data.db a.db");
    assert_eq!(keys("kv --connection a.db export"), "a/1 a/2\n");
    let output = kv.shell("kv diff data.db a.db");
    assert_eq!(
        (output.status.code(), String::from_utf8_lossy(&output.stdout).as_ref()),
        (Some(1), "- b/1\n")
    );
}

#[test]
fn an_export_tells_what_was_committed_meanwhile() {
    let kv = Kv::new();
    records(&kv, "many.ndjson", "k", 5_000, 100);
    kv.ok("kv init; kv import many.ndjson; mkfifo pipe");
    // It waits for the reader behind the first page.
    let mut export = kv.command("bash").args(["-c", "exec kv export >pipe 2>told"]).spawn().unwrap();
    let mut reader = kv
        .command("bash")
        .args([
            "-c",
            "exec 3<pipe; head -c 10 <&3 >begun; until [ -e go ]; do sleep 0.02; done; cat <&3 >rest",
        ])
        .spawn()
        .unwrap();
    wait_until("the first page", || kv.shell("[ -s begun ]").status.success());
    kv.ok("kv put k00004999 --value 1; kv put other --value 1; touch go");
    assert!(export.wait().unwrap().success() && reader.wait().unwrap().success());
    assert_eq!(
        kv.ok("cat told"),
        "exported: 5001 records, up to change 5002\n2 changes were committed meanwhile: each record is as its page was read\n"
    );
}
