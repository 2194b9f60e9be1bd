//! Runs every command that the documents show, and compares its output.

use crate::support::Kv;

/// A command that a document shows, and its output there.
#[derive(Default)]
struct Shown {
    command: String,
    expected: String,
}

impl Shown {
    /// The commands of a block.
    fn of(block: &str) -> Vec<Shown> {
        let mut shown: Vec<Shown> = Vec::new();
        for line in block.split_inclusive('\n') {
            match (line.strip_prefix("$ "), line.strip_prefix('>'), shown.last_mut()) {
                (Some(command), ..) => shown.push(Shown { command: command.to_owned(), ..Shown::default() }),
                (None, Some(more), Some(last)) if last.expected.is_empty() => {
                    last.command += more.strip_prefix(' ').unwrap_or(more);
                }
                (.., last) => last.unwrap().expected += line,
            }
        }
        shown
    }
}

/// In a `console` block a line after `$ ` is a command, those after `> ` go on with it, and the lines up to the next
/// command are its output. The commands of one document share a directory, which the document calls /home/alice. `is_run` leaves commands out.
pub(crate) fn run_document(kv: &Kv, text: &str, is_run: &dyn Fn(&str) -> bool) {
    let blocks = text.split("```console\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for block in blocks {
        for Shown { command, expected } in Shown::of(block) {
            if !is_run(&command) {
                continue;
            }
            // A test does not install: the binary under test is on the path.
            let command = command.replace("cargo install --locked --path . && ", "");
            let here = kv.directory.path().canonicalize().unwrap();
            let here = here.to_str().unwrap();
            let output = kv.shell(&format!("{{ {} }} 2>&1", command.replace("/home/alice", here)));
            let printed = String::from_utf8_lossy(&output.stdout).replace(here, "/home/alice");
            assert_eq!(printed, expected, "{command}");
            count += 1;
        }
    }
    assert!(count > 0, "the document shows no command");
}

/// What the commands say that only a file has, and why.
const ABOUT_FILES: &[(&str, &str)] = &[
    ("kv-lock", "the lock of a daemon is beside a file"),
    ("\"op\":\"compact\"", "the server gives space back by itself"),
    ("\"op\":\"restore\"", "the server's own tools restore backups"),
];

/// Runs a document whose stores are on servers of this kind: that which nobody names, and that which it calls releases.db.
pub(crate) fn run_document_on(engine: &str, store: &str, releases: &str, text: &str) {
    let kv = Kv::with(&[("KV_TYPE", engine), ("KV_CONNECTION", store), ("RELEASES", releases)]);
    let is_run = |command: &str| !ABOUT_FILES.iter().any(|(part, _)| command.contains(part));
    let left_out = text.split("\n$ ").filter(|command| !is_run(command.lines().next().unwrap())).count();
    let text = text
        .replace("--connection releases.db", "--connection \"$RELEASES\"")
        .replace("sqlite\"", &format!("{engine}\""));
    run_document(&kv, &text, &is_run);
    assert!(left_out <= ABOUT_FILES.len(), "{left_out} commands were left out");
}

/// Runs a document on a store in a file.
fn run(text: &str) {
    run_document(&Kv::new(), text, &|_| true);
}

#[test]
fn the_readme_shows_what_happens() {
    run(include_str!("../../README.md"));
}

#[test]
fn the_document_of_the_semantics_shows_what_happens() {
    run(include_str!("../../docs/semantics.md"));
}

#[test]
fn the_document_of_the_operation_shows_what_happens() {
    run(include_str!("../../docs/operation.md"));
}

#[test]
fn the_document_of_the_performance_shows_what_happens() {
    run(include_str!("../../docs/performance.md"));
}

#[test]
fn the_document_of_troubles_shows_what_happens() {
    run(include_str!("../../docs/troubleshooting.md"));
}

#[test]
fn the_protocol_document_shows_what_happens() {
    run(include_str!("../../docs/protocol.md"));
}

#[test]
fn the_document_of_the_configuration_shows_what_happens() {
    run(include_str!("../../docs/configuration.md"));
}
