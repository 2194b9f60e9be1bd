//! What users of PostgreSQL expect, by the real binary on a real server.

mod connection;
mod documents;
mod refusals;
mod secrets;
mod support;
