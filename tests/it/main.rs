//! The tests of the whole: the store's contract on each engine, the daemon, the command line.

mod cli;
mod conformance;
mod crash;
mod model;
mod protocol;
mod readme;
mod support;
mod tidy;
