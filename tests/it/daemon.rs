//! How daemons begin, live and end, by the real binary.

mod end;
mod identity;
mod owners;
mod panics;
mod start;
mod users;
mod versions;
