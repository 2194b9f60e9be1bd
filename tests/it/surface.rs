//! The public surface of the library, beside the one that was accepted: what a program may rely on changes only on purpose.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::skipped;

const ACCEPTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/public-api.txt");
const ACCEPT: &str = "KV_ACCEPT_PUBLIC_API=1 cargo test --locked --test it surface::";

#[test]
fn the_public_surface_is_the_one_that_was_accepted() {
    // The JSON of rustdoc has another format in each version, of which public-api reads one.
    let version = env!("CARGO_PKG_RUST_VERSION");
    let rustdoc = Path::new(env!("CARGO")).with_file_name("rustdoc");
    let found = output(Command::new(&rustdoc).arg("--version"));
    if !found.starts_with(&format!("rustdoc {version}.")) {
        let why =
            format!("it is compared by Rust {version}, the rust-version of Cargo.toml, and this is {found}");
        return skipped(&format!("the_public_surface_is_the_one_that_was_accepted: {}", why.trim_end()));
    }
    let surface = public_api::Builder::from_rustdoc_json(rustdoc_json(&rustdoc))
        // What the compiler adds by itself; that of the types of a program says more than that of ours.
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()
        .unwrap()
        .to_string();
    if std::env::var_os("KV_ACCEPT_PUBLIC_API").is_some() {
        std::fs::write(ACCEPTED, &surface).unwrap();
    }
    let accepted = std::fs::read_to_string(ACCEPTED).unwrap();
    let lines = |text: &'static str| text.lines().collect::<BTreeSet<&str>>();
    let (accepted, surface) = (lines(accepted.leak()), lines(surface.leak()));
    let gone = accepted.difference(&surface).map(|line| format!("-{line}\n"));
    let new = surface.difference(&accepted).map(|line| format!("+{line}\n"));
    let difference: String = gone.chain(new).collect();
    assert!(
        difference.is_empty(),
        "the public surface has changed:\n{difference}\
         If that is meant, say so in CHANGELOG.md and accept it: {ACCEPT}"
    );
}

/// The items of the library that its documentation shows, as rustdoc writes them for programs.
///
/// Rustdoc alone is told that its unstable options are wanted. Were cargo told, then build scripts would be too, and everything
/// would be built anew. A test may run cargo: it has left the target directory by the time the tests run.
fn rustdoc_json(rustdoc: &Path) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let directory = target.join("public-api");
    std::fs::create_dir_all(&directory).unwrap();
    let unstable = directory.join("rustdoc");
    std::fs::write(&unstable, format!("#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec '{}' \"$@\"\n", rustdoc.display()))
        .unwrap();
    std::fs::set_permissions(&unstable, std::fs::Permissions::from_mode(0o755)).unwrap();
    output(
        Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["rustdoc", "--lib", "--locked", "--target-dir"])
            .arg(target)
            .args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"])
            .env("RUSTDOC", unstable),
    );
    target.join("doc/kv.json")
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
