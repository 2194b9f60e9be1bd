//! What the documents show on SQLite happens on PostgreSQL too.

use crate::readme::run_document;
use crate::support::postgres::Cluster;
use crate::support::{Kv, skipped};

/// What the commands say that only a file has, and why.
const ABOUT_FILES: &[(&str, &str)] = &[
    ("other.db", "a store is named by its path"),
    ("notes/data.db", "a store is named by its path"),
    ("app.db", "a store is named by its path"),
    ("kv backup", "pg_dump makes backups"),
    ("backup.db", "pg_dump makes backups"),
    ("kv restore", "pg_restore restores them"),
    ("kv compact", "the server vacuums by itself"),
    ("$PWD/data.db", "a daemon is named by the path of its store"),
    ("\"op\":\"compact\"", "the server vacuums by itself"),
    ("\"op\":\"restore\"", "pg_restore restores backups"),
];

fn run_on_postgres(text: &str) {
    let Some(cluster) = Cluster::shared() else { return skipped("the documents on PostgreSQL") };
    let (database, releases) = (cluster.database(), cluster.database());
    run_on(&database.url(), &releases.url(), text);
}

/// Runs a document whose stores are on a server: that which nobody names, and that which it calls releases.db.
pub(super) fn run_on(store: &str, releases: &str, text: &str) {
    let kv = Kv::with(&[("KV_TYPE", "postgres"), ("KV_CONNECTION", store), ("RELEASES", releases)]);
    let is_run = |command: &str| !ABOUT_FILES.iter().any(|(part, _)| command.contains(part));
    let left_out = text.split("\n$ ").filter(|command| !is_run(command.lines().next().unwrap())).count();
    let text = text
        .replace("--connection releases.db", "--connection \"$RELEASES\"")
        .replace("sqlite\"", "postgres\"");
    run_document(&kv, &text, &is_run);
    assert!(left_out < 10, "{left_out} commands were left out");
}

#[test]
fn the_readme_shows_what_happens() {
    run_on_postgres(include_str!("../../../README.md"));
}

#[test]
fn the_protocol_document_shows_what_happens() {
    run_on_postgres(include_str!("../../../docs/protocol.md"));
}
