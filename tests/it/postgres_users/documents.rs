//! What the documents show on SQLite happens on PostgreSQL too.

use crate::readme::run_document_on;
use crate::support::postgres::Cluster;
use crate::support::skipped;

fn run_on_postgres(text: &str) {
    let Some(cluster) = Cluster::shared() else { return skipped("the documents on PostgreSQL") };
    let (database, releases) = (cluster.database(), cluster.database());
    run_document_on("postgres", &database.url(), &releases.url(), text);
}

#[test]
fn the_readme_shows_what_happens() {
    run_on_postgres(include_str!("../../../README.md"));
}

#[test]
fn the_protocol_document_shows_what_happens() {
    run_on_postgres(include_str!("../../../docs/protocol.md"));
}

#[test]
fn the_document_of_the_semantics_shows_what_happens() {
    run_on_postgres(include_str!("../../../docs/semantics.md"));
}
