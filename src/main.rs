//! The program: everything is in [`cli`].

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

/// Gives the memory of a load back after it, which the allocator of glibc keeps.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    kv::daemon::end_process_on_panic();
    ExitCode::from(cli::run())
}
