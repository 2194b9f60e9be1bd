//! kv: a key-value store on SQLite, with a daemon that shares it and pushes its changes.

#![forbid(unsafe_code)]

pub mod limits;
pub mod store;
