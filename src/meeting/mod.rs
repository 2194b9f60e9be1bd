//! Where a client and a daemon meet: what both have to agree on before one can connect to the other.
//!
//! `client` and `daemon` depend on this module and not on each other, and it depends on neither of them.
//!
//! - [`place`]: the directory, the socket and the lock files of a daemon, and which users may use them
//! - `lock_file`: locks that a process holds for as long as it lives, on files that are never unlinked
//! - `presence`: whether a daemon lives at a place, and whether anything listens at a socket
//! - [`store_holder`]: which daemon has the lock beside a database file
//! - `location`: whether two paths lead to the same store
//! - [`handover`]: what a client tells the daemon that it starts, and what that daemon answers
//! - [`discovery`]: all daemons of this user

#![deny(clippy::missing_errors_doc)]

pub mod discovery;
pub mod handover;
pub(crate) mod location;
pub(crate) mod lock_file;
pub mod place;
pub(crate) mod presence;
pub mod store_holder;
