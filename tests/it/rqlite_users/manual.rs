//! What docs/rqlite.md says is so.

use serde_json::Value;

use crate::readme::run_document;
use crate::support::rqlite::{Cluster, Database};
use crate::support::{Kv, skipped};

const MANUAL: &str = include_str!("../../../docs/rqlite.md");

/// The blocks of this language.
fn blocks(language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    MANUAL.split(start.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn the_manual_shows_what_happens() {
    let Some(database) = Database::lease() else { return skipped("the_manual_shows_what_happens") };
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", database.url())]);
    kv.ok("kv daemon start; kv daemon status >/dev/null");
    let (_, host) = database.url().split_once("://").unwrap();
    let text = MANUAL.replace("localhost:4001", host);
    run_document(&kv, &text, &|_| true);
    kv.ok("kv check");
    let all = MANUAL.matches("\n```").count() / 2;
    assert_eq!(all, blocks("console").len() + blocks("json").len() + blocks("text").len());
}

/// The nodes of the tests of permissions have the users that the manual names.
#[test]
fn the_users_of_the_manual_are_those_of_the_tests() {
    let Some(cluster) = Cluster::start_with(1, &["auth"]) else {
        return skipped("the_users_of_the_manual_are_those_of_the_tests");
    };
    let users = |text: &str| {
        let users: Vec<Value> = serde_json::from_str(text).unwrap();
        let permissions = |user: &Value| {
            let permissions = user["perms"].as_array().unwrap().iter();
            let mut permissions: Vec<_> = permissions.map(|name| name.as_str().unwrap().to_owned()).collect();
            permissions.sort();
            (user["username"].as_str().unwrap().to_owned(), permissions)
        };
        users.iter().map(permissions).collect::<Vec<_>>()
    };
    let tested = users(&std::fs::read_to_string(cluster.directory().join("users")).unwrap());
    for user in users(blocks("json")[0]) {
        assert!(tested.contains(&user), "{user:?} is none of {tested:?}");
    }
}

/// What is loaded in place of the store is another one to whoever follows.
#[test]
fn a_loaded_copy_has_an_epoch_of_its_own() {
    let Some(database) = Database::lease() else { return skipped("a_loaded_copy_has_an_epoch_of_its_own") };
    let kv = Kv::with(&[("KV_TYPE", "rqlite"), ("KV_CONNECTION", database.url()), ("NODE", database.url())]);
    kv.ok("kv init; kv put a --value 1; kv lock acquire l me --duration 1h; curl -s -o store.db $NODE/db/backup; kv put b --value 2");
    let identity = "kv daemon status | jq -r '.store_id, .epoch'";
    let before = kv.ok(identity);
    // The daemon of before notices by itself that what it knew is gone.
    kv.ok("curl -s -H 'Content-Type: application/octet-stream' --data-binary @store.db $NODE/db/load");
    assert_eq!(kv.ok("kv list --keys-only --output ndjson; kv stream seq"), "\"a\"\n1\n");
    assert_eq!(kv.ok(identity), before);
    let renewed = MANUAL.lines().find(|line| line.contains(">renew.json")).unwrap();
    kv.ok(&format!(
        "{}; curl -s -H 'Content-Type: application/json' --data @renew.json $NODE/db/execute?transaction",
        renewed.trim_start_matches("$ ")
    ));
    let epoch = before.lines().nth(1).unwrap();
    let subscribe = format!(r#"{{"op":"subscribe","after":1,"epoch":"{epoch}"}}"#);
    assert_eq!(kv.ok(&format!("echo '{subscribe}' | kv rpc | jq -r .error.code")), "epoch_changed\n");
    assert_ne!(kv.ok(identity), before);
    assert_eq!(kv.ok("kv lock acquire l you | jq .fence; kv put c --value 3; kv check"), "1000002\n");
}
