//! The invariants of ARCHITECTURE.md that a machine can see.

use std::path::{Path, PathBuf};

/// The source files below a folder, and the file of the module that it belongs to: `src/client` is `src/client.rs` too.
fn sources(directory: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let module = folder.with_extension("rs");
    if let Ok(text) = std::fs::read_to_string(&module) {
        found.push((module, text));
    }
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((path.clone(), std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// Asserts that a word stands in no file below a folder but those whose path contains one of the exceptions.
fn only_in(word: &str, directory: &str, exceptions: &[&str]) {
    for (path, text) in sources(directory) {
        let excepted = exceptions.iter().any(|exception| path.to_str().unwrap().contains(exception));
        assert!(excepted || !text.contains(word), "{word} stands in {}", path.display());
    }
}

#[test]
fn the_store_knows_nothing_of_actors_sockets_and_words() {
    for word in ["actix", "tokio::net", "clap", "crate::protocol", "crate::daemon", "crate::client"] {
        only_in(word, "src/store", &[]);
    }
}

/// A client and a daemon agree on what `meeting` says, and on the protocol; either can change without the other.
#[test]
fn client_and_daemon_meet_in_a_module_that_neither_owns() {
    only_in("crate::client", "src/daemon", &[]);
    only_in("crate::daemon", "src/client", &[]);
    for word in ["crate::daemon", "crate::client", "crate::actors"] {
        only_in(word, "src/meeting", &[]);
    }
}

#[test]
fn the_plan_has_no_io_no_clock_and_no_engine() {
    for word in ["async", "std::fs", "sqlx", "Clock", "super::engine", "store::engine"] {
        only_in(word, "src/store/plan", &[]);
    }
}

#[test]
fn actix_is_named_only_where_it_starts_and_in_the_actors() {
    only_in("use actix", "src", &["src/actors/", "src/daemon/mod.rs", "src/daemon/dispatch.rs"]);
    only_in("do_send", "src", &[]);
}

#[test]
fn the_wire_is_spelled_only_in_the_protocol() {
    // The operations of a JSON Patch have a member of this name too.
    only_in("\"op\"", "src", &["src/protocol", "src/store/json_patch.rs", "src/store/planning.rs"]);
}

#[test]
fn one_door_to_stdout() {
    only_in("stdout()", "src", &["src/cli/output.rs", "src/meeting/handover.rs"]);
    only_in("process::exit", "src", &[]);
}

#[test]
fn files_stay_small() {
    for directory in ["src", "tests"] {
        for (path, text) in sources(directory) {
            let lines = text.split("#[cfg(test)]\n").next().unwrap().lines().count();
            assert!(lines <= 500, "{} has {lines} lines without its tests", path.display());
        }
    }
}
