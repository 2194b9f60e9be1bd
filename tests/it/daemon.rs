//! How daemons begin, live and end, by the real binary.

mod end;
mod identity;
mod launch;
mod owners;
mod panics;
mod program;
mod start;
mod users;
mod versions;
