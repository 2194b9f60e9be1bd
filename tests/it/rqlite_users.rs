//! What users of rqlite expect, by the real binary on real nodes.

mod auth;
mod certificates;
mod documents;
mod manual;
mod migration;
mod proxy;
mod refusals;
mod secrets;
