//! The names that only the store or a file of profiles knows.

use std::sync::mpsc::Sender;

use clap::{Command, FromArgMatches as _};
use kv::client::{Client, Target};
use kv::limits;
use kv::store::{Clock, List, LocalStore, Lock, NameList, Result, Selector, Store};

use crate::cli::arguments::{DaemonMode, StoreArguments};
use crate::cli::connect;
use crate::cli::settings::Settings;

/// What a name belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Key,
    Type,
    Lock,
    Owner,
    /// A lock with its fencing token, as `--fence` takes it.
    Fence,
    Consumer,
    Profile,
}

/// What an argument names, by the command to which it belongs and its id, and by the word that stands before it.
pub(super) fn kind_of(command: &str, argument: &str, first: Option<&str>) -> Option<Kind> {
    match (command, argument) {
        (_, "of_type") => Some(Kind::Type),
        ("get" | "count", "words") if first == Some("type") => Some(Kind::Type),
        ("rename" | "copy-key", "from" | "to") => Some(Kind::Key),
        ("lock acquire" | "lock release", "owner") => Some(Kind::Owner),
        ("lock acquire", "fence") => None,
        (_, "fence") => Some(Kind::Fence),
        (_, "profile") => Some(Kind::Profile),
        ("consumer list", "prefix") => Some(Kind::Consumer),
        ("lock list", "prefix") => Some(Kind::Lock),
        (_, "key" | "key_flag" | "prefix") => Some(Kind::Key),
        ("get" | "list" | "delete" | "count", "words") | ("get" | "list", "after") => Some(Kind::Key),
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

/// Sends the first names of a kind that begin like this, unless they cannot be learnt. Blocks the thread, also after that,
/// until the file of the store is closed.
pub(super) fn look_up(kind: Kind, kv: Command, words: &[String], start: &str, found: &Sender<Vec<String>>) {
    // Whatever fails, the shell is offered nothing.
    let _ = settings(kv, words).and_then(|settings| match kind {
        Kind::Profile => {
            send(found, settings.files.names().into_iter().map(str::to_owned).collect());
            Ok(())
        }
        _ => connect::runtime()?.block_on(of_store(kind, &settings, start, found)),
    });
}

fn send(found: &Sender<Vec<String>>, names: Vec<String>) {
    // The process ends without them when they come too late.
    let _ = found.send(names);
}

/// The settings of the command line, as far as it is typed.
fn settings(kv: Command, words: &[String]) -> Result<Settings> {
    let before = words.split_last().map(|(_, before)| before).unwrap_or_default();
    let parsed = kv.ignore_errors(true).try_get_matches_from(before);
    let arguments = parsed.and_then(|matches| StoreArguments::from_arg_matches(&matches));
    Settings::resolve(&arguments.unwrap_or_default())
}

async fn of_store(kind: Kind, settings: &Settings, start: &str, found: &Sender<Vec<String>>) -> Result<()> {
    let address = connect::address(settings)?;
    if settings.daemon.value != DaemonMode::Never {
        let target = connect::running(settings)?;
        if let Some(place) = target.place.of_living()
            && let Some(client) = Client::find(Target { place, ..target }).await?
        {
            send(found, page(kind, &client, start).await?);
            return Ok(());
        }
    }
    // How long a server takes is not known, and a socket may belong to any store.
    if address.file().is_some() && settings.socket.is_none() {
        let store = LocalStore::open(&address, Clock::System);
        let names = page(kind, &store, start).await.unwrap_or_default();
        send(found, names);
        // Otherwise SQLite's log and index would be left beside the file.
        store.close().await;
    }
    Ok(())
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
        // There is no index of types: those of the first page are offered.
        Kind::Type => {
            let records = store.page(List::default()).await?.items;
            records.into_iter().filter_map(|record| record.record_type).collect()
        }
        Kind::Lock => store.locks(list).await?.items.into_iter().map(|lock| lock.name).collect(),
        Kind::Owner => locks(store).await?.into_iter().map(|lock| lock.owner).collect(),
        Kind::Fence => {
            locks(store).await?.into_iter().map(|lock| format!("{}:{}", lock.name, lock.fence)).collect()
        }
        Kind::Consumer => {
            store.consumers(list).await?.items.into_iter().map(|consumer| consumer.name).collect()
        }
        Kind::Profile => Vec::new(),
    };
    if matches!(kind, Kind::Type | Kind::Owner) {
        names.sort_unstable();
        names.dedup();
    }
    names.retain(|name| name.starts_with(start));
    names.truncate(limits::COMPLETION_NAMES);
    Ok(names)
}

/// The first locks, whatever their names are.
async fn locks(store: &impl Store) -> Result<Vec<Lock>> {
    Ok(store.locks(NameList::default()).await?.items)
}
