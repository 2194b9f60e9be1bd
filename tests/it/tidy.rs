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

/// Asserts that no file below a folder contains a word, except those whose path contains one of the exceptions.
fn only_in(word: &str, directory: &str, exceptions: &[&str]) {
    for (path, text) in sources(directory) {
        let excepted = exceptions.iter().any(|exception| path.to_str().unwrap().contains(exception));
        assert!(excepted || !text.contains(word), "{word} stands in {}", path.display());
    }
}

#[test]
fn the_store_knows_nothing_of_actors_sockets_and_words() {
    for word in ["actix", "clap"] {
        only_in(word, "src/store", &[]);
    }
    // Not a socket: the type of a pipe, from which the events of files are read.
    only_in("tokio::net", "src/store", &["src/store/engine/sqlite/log_watch.rs"]);
    for word in ["actors", "cli", "client", "daemon", "meeting", "protocol"] {
        only_in(&format!("crate::{word}"), "src/store", &[]);
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
    for word in ["async", "std::fs", "rusqlite", "Clock", "super::engine", "store::engine"] {
        only_in(word, "src/store/plan", &[]);
    }
}

#[test]
fn actix_is_named_only_where_it_starts_and_in_the_actors() {
    let daemon = ["src/daemon/mod.rs", "src/daemon/dispatch.rs"];
    only_in("actix", "src", &[&daemon[..], &["src/actors/"]].concat());
    only_in("crate::actors", "src", &daemon);
    only_in("do_send", "src", &[]);
}

/// Files that hold numbers which limit nothing, or that only a test uses.
const NUMBERS_ELSEWHERE: [(&str, &str); 13] = [
    ("src/cli/moving/lines.rs", "the version of a format"),
    ("src/cli/doctor/", "bits of modes"),
    ("src/actors/mod.rs", "a sum of limits"),
    ("src/meeting/place.rs", "how much of a hash makes a name"),
    ("src/meeting/place/own.rs", "a bit of a mode"),
    ("src/protocol.rs", "the version of the protocol"),
    ("src/protocol/plain.rs", "how many digits fit every integer, and how long the fixed part of a line is"),
    ("src/store/engine/postgres/", "which column of a row is which"),
    ("src/store/engine/sql/", "which column of a row is which"),
    ("src/store/engine/sqlite/", "the format of SQLite's files, and the codes of its errors"),
    ("src/store/json_text.rs", "how much is scanned in one step"),
    ("src/store/open/sqlite.rs", "how much of a text a message holds"),
    ("src/store/plan/once", "the format of a hash"),
];

/// Files that hold a time which limits nothing, or that only a test uses.
const TIMES_ELSEWHERE: [(&str, &str); 3] = [
    ("src/store/engine/sqlite/open.rs", "a pause between two looks at the same lock"),
    ("src/store/engine/sqlite/retire.rs", "a pause between two looks at the same lock"),
    ("src/store/engine/explained.rs", "a test"),
];

/// Whether a line of code defines a constant that may be a limit, unless its value is made of other limits.
fn defines_a_number(line: &str) -> bool {
    let definition = line.trim_start().split_once("const ").filter(|(before, _)| {
        before.is_empty() || (before.starts_with("pub") && !before.contains(['=', '<', '{']))
    });
    let kind = definition.and_then(|(_, rest)| rest.split_once(": ")).map(|(_, kind)| kind);
    kind.is_some_and(|kind| ["usize ", "u64 ", "u32 "].iter().any(|number| kind.starts_with(number)))
}

/// Whether a line of code says a time in digits.
fn says_a_time(line: &str) -> bool {
    line.split("Duration::from_").skip(1).any(|call| {
        let argument = call.split_once('(').map_or("", |(_, argument)| argument);
        argument.starts_with(|character: char| character.is_ascii_digit())
    })
}

#[test]
fn what_limits_something_stands_in_one_file() {
    for (path, text) in sources("src") {
        let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap().to_owned();
        if path.starts_with("src/limits") || path.ends_with("/tests.rs") {
            continue;
        }
        let is_listed = |list: &[(&str, &str)]| list.iter().any(|(start, _)| path.starts_with(start));
        let code = text.split("#[cfg(test)]\nmod tests {\n").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            assert!(!defines_a_number(line) || is_listed(&NUMBERS_ELSEWHERE), "{path}: {line}");
            assert!(!says_a_time(line) || is_listed(&TIMES_ELSEWHERE), "{path}: {line}");
        }
    }
    assert!(defines_a_number("    pub(super) const TRIES: u32 = 8;") && defines_a_number("const A: usize ="));
    assert!(
        !defines_a_number("fn print<const COLUMNS: usize>(") && !defines_a_number("const A: &str = \"\";")
    );
    assert!(says_a_time("sleep(Duration::from_millis(5))") && !says_a_time("Duration::from_millis(left_ms)"));
}

#[test]
fn the_wire_is_spelled_only_in_the_protocol() {
    // The operations of a JSON Patch have a member of this name too.
    only_in("\"op\"", "src", &["src/protocol", "src/store/json_patch.rs", "src/protocol"]);
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
