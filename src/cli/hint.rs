//! Hints that can be run as they stand: a command in a hint is for the store that the user meant.

use std::path::Path;

use clap::{Command, CommandFactory as _};
use kv::quote::shell_word;
use kv::store::Error;

use super::settings::Settings;
use super::{Arguments, config};

/// Commands on no store, or on stores that their words name.
const WITHOUT_OPTIONS: [&str; 7] =
    ["copy", "diff", "protocol", "completions", "complete", "version", "manual"];

/// How a command of a hint begins.
const PROGRAM: &str = "kv ";

/// Hints that begin like this show forms of commands, and none to run.
const FORMS: [&str; 2] = ["for example: ", "its forms: "];

/// An error whose hint repeats, in each of its commands, the options that say which store is meant.
pub(super) fn for_store(error: Error, settings: &Settings) -> Error {
    match &error.hint {
        Some(hint) => {
            let hint = repeated(hint, settings);
            error.hint(hint)
        }
        None => error,
    }
}

/// A hint whose commands repeat the options that say which store is meant.
pub(super) fn repeated(hint: &str, settings: &Settings) -> String {
    let options = config::given_store(settings);
    if options.is_empty() || FORMS.iter().any(|form| hint.starts_with(form)) {
        return hint.to_owned();
    }
    let options: Vec<String> = options.iter().map(|word| shell_word(Path::new(word))).collect();
    with_options(hint, &options.join(" "), &Arguments::command())
}

/// A hint with these options in each of its commands. What is quoted behind the first of them is a text of the user.
fn with_options(hint: &str, options: &str, kv: &Command) -> String {
    let (mut told, mut rest) = (String::new(), hint);
    let (mut is_behind_one, mut is_quoted) = (false, false);
    while let Some(position) = rest.find(PROGRAM) {
        let (before, behind) = rest.split_at(position);
        let behind = &behind[PROGRAM.len()..];
        told.push_str(before);
        told.push_str(PROGRAM);
        is_quoted ^= is_behind_one && before.matches('\'').count() % 2 == 1;
        let is_word = before.chars().next_back().is_none_or(|character| " (\n".contains(character));
        if is_word && !is_quoted && is_on_store(behind, kv) {
            told.push_str(options);
            told.push(' ');
            is_behind_one = true;
        }
        rest = behind;
    }
    told.push_str(rest);
    told
}

/// Whether these words are those of a command on the store that the options name.
fn is_on_store(words: &str, kv: &Command) -> bool {
    let is_letter = |character: char| character.is_ascii_lowercase() || character == '-';
    let name = words.split(|character| !is_letter(character)).next().unwrap_or_default();
    kv.find_subcommand(name).is_some() && !WITHOUT_OPTIONS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_of_a_hint_gets_the_options_and_nothing_else_does() {
        for (hint, expected) in [
            ("create it with: kv init", "create it with: kv -s x init"),
            ("kv check tells more; kv restore FILE", "kv -s x check tells more; kv -s x restore FILE"),
            ("use kv where its socket is (kv socket)", "use kv where its socket is (kv -s x socket)"),
            ("kv copy copies it; /bin/kv init", "kv copy copies it; /bin/kv init"),
            ("kv put k --text 'do kv get k'; kv ls", "kv -s x put k --text 'do kv get k'; kv -s x ls"),
            ("SQLite's log: kv -s x check, kv check", "SQLite's log: kv -s x check, kv -s x check"),
            ("kv config show", "kv -s x config show"),
            ("kv", "kv"),
        ] {
            assert_eq!(with_options(hint, "-s x", &Arguments::command()), expected);
        }
    }
}
