//! The source package for cargo.

use super::{command, is_skipped, output, tree};

/// `scripts/package crate` installs it from its own files, as `cargo install` does for users.
#[test]
fn the_crate_installs_from_its_own_files() {
    if is_skipped("the_crate_installs_from_its_own_files") {
        return;
    }
    let mut package = command("scripts/package");
    let crate_file = output(package.args(["crate", "--allow-dirty"]));
    assert!(crate_file.ends_with(concat!("/kv-", env!("CARGO_PKG_VERSION"), ".crate\n")), "{crate_file}");

    let directory = tree().join("target/package/crate");
    let files = directory.join("sources");
    for file in
        ["LICENSE", "README.md", "CHANGELOG.md", "Cargo.lock", "docs/protocol.md", "systemd/kv.service"]
    {
        assert!(files.join(file).exists(), "{file} is missing");
    }
    for file in ["tests", "benches", "fuzz", ".ci", "scripts"] {
        assert!(!files.join(file).exists(), "{file} is in the crate");
    }
    let installed = directory.join("installed/bin/kv");
    let version = output(std::process::Command::new(installed).arg("--version"));
    assert_eq!(version.trim_end(), concat!("kv ", env!("CARGO_PKG_VERSION")));
}
