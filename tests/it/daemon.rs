//! How daemons begin, live and end, by the real binary.

mod deaths;
mod end;
mod fleet;
mod identity;
mod large_deletes;
mod launch;
mod log;
mod log_settings;
mod owners;
mod panics;
mod planning;
mod program;
mod signals;
mod start;
mod status;
pub(crate) mod users;
mod versions;
