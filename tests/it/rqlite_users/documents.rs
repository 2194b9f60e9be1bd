//! What the documents show on SQLite happens on rqlite too.

use crate::readme::run_document_on;
use crate::support::rqlite::Database;
use crate::support::skipped;

fn run_on_rqlite(text: &str) {
    let (Some(database), Some(releases)) = (Database::lease(), Database::lease()) else {
        return skipped("the documents on rqlite");
    };
    run_document_on("rqlite", database.url(), releases.url(), text);
}

#[test]
fn the_readme_shows_what_happens() {
    run_on_rqlite(include_str!("../../../README.md"));
}

#[test]
fn the_protocol_document_shows_what_happens() {
    run_on_rqlite(include_str!("../../../docs/protocol.md"));
}

#[test]
fn the_document_of_the_semantics_shows_what_happens() {
    run_on_rqlite(include_str!("../../../docs/semantics.md"));
}
