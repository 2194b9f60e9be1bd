//! The daemon as a service of systemd: its units, and how it behaves under a service manager. This machine need not run
//! systemd; its tools check the units, and a stand-in plays the manager.

mod activation;
mod group;
mod install;
mod notifications;
mod stand_in;
mod syscalls;
mod units;
