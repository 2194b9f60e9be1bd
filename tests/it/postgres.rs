//! Stores on a real PostgreSQL server, and what may happen to it: sessions that are ended, servers that are killed, daemons
//! that stand still, networks that are slow.

#![allow(clippy::print_stderr, reason = "the tests report their figures")]

mod copy;
mod idle;
mod kills;
#[cfg(feature = "planted-defects")]
mod planted;
mod slow;
mod stopped;
mod stream;
mod two_daemons;

use crate::support::own_daemon::OwnDaemon;
use crate::support::under_load::follow;
