//! Stores a person and reads it back.
//!
//! `cargo run --example quickstart` keeps the store in memory; `cargo run --example quickstart -- "$(kv socket)"` goes
//! through the daemon that listens there.

// The library leaves stdout alone; a program does not.
#![allow(clippy::print_stdout)]

use std::path::Path;

use kv::Client;
use kv::store::{
    Address, Clock, EngineKind, JsonText, LocalStore, Put, Result, Store, records_of, value_of, values_of,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    name: String,
    age: u32,
    city: String,
}

/// Stores a person and reads it again: the same code for a store of this process and for one behind a daemon.
///
/// # Errors
/// Those of the store.
///
/// # Panics
/// When the store answers something else than what was stored.
pub async fn quickstart(store: &dyn Store) -> Result<()> {
    store.init().await?;

    let alice = Person { name: "Alice".to_owned(), age: 30, city: "New York".to_owned() };
    store.put(Put::new("person/alice", JsonText::of(&alice)?).of_type("Person")).await?;

    let Some(record) = store.get("person/alice").await? else { panic!("the person is not there") };
    let found: Person = value_of(&record)?;
    println!("found {found:?} at version {}", record.version);
    assert_eq!((&found, record.version), (&alice, 1));

    let records = store.list(0, Some(100)).await?;
    let people: Vec<Person> = values_of(&records)?;
    assert_eq!(people, [alice]);
    for person in records_of::<Person>(records)? {
        println!("{} is {} years old", person.key, person.value.age);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if let Some(socket) = std::env::args_os().nth(1) {
        quickstart(&Client::connect(Path::new(&socket)).await?).await
    } else {
        let store = LocalStore::open(&Address::parse(EngineKind::Sqlite, ":memory:")?, Clock::System);
        quickstart(&store).await?;
        store.close().await;
        Ok(())
    }
}
