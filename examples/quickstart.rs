//! Stores a person and reads it back.
//!
//! `cargo run --example quickstart` keeps the store in memory; `cargo run --example quickstart -- "$(kv socket)"` goes
//! through the daemon that listens there.

// The library leaves stdout alone; a program does not.
#![allow(clippy::print_stdout)]

use std::path::Path;

use futures_util::TryStreamExt as _;
use kv::Client;
use kv::store::{JsonText, List, Put, Record, Result, Store, StoreExt};
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

    let Some(found) = store.get_as::<Person>("person/alice").await? else {
        panic!("the person is not there")
    };
    println!("found {:?} at version {}", found.value, found.version);
    assert_eq!((&found.value, found.version), (&alice, 1));

    let people = store.scan(List::of_type("Person")).and_then(async |person| person.into_typed::<Person>());
    let people: Vec<Record<Person>> = people.try_collect().await?;
    assert_eq!(people.len(), 1);
    for person in people {
        println!("{} is {} years old", person.key, person.value.age);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    if let Some(socket) = std::env::args_os().nth(1) {
        quickstart(&Client::connect(Path::new(&socket)).await?).await
    } else {
        let store = kv::open(":memory:")?;
        quickstart(&store).await?;
        store.close().await;
        Ok(())
    }
}
