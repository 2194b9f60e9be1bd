//! What users of rqlite expect, by the real binary on real nodes.

mod auth;
mod documents;
mod secrets;
