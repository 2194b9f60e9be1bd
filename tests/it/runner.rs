//! Commands that run a program: `lock run`, `watch` and `consumer stream`, by the real binary.

mod environment;
mod rounds;
mod signals;
mod sleepers;

use crate::support::Kv;

/// The three commands, each with its arguments before those of the program. They return the program's exit code.
const RUNNERS: [&str; 3] =
    ["kv lock run j --", "kv watch --after 0 --limit 1 --", "kv consumer stream c --limit 1 --"];

/// Runs a test with all of them at once, each with a store of its own that has one change.
fn with_each_runner(test: impl Fn(&Kv, &str) + Sync) {
    std::thread::scope(|scope| {
        for runner in RUNNERS {
            let test = &test;
            scope.spawn(move || test(&with_one_change(), runner));
        }
    });
}

/// A store with one change, for the commands that run a program for each change.
fn with_one_change() -> Kv {
    let kv = Kv::new();
    kv.ok("kv init; kv put a --value 1");
    kv
}

/// Removes a consumer, so that it begins with the first change again.
fn forget(kv: &Kv) {
    kv.ok("kv consumer delete c 2> /dev/null");
}
