//! The program: everything is in [`cli`].

#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A panic means that a rule is broken. In a daemon, tokio would catch it and actix would let the actor die while
    // the process lives on and answers nobody; so the process ends, in every build, and the next command starts a
    // fresh daemon.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
    ExitCode::from(cli::run())
}
