//! What `-h`, `--help` and `kv help` print: the same parts in the same order for every command.
//!
//! clap renders the sentence, the usage and the arguments. Examples, exit codes and the global options follow as the text
//! behind them, where clap would mix the global options with those of the command. The words are in [`pages`].

mod pages;

use std::ffi::OsString;

use clap::{Args as _, Command};
use kv::limits;

pub(super) use self::pages::{Page, page};
use super::arguments::StoreArguments;
use super::settings::Options;

/// The option `--key`, which says the same as an argument.
const SECOND_SPELLING: &str = "key_flag";

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `-h`, and a command that is not complete: what one screen holds.
    Short,
    /// `--help` and `kv help`: everything.
    Long,
}

/// Sections of the list of all commands: the heading, and the first command below it.
const SECTIONS: [(&str, &str); 5] = [
    ("Records", "init"),
    ("Changes and locks", "stream"),
    ("Maintenance", "backup"),
    ("Daemon", "daemon"),
    ("Settings", "config"),
];

impl Form {
    /// The form that these arguments ask for. What stands behind `--` is for another program.
    pub(super) fn asked_for(arguments: impl Iterator<Item = OsString>) -> Form {
        if arguments.take_while(|word| word != "--").any(|word| word == "-h") {
            Form::Short
        } else {
            Form::Long
        }
    }
}

/// Adds to a command line what its help shows besides.
pub(super) fn explained(kv: Command, form: Form) -> Command {
    let kv = with_values_in_line(kv.max_term_width(limits::HELP_COLUMNS));
    let kv = if form == Form::Short { without_second_spellings(kv) } else { kv };
    let globals = global_options(&kv);
    let kv = without_globals(kv);
    let template = template_with_sections(&kv);
    with_pages(kv, "", form, &globals).help_template(template)
}

/// Hides the global options, in a command and in those below it.
pub(super) fn without_globals(kv: Command) -> Command {
    kv.mut_args(|option| if option.is_global_set() { option.hide(true) } else { option })
}

/// Puts the values that an option can have behind its help. Where they are explained, clap gives each a line of its own, and
/// a blank line to each option.
pub(super) fn with_values_in_line(command: Command) -> Command {
    let command = command.mut_args(|option| {
        let values = option.get_possible_values();
        let names: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        if names.is_empty() || !option.get_action().takes_values() {
            return option;
        }
        let help = option.get_help().map(ToString::to_string).unwrap_or_default();
        option.help(format!("{help} [possible values: {}]", names.join(", "))).hide_possible_values(true)
    });
    command.mut_subcommands(with_values_in_line)
}

/// Leaves out what says the same as an argument.
fn without_second_spellings(command: Command) -> Command {
    let command = command
        .mut_args(|option| if option.get_id() == SECOND_SPELLING { option.hide(true) } else { option });
    command.mut_subcommands(without_second_spellings)
}

/// Adds the pages of a command, which is written behind `kv` as `path`, and of those below it.
fn with_pages(command: Command, path: &str, form: Form, globals: &str) -> Command {
    let text = match page(path) {
        Some(page) => behind(&command, page, form, globals),
        None => format!("{}\n{globals}", heading(&command, "Global options:")),
    };
    command.after_help(text).mut_subcommands(|below| {
        let path = format!("{path} {}", below.get_name());
        with_pages(below, path.trim_start(), form, globals)
    })
}

/// The text behind the arguments of a command.
fn behind(command: &Command, page: &Page, form: Form, globals: &str) -> String {
    let is_long = form == Form::Long;
    let mut parts: Vec<String> = Vec::new();
    if is_long {
        parts.extend(page.notes.iter().map(|&note| note.to_owned()));
    }
    let examples: Vec<String> = page.examples.iter().map(|example| format!("  {example}")).collect();
    parts.push(format!("{}\n{}", heading(command, "Examples:"), examples.join("\n")));
    let width = page.exit_codes.iter().map(|(code, _)| code.to_string().len()).max().unwrap_or(0);
    let codes: Vec<String> =
        page.exit_codes.iter().map(|(code, meaning)| format!("  {code:<width$}  {meaning}")).collect();
    if !codes.is_empty() && (is_long || page.command.is_empty()) {
        parts.push(format!("{}\n{}", heading(command, "Exit codes:"), codes.join("\n")));
    }
    let globals_heading = heading(command, "Global options:");
    parts.push(match form {
        Form::Long => format!("{globals_heading}\n{globals}"),
        Form::Short => format!("{globals_heading} kv {}", format!("{} --help", page.command).trim_start()),
    });
    parts.join("\n\n")
}

fn heading(command: &Command, text: &str) -> String {
    let style = command.get_styles().get_header();
    format!("{style}{text}{style:#}")
}

/// The global options as clap prints them, at the width of the terminal. Their variables are named.
fn global_options(kv: &Command) -> String {
    let command = StoreArguments::augment_args(Command::new("kv"))
        .disable_help_flag(true)
        .max_term_width(limits::HELP_COLUMNS)
        .styles(kv.get_styles().clone())
        .help_template("{options}")
        .mut_args(|option| match (option.get_long(), option.get_help()) {
            (Some(name), Some(help)) => {
                let help = format!("{help} [env: {}]", Options::variable_of(name));
                option.help(help)
            }
            _ => option,
        });
    rendered(command)
}

/// The form of the first page: the commands below the headings of their sections.
fn template_with_sections(kv: &Command) -> String {
    let style = kv.get_styles().get_literal();
    let mut commands = rendered(kv.clone().help_template("{subcommands}"));
    commands.insert(0, '\n');
    for (section, first) in SECTIONS {
        let line = format!("\n  {style}{first}{style:#}");
        commands = commands.replacen(&line, &format!("\n\n{}{line}", heading(kv, &format!("{section}:"))), 1);
    }
    let options = heading(kv, "Options:");
    format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n\n{options}\n{{options}}{{after-help}}",
        commands.trim()
    )
}

fn rendered(mut command: Command) -> String {
    command.render_help().ansi().to_string().trim_end().to_owned()
}
