//! The stores that the words of a command name.

use std::time::Duration;

use async_trait::async_trait;
use kv::store::{Address, Grant, LockAcquire, Reply, Request, Result, Store, Subscribe, Subscription};

use crate::cli::arguments::{StoreArguments, usage};
use crate::cli::connect::{self, OpenStore};
use crate::cli::settings::Settings;
use crate::cli::{hint, output};

/// A store that a word names: a connection string, a path or a profile.
pub(super) struct Named {
    pub(super) settings: Settings,
    pub(super) address: Address,
}

impl Named {
    /// # Errors
    /// `bad_request` when the word, the profile or the global options cannot be used.
    pub(super) fn of(word: &str, globals: &StoreArguments) -> Result<Named> {
        let settings = Settings::of_store(word, globals)?;
        Ok(Named { address: connect::address(&settings)?, settings })
    }

    /// Opens the store, as every command opens one.
    pub(super) async fn open(&self) -> Result<NamedStore<'_>> {
        self.opened(connect::open(&self.settings).await)
    }

    fn opened(&self, opened: Result<OpenStore>) -> Result<NamedStore<'_>> {
        let store = opened.map_err(|error| hint::for_store(error, &self.settings))?;
        Ok(NamedStore { store, settings: &self.settings })
    }

    /// Opens the store, and creates it when it is not there.
    pub(super) async fn open_or_create(&self) -> Result<NamedStore<'_>> {
        let store = self.opened(connect::open_for_init(&self.settings).await)?;
        if store.init().await? {
            let place = self
                .address
                .file()
                .map_or_else(|| self.address.to_string(), |file| file.display().to_string());
            output::note(&format!("the store {place} was created"));
        }
        Ok(store)
    }
}

/// A store of several that a command uses: hints name the one that an error comes from.
pub(super) struct NamedStore<'s> {
    store: OpenStore,
    settings: &'s Settings,
}

impl NamedStore<'_> {
    /// As [`OpenStore::close`].
    pub(super) async fn close(self) {
        self.store.close().await;
    }
}

#[async_trait]
impl Store for NamedStore<'_> {
    async fn call(&self, request: Request) -> Result<Reply> {
        self.store.call(request).await.map_err(|error| hint::for_store(error, self.settings))
    }

    async fn subscribe(&self, subscribe: Subscribe) -> Result<Subscription> {
        self.store.subscribe(subscribe).await.map_err(|error| hint::for_store(error, self.settings))
    }

    async fn lock_acquire_within(&self, acquire: LockAcquire, wait: Duration) -> Result<Grant> {
        let granted = self.store.lock_acquire_within(acquire, wait).await;
        granted.map_err(|error| hint::for_store(error, self.settings))
    }
}

/// The two stores of a command.
///
/// # Errors
/// As [`Named::of`]; `bad_request` when both words name the same store, or a global option names one too.
pub(super) fn pair(one: &str, other: &str, globals: &StoreArguments) -> Result<(Named, Named)> {
    if let Some(option) = globals.naming_option() {
        return Err(usage(
            &format!("--{option} says which store is meant, and this command names two by itself"),
            "leave it out; a profile, or the connection string, can name certificates too",
        ));
    }
    let (one, other) = (Named::of(one, globals)?, Named::of(other, globals)?);
    // Where a file is only read, its daemon is another one, and the store is the same.
    let is_same_file = one.address.file().is_some_and(|file| other.address.file() == Some(file));
    if is_same_file || one.address.identity() == other.address.identity() {
        return Err(usage(&format!("both are the same store: {}", one.address), "name another one"));
    }
    Ok((one, other))
}
