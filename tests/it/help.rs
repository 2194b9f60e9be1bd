//! What the program tells about itself: help, manual pages and completions.

mod completion;
mod examples;
mod manual;
mod shape;

use crate::support::Kv;

/// Every command and subcommand, as it is written behind `kv`; the first one is empty. The manual pages tell them, which
/// clap's own definition of the command line makes.
fn commands(kv: &Kv) -> Vec<String> {
    kv.ok("mkdir -p manual && kv manual manual");
    // `\fBkv copy\-key\fR [OPTIONS] <FROM> <TO>`
    let synopses = kv.ok("grep -h -A1 '^.SH SYNOPSIS' manual/*.1 | grep '^.fBkv'");
    let command =
        |line: &str| line.split("\\fR").next().unwrap().trim_start_matches("\\fBkv").replace("\\-", "-");
    let commands: Vec<String> = synopses.lines().map(|line| command(line).trim().to_owned()).collect();
    assert!(commands.len() > 45, "{commands:?}");
    commands
}

/// The lines below a heading, up to the next empty line.
fn section<'a>(help: &'a str, heading: &str) -> Vec<&'a str> {
    let below = help.lines().skip_while(|line| *line != heading).skip(1);
    below.take_while(|line| !line.is_empty()).map(str::trim).collect()
}
