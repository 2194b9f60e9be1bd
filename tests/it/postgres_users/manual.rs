//! What docs/postgresql.md says is so.

use std::path::Path;

use super::support::Parts;
use crate::readme::run_document;
use crate::support::postgres::{Cluster, binaries, sql_at};
use crate::support::{Kv, skipped};

const MANUAL: &str = include_str!("../../../docs/postgresql.md");

/// Every program of PostgreSQL and kv itself is on the path, and nobody is asked for a password.
fn administrator(cluster: &Cluster) -> (Kv, String) {
    let database = cluster.database();
    let url = cluster.administrator_url(&database);
    sql_at(&url, "create database shop template template0 owner postgres");
    let Parts { host, port, .. } = Parts::of(&url);
    std::fs::write(cluster.directory().join("data/pg_hba.conf"), "host all all 127.0.0.1/32 trust\n")
        .unwrap();
    sql_at(&url, "select pg_reload_conf()");
    let kv = Path::new(env!("CARGO_BIN_EXE_kv")).parent().unwrap();
    let path = format!("{}:{}:{}", binaries().display(), kv.display(), std::env::var("PATH").unwrap());
    let variables = [
        ("KV_TYPE", "postgres"),
        ("PGHOST", &host),
        ("PGPORT", &port),
        ("PGUSER", "postgres"),
        ("PGDATABASE", "shop"),
        ("PATH", &path),
    ];
    (Kv::with(&variables), url)
}

#[test]
fn the_manual_shows_what_happens() {
    let Some(cluster) = Cluster::start() else { return skipped("the_manual_shows_what_happens") };
    let (kv, _) = administrator(&cluster);
    let mut blocks = 0;
    for block in MANUAL.split("```").skip(1).step_by(2) {
        let (language, text) = block.split_once('\n').unwrap();
        match language {
            "sql" => {
                std::fs::write(kv.directory.path().join("block.sql"), text).unwrap();
                kv.ok("psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file block.sql");
            }
            "console" => run_document(&kv, &format!("```{block}```"), &|_| true),
            other => panic!("a block of {other} is not run"),
        }
        blocks += 1;
    }
    assert_eq!(blocks, 5);
}

/// What each role may do, beyond what the manual shows.
#[test]
fn a_writer_does_all_but_the_schema_and_a_reader_only_reads() {
    let Some(cluster) = Cluster::start() else {
        return skipped("a_writer_does_all_but_the_schema_and_a_reader_only_reads");
    };
    let (kv, _) = administrator(&cluster);
    let grants = MANUAL.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    std::fs::write(kv.directory.path().join("grants.sql"), grants).unwrap();
    kv.ok("psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file grants.sql");
    let as_role = |role: &str, text: &str| format!("export PGUSER={role}; {text}");
    kv.ok(&as_role("kv_owner", "kv init"));
    let writer = "kv init && kv put a --value '{\"n\":1}' --of-type T && echo '{\"n\":2}' | kv patch a && kv put b --value 2 --once i
        kv lock run l -- kv put c --value 3 --fence l:1 && kv consumer commit c 2 && kv delete b && kv delete prefix c
        echo '{\"op\":\"put\",\"key\":\"d\",\"value\":4}' | kv mutate
        kv stream trim 2 && kv put e --value 5 && kv lock acquire held me --duration 1h && kv count all";
    assert!(kv.ok(&as_role("kv_writer", writer)).ends_with("\n3\n"));
    let (code, stderr) = kv.fails(&as_role("kv_writer", "psql -qc 'create table kv.t ()' || exit 9"));
    assert_eq!(code, 9, "{stderr}");

    let reads = "kv get key a && kv get batch a b && kv get prefix a && kv list 0 1 && kv count type T && kv stream get 3 && kv stream seq
        kv consumer status c && kv consumer list && kv consumer get c --prefix d && kv lock status held && kv lock list && kv check
        kv daemon status && kv rpc <<<'{\"op\":\"hello\"}'
        timeout 5 kv watch --after 3 -- false || test $? = 1";
    for mode in ["auto", "never"] {
        kv.ok(&as_role(
            "kv_reader",
            &format!("set -e; export KV_DAEMON={mode}; {}", if mode == "auto" { reads } else { "kv get a" }),
        ));
    }
    for text in [
        "kv put a --value 1",
        "kv patch a --value 1",
        "kv delete a",
        "kv delete prefix a",
        "echo '{\"op\":\"put\",\"key\":\"d\",\"value\":4}' | kv mutate",
        "kv lock acquire l me",
        "kv lock acquire held you --wait 1s",
        "kv lock run l -- true",
        "kv stream trim 3",
        "kv consumer commit c 3",
        "kv consumer stream c",
        "kv put a --value 1 --once x",
    ] {
        let (code, stderr) = kv.fails(&as_role("kv_reader", text));
        assert!(code == 6 && stderr.contains("read_only"), "{text}: {code} {stderr}");
        assert!(stderr.contains("docs/postgresql.md"), "{text}: {stderr}");
    }
    // Nothing goes wrong in the background for want of a right.
    let logs = kv.ok(&as_role("kv_reader", "kv daemon logs"));
    let warnings: Vec<&str> =
        logs.lines().filter(|line| line.contains("WARN") && !line.contains("read_only")).collect();
    assert!(warnings.is_empty(), "{warnings:#?}");
}

#[test]
fn a_restored_dump_is_the_same_store_until_it_is_given_an_epoch() {
    let Some(cluster) = Cluster::start() else {
        return skipped("a_restored_dump_is_the_same_store_until_it_is_given_an_epoch");
    };
    let (kv, _) = administrator(&cluster);
    kv.ok("kv init; kv put a --value 1; kv put b --value 2; kv lock acquire l me --duration 1h");
    let identity = |database: &str| {
        kv.ok(&format!(
            "export PGDATABASE={database}; kv daemon start; kv daemon status | jq -r '.store_id, .epoch'"
        ))
    };
    kv.ok("pg_dump --schema kv --format custom --file dump; createdb copy; pg_restore --dbname copy dump");
    assert_eq!(identity("copy"), identity("shop"));
    assert_eq!(kv.ok("PGDATABASE=copy kv get b; PGDATABASE=copy kv stream seq"), "2\n2\n");
    // Who follows is told, and nobody is given a fence that somebody else has had.
    let epoch = kv.ok("kv daemon status | jq -r .epoch");
    let renewed = MANUAL.split("```sql\n").find(|block| block.starts_with("update kv.kv_meta")).unwrap();
    std::fs::write(kv.directory.path().join("renew.sql"), renewed.split("```").next().unwrap()).unwrap();
    kv.ok("psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --file renew.sql");
    assert_ne!(kv.ok("kv daemon status | jq -r .epoch"), epoch);
    let subscribe = format!(r#"{{"op":"subscribe","after":1,"epoch":"{}"}}"#, epoch.trim());
    assert_eq!(kv.ok(&format!("echo '{subscribe}' | kv rpc | jq -r .error.code")), "epoch_changed\n");
    assert_eq!(kv.ok("kv lock acquire l you | jq .fence"), "1000002\n");
    kv.ok("kv check");
}
