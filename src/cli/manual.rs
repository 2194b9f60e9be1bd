//! `kv manual`

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;
use kv::store::{Code, Error, Result};
use roff::{Roff, bold, roman};

use super::arguments::usage;
use super::help::{self, Page};
use super::settings::Options;

/// The files that are named in kv(1), and what they hold.
const FILES: [(&str, &str); 7] = [
    ("data.db", "The store, unless another one is named."),
    (
        "/etc/kv/config.toml, ~/.config/kv/config.toml",
        "Profiles of the system and of the user. XDG_CONFIG_HOME moves the latter.",
    ),
    ("$XDG_RUNTIME_DIR/kv/*.sock", "The socket of the daemon of each store; kv socket prints its path."),
    (
        "$XDG_RUNTIME_DIR/kv/*.sock.log",
        "The log of a daemon that a command has started; kv daemon logs prints it.",
    ),
    ("/run/kv/*.sock", "Sockets of system services."),
    (
        "~/.config/systemd/user/kv.service, /etc/systemd/system/kv.service",
        "The service that kv daemon install writes, with kv.socket.",
    ),
    ("~/.pgpass", "Passwords for PostgreSQL."),
];

/// `kv manual DIRECTORY`: writes the manual pages.
#[derive(Debug, Args)]
pub(super) struct Manual {
    /// The directory of the pages, which exists
    directory: PathBuf,
}

impl Manual {
    /// Writes kv.1, and a page such as kv-put.1 for each command of `kv`.
    pub(super) fn run(&self, kv: Command) -> Result<()> {
        let mut kv = help::with_values_in_line(kv.disable_help_subcommand(true));
        kv.build();
        write_pages(&kv, "", &self.directory).map_err(|error| {
            let message = format!("the pages cannot be written to {}: {error}", self.directory.display());
            match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied => {
                    usage(&message, "name a directory that exists, in which you may write")
                }
                _ => Error::new(Code::Unavailable, message),
            }
        })
    }
}

/// Writes the page of a command, which is written behind `kv` as `path`, and those of the commands below it.
fn write_pages(command: &Command, path: &str, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands().filter(|command| !command.is_hide_set()) {
        let path = format!("{path} {}", below.get_name());
        write_pages(below, path.trim_start(), directory)?;
    }
    let is_whole = path.is_empty();
    let mut shown = command.clone().subcommand_help_heading("COMMANDS");
    if is_whole {
        shown = shown.override_usage("kv COMMAND [OPTIONS] [ARGUMENTS]");
    } else {
        shown = help::without_globals(shown);
        let usage = shown.render_usage().to_string();
        shown = shown.override_usage(usage.trim_start_matches("Usage: ").to_owned());
    }
    let man = Man::new(shown);
    let mut text = Vec::new();
    // Without a date: the pages of a version are the same whenever they are made. Words and paths are not cut.
    let name = man.get_filename().trim_end_matches(".1").to_uppercase();
    writeln!(text, ".TH {name} 1 \"\" \"kv {}\" \"kv\"\n.nh\n.ad l", env!("CARGO_PKG_VERSION"))?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    let page = help::page(path);
    if let Some(page) = page {
        notes(page).to_writer(&mut text)?;
    }
    man.render_options_section(&mut text)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    if let Some(page) = page {
        behind(page, is_whole).to_writer(&mut text)?;
    }
    see_also(command, path).to_writer(&mut text)?;
    fs::write(directory.join(man.get_filename()), text)
}

/// The paragraphs behind the sentence of the description.
fn notes(page: &Page) -> Roff {
    let mut roff = Roff::new();
    for note in page.notes {
        roff.control("PP", []);
        roff.text([roman(*note)]);
    }
    roff
}

/// The sections behind the options and commands.
fn behind(page: &Page, is_whole: bool) -> Roff {
    let mut roff = Roff::new();
    if is_whole {
        let variables = Options::names();
        let terms: Vec<(String, String)> = variables
            .iter()
            .map(|name| (Options::variable_of(name), format!("As --{name}, which comes before it.")))
            .collect();
        definitions(
            &mut roff,
            "ENVIRONMENT",
            terms.iter().map(|(name, text)| (name.as_str(), text.as_str())),
        );
        definitions(&mut roff, "FILES", FILES.into_iter());
    } else {
        roff.control("SH", ["GLOBAL OPTIONS"]);
        roff.text([
            roman("The options of "),
            bold("kv"),
            roman("(1) that say which store is meant, and how it is opened."),
        ]);
    }
    let codes: Vec<(String, &str)> =
        page.exit_codes.iter().map(|(code, meaning)| (code.to_string(), *meaning)).collect();
    definitions(&mut roff, "EXIT STATUS", codes.iter().map(|(code, meaning)| (code.as_str(), *meaning)));
    if !is_whole {
        if codes.is_empty() {
            roff.control("SH", ["EXIT STATUS"]);
        } else {
            roff.control("PP", []);
        }
        roff.text([roman("The codes that every command has are in "), bold("kv"), roman("(1).")]);
    }
    roff.control("SH", ["EXAMPLES"]);
    roff.control("nf", []);
    for example in page.examples {
        roff.text([roman(*example)]);
    }
    roff.control("fi", []);
    roff
}

/// A section of terms with their meanings; nothing when there is none.
fn definitions<'a>(roff: &mut Roff, heading: &str, terms: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut terms = terms.peekable();
    if terms.peek().is_some() {
        roff.control("SH", [heading]);
    }
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(term)]);
        roff.text([roman(meaning)]);
    }
}

/// The pages around a page.
fn see_also(command: &Command, path: &str) -> Roff {
    let page = |path: &str| format!("kv {path}").trim_end().replace(' ', "-");
    let mut pages: Vec<String> = Vec::new();
    if !path.is_empty() {
        pages.push(page(""));
    }
    pages.extend(path.rsplit_once(' ').map(|(above, _)| page(above)));
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    pages.extend(below.map(|below| page(format!("{path} {}", below.get_name()).trim_start())));
    let last = pages.len().saturating_sub(1);
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    for (index, page) in pages.into_iter().enumerate() {
        roff.text([bold(page), roman(if index < last { "(1)," } else { "(1)" })]);
    }
    roff
}
