//! What the program tells about itself: help, manual pages and completions.

mod completion;
mod examples;
mod manual;
mod shape;

use crate::support::Kv;

/// Every command and subcommand, as it is written behind `kv`; the first one is empty. The names of the manual pages tell
/// them, which clap's own definition of the command line makes.
fn commands(kv: &Kv) -> Vec<String> {
    kv.ok("mkdir -p manual && kv manual manual");
    let names = kv.ok("ls manual");
    // Of a hyphen within a word the name of a page tells nothing.
    let command = |name: &str| {
        name.trim_end_matches(".1").trim_start_matches("kv").replace('-', " ").replace("copy key", "copy-key")
    };
    let commands: Vec<String> = names.lines().map(|name| command(name).trim().to_owned()).collect();
    assert!(commands.len() > 45, "{commands:?}");
    commands
}

/// The lines below a heading, up to the next empty line.
fn section<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let below = help.lines().skip_while(|line| *line != heading).skip(1);
    below.take_while(|line| !line.is_empty()).map(str::trim).collect()
}
