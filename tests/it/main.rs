//! The tests of the whole: the store's contract on each engine, the daemon, the command line.

// A test that fails by unwrap says where; clippy exempts only functions that are marked as tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backup;
mod cli;
mod clients;
mod commands;
mod conformance;
mod connection;
mod crash;
mod daemon;
mod doctor;
mod faults;
mod fuzz;
mod help;
mod library;
mod links;
mod model;
mod moving;
mod once_golden;
mod packages;
mod postgres;
mod postgres_users;
mod protocol;
mod push;
mod readme;
mod rqlite;
mod rqlite_users;
mod runner;
mod service;
mod settings;
mod support;
mod surface;
mod tidy;
