//! What stands at the end of a command line: a command, an option, or the value of one.

use clap::{Arg, ArgAction, Command, ValueHint};

use super::names::{self, Kind};

/// What has to be looked up besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Nothing,
    Names(Kind),
}

/// What a word can become.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    /// What stands before the value in the same word: `--option=`.
    pub(super) prefix: String,
    /// What was typed of the value.
    pub(super) start: String,
    /// Words with their descriptions.
    words: Vec<(String, String)>,
    /// Whether the shell is to complete the path of a file.
    is_file: bool,
}

impl Candidates {
    fn add(&mut self, word: &str, description: String) {
        if word.starts_with(&self.start) {
            let description = description.lines().next().unwrap_or_default().to_owned();
            self.words.push((word.to_owned(), description));
        }
    }

    /// Adds names of the store. A shell could not tell those with control characters in one line; one that begins with a
    /// hyphen would be taken for an option; and the words of a command come before keys of the same name.
    pub(super) fn add_names(&mut self, names: Vec<String>) {
        for name in names {
            let is_option = name.starts_with('-') && self.prefix.is_empty();
            let is_word = self.words.iter().any(|(word, _)| *word == name);
            if !name.is_empty() && !is_option && !is_word && !name.contains(char::is_control) {
                self.add(&name, String::new());
            }
        }
    }

    /// The lines for a shell, each word as `form` writes it, or not at all.
    pub(super) fn lines(&self, form: impl Fn(&str, &str) -> Option<String>) -> Vec<String> {
        let kind = match self.words.iter().any(|(_, description)| !description.is_empty()) {
            _ if self.is_file => "files",
            true => "words",
            false => "names",
        };
        let words = self.words.iter().filter_map(|(word, description)| form(word, description));
        std::iter::once(kind.to_owned()).chain(words).collect()
    }
}

/// Where the last word stands.
struct Position<'a> {
    command: &'a Command,
    /// The command, as it is written behind `kv`.
    path: String,
    /// How many arguments that are neither options nor commands stand before.
    arguments: usize,
    /// The first of these.
    first: Option<String>,
    /// The option whose value it is.
    option: Option<&'a Arg>,
    /// Whether a `--` stands before: nothing is an option any more.
    is_behind_dashes: bool,
}

/// What the last of these words can become; the first one is the program.
pub(super) fn complete(kv: &Command, words: &[String]) -> Option<(Wanted, Candidates)> {
    let (last, before) = words.get(1..)?.split_last()?;
    let position = Position::behind(kv, before);
    let mut candidates = Candidates { start: last.clone(), ..Candidates::default() };
    if let Some(option) = position.option {
        return Some((position.value(option, &mut candidates), candidates));
    }
    if position.is_behind_dashes {
        candidates.is_file = true;
        return Some((Wanted::Nothing, candidates));
    }
    if let Some((name, value)) = last.strip_prefix("--").and_then(|option| option.split_once('=')) {
        let option = position.long(name)?;
        candidates.prefix = format!("--{name}=");
        candidates.start = value.to_owned();
        return Some((position.value(option, &mut candidates), candidates));
    }
    if last.starts_with('-') {
        position.options(&mut candidates);
        return Some((Wanted::Nothing, candidates));
    }
    if position.arguments == 0 {
        for command in position.command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            // Who has typed nothing is not shown a command twice.
            let aliases = command.get_visible_aliases().filter(|_| !candidates.start.is_empty());
            for name in std::iter::once(command.get_name()).chain(aliases.collect::<Vec<_>>()) {
                candidates.add(name, about.clone());
            }
        }
    }
    let wanted = match position.argument() {
        Some(argument) => position.value(argument, &mut candidates),
        None => Wanted::Nothing,
    };
    Some((wanted, candidates))
}

impl<'a> Position<'a> {
    /// The position behind these words.
    fn behind(kv: &'a Command, words: &[String]) -> Position<'a> {
        let mut position = Position {
            command: kv,
            path: String::new(),
            arguments: 0,
            first: None,
            option: None,
            is_behind_dashes: false,
        };
        for word in words {
            if position.option.take().is_some() {
                continue;
            }
            match word.strip_prefix("--") {
                _ if position.is_behind_dashes => {}
                Some("") => position.is_behind_dashes = true,
                Some(name) => position.option = position.long(name).filter(|option| takes_next_word(option)),
                None => position.step(word),
            }
        }
        position
    }

    /// Goes on behind a word that is not a long option.
    fn step(&mut self, word: &str) {
        let short = word.strip_prefix('-').and_then(|letters| {
            let last = letters.chars().last()?;
            self.command.get_arguments().find(|option| option.get_short() == Some(last))
        });
        if short.is_some() {
            self.option = short.filter(|option| takes_next_word(option));
        } else if let Some(command) = self.command.find_subcommand(word).filter(|_| self.arguments == 0) {
            self.command = command;
            // An alias is the same command.
            self.path = format!("{} {}", self.path, command.get_name()).trim_start().to_owned();
        } else {
            self.first.get_or_insert_with(|| word.to_owned());
            self.arguments += 1;
        }
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.command.get_arguments().find(|option| option.get_long() == Some(name))
    }

    /// The argument that stands here; the last one may be several.
    fn argument(&self) -> Option<&'a Arg> {
        let arguments: Vec<&Arg> =
            self.command.get_positionals().filter(|argument| !argument.is_last_set()).collect();
        let several = |argument: &&&Arg| matches!(argument.get_action(), ArgAction::Append);
        arguments.get(self.arguments).or(arguments.last().filter(several)).copied()
    }

    /// Adds the options of the command.
    fn options(&self, candidates: &mut Candidates) {
        for option in self.command.get_arguments().filter(|option| !option.is_hide_set()) {
            let help = option.get_help().map(ToString::to_string).unwrap_or_default();
            if let Some(name) = option.get_long() {
                candidates.add(&format!("--{name}"), help);
            }
        }
    }

    /// Adds the values of an option or argument that are known, and answers what has to be looked up besides.
    fn value(&self, argument: &Arg, candidates: &mut Candidates) -> Wanted {
        for value in argument.get_possible_values().iter().filter(|value| !value.is_hide_set()) {
            let help = value.get_help().map(ToString::to_string).unwrap_or_default();
            candidates.add(value.get_name(), help);
        }
        let hint = argument.get_value_hint();
        candidates.is_file = matches!(hint, ValueHint::AnyPath | ValueHint::FilePath | ValueHint::DirPath);
        let selected = self.first.as_deref().filter(|_| argument.is_positional());
        let kind = names::kind_of(&self.path, argument.get_id().as_str(), selected);
        if argument.is_positional() && self.arguments == 0 {
            names::words_of(&self.path).iter().for_each(|word| candidates.add(word, String::new()));
        }
        kind.map_or(Wanted::Nothing, Wanted::Names)
    }
}

fn takes_next_word(option: &Arg) -> bool {
    option.get_action().takes_values() && !option.is_require_equals_set()
}
