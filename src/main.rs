//! The program: everything is in [`cli`].

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    kv::daemon::end_process_on_panic();
    ExitCode::from(cli::run())
}
