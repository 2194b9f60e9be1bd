//! The names that only the store or a file of profiles knows.

use clap::{Command, FromArgMatches as _};
use kv::client::{Client, Target};
use kv::limits;
use kv::store::{Clock, List, LocalStore, NameList, Result, Selector, Store};

use crate::cli::arguments::{DaemonMode, StoreArguments};
use crate::cli::connect;
use crate::cli::settings::Settings;

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Lock,
    Consumer,
    Profile,
}

/// What an argument names, by the command to which it belongs and its id.
pub(super) fn kind_of(command: &str, argument: &str) -> Option<Kind> {
    match (command, argument) {
        (_, "profile") => Some(Kind::Profile),
        ("consumer list", "prefix") => Some(Kind::Consumer),
        ("lock list", "prefix") => Some(Kind::Lock),
        (_, "key" | "key_flag" | "prefix") => Some(Kind::Key),
        ("get" | "delete" | "count", "words") | ("list", "after") => Some(Kind::Key),
        (command, "name") if command.starts_with("lock ") => Some(Kind::Lock),
        (command, "name") if command.starts_with("consumer ") => Some(Kind::Consumer),
        _ => None,
    }
}

/// The words that a command knows in the place of its first key.
pub(super) fn words_of(command: &str) -> &'static [&'static str] {
    match command {
        "get" => &["key", "batch", "prefix", "range", "type"],
        "delete" => &["key", "prefix", "range"],
        "count" => &["all", "prefix", "range", "type"],
        _ => &[],
    }
}

/// The first names of a kind that begin like this; none when they cannot be learnt. Blocks the thread.
pub(super) fn look_up(kind: Kind, kv: Command, words: &[String], start: &str) -> Vec<String> {
    let found = settings(kv, words).and_then(|settings| match kind {
        Kind::Profile => Ok(settings.files.names().into_iter().map(str::to_owned).collect()),
        _ => connect::runtime()?.block_on(of_store(kind, &settings, start)),
    });
    found.unwrap_or_default()
}

/// The settings of the command line, as far as it is typed.
fn settings(kv: Command, words: &[String]) -> Result<Settings> {
    let before = words.split_last().map(|(_, before)| before).unwrap_or_default();
    let parsed = kv.ignore_errors(true).try_get_matches_from(before);
    let arguments = parsed.and_then(|matches| StoreArguments::from_arg_matches(&matches));
    Settings::resolve(&arguments.unwrap_or_default())
}

async fn of_store(kind: Kind, settings: &Settings, start: &str) -> Result<Vec<String>> {
    let address = connect::address(settings)?;
    if settings.daemon.value != DaemonMode::Never && !address.is_memory() {
        let target = connect::running(settings)?;
        if let Some(place) = target.place.of_living()
            && let Some(client) = Client::find(Target { place, ..target }).await?
        {
            return page(kind, &client, start).await;
        }
    }
    match address.for_reading() {
        Some(address) if settings.socket.is_none() => {
            page(kind, &LocalStore::open(&address, Clock::System), start).await
        }
        // What a server takes is not known, and a socket may belong to any store.
        _ => Ok(Vec::new()),
    }
}

async fn page(kind: Kind, store: &impl Store, start: &str) -> Result<Vec<String>> {
    let list = NameList { prefix: start.to_owned(), after: None };
    let mut names: Vec<String> = match kind {
        Kind::Key => {
            let list = List {
                selector: Selector::Prefix(start.to_owned()),
                limit: Some(limits::COMPLETION_NAMES as u64),
                keys_only: true,
                ..List::default()
            };
            store.keys(list).await?.items
        }
        Kind::Lock => store.locks(list).await?.items.into_iter().map(|lock| lock.name).collect(),
        Kind::Consumer => {
            store.consumers(list).await?.items.into_iter().map(|consumer| consumer.name).collect()
        }
        Kind::Profile => Vec::new(),
    };
    names.truncate(limits::COMPLETION_NAMES);
    Ok(names)
}
