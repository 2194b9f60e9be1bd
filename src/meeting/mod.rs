//! Where a client and a daemon meet: what both have to agree on before one can connect to the other.
//!
//! Neither owns it, and neither depends on the other: `client` and `daemon` know this module, and it knows neither of
//! them.
//!
//! - [`place`]: the directory, the socket and the lock files of a daemon, and which users may use them
//! - `lock_file`: the locks that say who is alive, on files that are never unlinked
//! - `presence`: whether a daemon lives at a place, and whether anything listens at a socket
//! - [`store_holder`]: which daemon has the lock beside a database file
//! - `location`: whether two paths lead to the same store
//! - [`handover`]: what a client tells the daemon that it starts, and what that daemon answers
//! - [`discovery`]: all daemons of this user

pub mod discovery;
pub mod handover;
pub(crate) mod location;
pub(crate) mod lock_file;
pub mod place;
pub(crate) mod presence;
pub mod store_holder;
