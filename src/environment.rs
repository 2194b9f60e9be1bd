//! Variables of the environment: one that is empty counts as one that is not set.
//!
//! `VARIABLE= command` is how shells, unit files and CI systems take a variable away.

use std::ffi::OsString;

/// The value of a variable, unless it is empty.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
