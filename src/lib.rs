//! kv: a key-value store on SQLite, with a daemon that shares it.
//!
//! - [`store`]: the store in this process, and the contract [`store::Store`]
//! - [`client`]: the same contract through a daemon, which is started when none runs
//! - [`protocol`]: newline-delimited JSON, the only module that knows the wire format
//! - `daemon`, with the feature `cli`: serves one store on a Unix socket
//! - [`meeting`]: what a client and a daemon must agree on before they can connect
//! - [`environment`]: the variables that kv reads
//! - [`limits`]: every bound

#![forbid(unsafe_code)]
// Parts of the store and the protocol that only the daemon uses.
#![cfg_attr(not(feature = "cli"), allow(dead_code, unused_imports))]

/// The example of the README is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(feature = "cli")]
mod actors;
pub mod client;
#[cfg(feature = "cli")]
pub mod daemon;
pub mod environment;
pub mod limits;
pub mod meeting;
pub mod protocol;
pub mod quote;
pub mod store;

pub use client::Client;
