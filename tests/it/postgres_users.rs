//! What users of PostgreSQL expect, by the real binary on a real server.

mod connection;
mod documents;
mod manual;
mod migration;
mod refusals;
mod secrets;
mod support;
mod tls;
