//! kv: a key-value store on SQLite, with a daemon that shares it.
//!
//! - [`store`]: the store in this process, and the contract [`store::Store`]
//! - [`Client`]: the same contract through a daemon, which is started when none runs
//! - [`limits`]: every bound
//!
//! What the documentation hides is no part of the interface: the program `kv`, which is another crate of the same package, needs
//! it, and it changes without notice.
//!
//! - `client`: where a [`Client`] finds its daemon, and how it starts one
//! - `protocol`: newline-delimited JSON, the only module that knows the wire format
//! - `daemon`, with the feature `cli`: serves one store on a Unix socket
//! - `meeting`: what a client and a daemon must agree on before they can connect
//! - `environment`, `quote`, `plain_words`: the variables that kv reads, how messages quote, and what they say of JSON that cannot be
//!   read

#![forbid(unsafe_code)]
// Parts of the store and the protocol that only the daemon uses.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "cli")]
mod actors;
#[doc(hidden)]
pub mod client;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod daemon;
#[doc(hidden)]
pub mod environment;
pub mod limits;
#[doc(hidden)]
pub mod meeting;
#[doc(hidden)]
pub mod plain_words;
#[doc(hidden)]
pub mod protocol;
#[doc(hidden)]
pub mod quote;
pub mod store;

#[doc(inline)]
pub use client::Client;

/// Opens a store in this process: a path, or the connection string of a server, as [`Address::of`](store::Address::of) reads
/// it. Touches nothing before the first request. Must be called within a tokio runtime with its timers and I/O enabled.
///
/// ```
/// use kv::store::{Store, StoreExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> kv::store::Result<()> {
/// # let directory = tempfile::tempdir().unwrap();
/// # std::env::set_current_dir(&directory).unwrap();
/// let store = kv::open("data.db")?;
/// store.init().await?;
/// store.put_json("hello", "world").await?;
/// store.close().await;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`Address::of`](store::Address::of).
pub fn open(connection: &str) -> store::Result<store::LocalStore> {
    let address = store::Address::of(connection)?;
    Ok(store::LocalStore::open(&address, store::Clock::System))
}
