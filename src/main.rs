//! The program: everything is in [`cli`].

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

/// Returns memory to the system after a load; the allocator of glibc would keep it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    kv::daemon::end_process_on_panic();
    ExitCode::from(cli::run())
}
