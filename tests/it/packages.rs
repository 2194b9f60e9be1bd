//! The packages of kv: each is made, looked into and used.

mod debian;
mod image;
mod nix;
mod source;

use std::path::Path;
use std::process::Command;

use crate::support;

/// The tree of this crate.
fn tree() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Whether a test is left out, as where there is no Debian; then it is counted as skipped.
fn is_skipped(name: &str) -> bool {
    let skip = std::env::var_os("KV_TEST_PACKAGES").is_some_and(|wanted| wanted == "skip");
    if skip {
        support::skipped(name);
    }
    skip
}

/// A command in the tree, without what cargo tells its tests: the cargo of a package must not take it for its own.
fn command(program: &str) -> Command {
    let mut command = Command::new(tree().join(program));
    command.current_dir(tree());
    for (name, _) in std::env::vars_os() {
        let is_for_tests = name.to_str().is_some_and(|name| {
            name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_BIN_") || name == "CARGO_MANIFEST_DIR"
        });
        if is_for_tests {
            command.env_remove(name);
        }
    }
    command
}

/// What a command prints, which must succeed.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{errors}");
    String::from_utf8(output.stdout).unwrap()
}
