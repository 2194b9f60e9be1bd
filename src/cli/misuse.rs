//! Usage errors: what clap says, with tips that work, and with nothing in it that controls a terminal.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command, FromArgMatches as _};
use kv::limits;

use super::arguments::StoreArguments;
use super::settings::Settings;
use super::{exit_code, output};

/// Prints what clap says instead of a parsed command line, and answers the exit code. Help and the version are data, which
/// is what clap knows them for.
pub(super) fn print(mut error: Error, mut kv: Command) -> u8 {
    kv.build();
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if error.use_stderr() {
        advise(&mut error, &kv, &words);
        escape(&mut error);
    }
    use_color(kv);
    let _ = output::print_styled(&error.render(), error.use_stderr());
    u8::try_from(error.exit_code()).unwrap_or(exit_code::USAGE)
}

/// Colours what is printed as the settings of the unfinished command line say.
fn use_color(kv: Command) {
    let parsed = kv.ignore_errors(true).try_get_matches_from(std::env::args_os());
    let arguments = parsed.and_then(|matches| StoreArguments::from_arg_matches(&matches));
    if let Ok(settings) = Settings::resolve(&arguments.unwrap_or_default()) {
        output::use_color(settings.color.value);
    }
}

/// Escapes the words of the user.
fn escape(error: &mut Error) {
    let own: Vec<(ContextKind, ContextValue)> =
        error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in own {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(output::escaped(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| output::escaped(text)).collect())
            }
            _ => continue,
        };
        error.insert(kind, value);
    }
}

/// Adds what the user may have meant, and replaces tips of clap that would not work.
fn advise(error: &mut Error, kv: &Command, words: &[String]) {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    let tip = match error.kind() {
        ErrorKind::InvalidSubcommand if error.get(ContextKind::SuggestedSubcommand).is_none() => {
            text(ContextKind::InvalidSubcommand).and_then(|word| similar_command(kv, words, &word))
        }
        ErrorKind::UnknownArgument => {
            let unknown = text(ContextKind::InvalidArg).unwrap_or_default();
            let suggested = text(ContextKind::SuggestedArg);
            let own = unknown_tip(kv, words, &unknown, suggested.as_deref());
            error.remove(ContextKind::Suggested);
            if own.is_some() || !suggested.is_some_and(|option| is_similar(&option, &unknown)) {
                // An option whose letters are others means something else, and the usage would show it.
                error.remove(ContextKind::SuggestedArg);
                let usage = addressed(kv, words).clone().render_usage();
                error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
            }
            own
        }
        ErrorKind::InvalidValue if error.get(ContextKind::SuggestedValue).is_none() => {
            let is_engine = text(ContextKind::InvalidArg).is_some_and(|option| option.starts_with("--type "));
            text(ContextKind::InvalidValue).filter(|_| is_engine).map(|value| {
                format!(
                    "--type names the engine; the type of a record is --of-type {}",
                    output::escaped(&value)
                )
            })
        }
        _ => None,
    };
    if let Some(tip) = tip {
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(tip)]));
    }
}

/// The tip for an unknown command whose letters are those of another one, or nearly.
fn similar_command(kv: &Command, words: &[String], unknown: &str) -> Option<String> {
    let mut command = kv;
    for word in words.iter().take_while(|word| *word != unknown) {
        command = command.find_subcommand(word).unwrap_or(command);
    }
    let names = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set())
        .flat_map(|command| std::iter::once(command.get_name()).chain(command.get_visible_aliases()));
    let (distance, name) = names.map(|name| (strsim::damerau_levenshtein(name, unknown), name)).min()?;
    (distance <= limits::SIMILAR_EDITS).then(|| format!("a similar subcommand exists: '{name}'"))
}

/// Whether two words have the same letters, or nearly.
fn is_similar(one: &str, other: &str) -> bool {
    strsim::damerau_levenshtein(one, other) <= limits::SIMILAR_EDITS
}

/// The tip for an option that a command does not have, or for a word too many; none when that of clap is right, or nobody
/// can tell what is meant.
fn unknown_tip(kv: &Command, words: &[String], unknown: &str, suggested: Option<&str>) -> Option<String> {
    let command = addressed(kv, words);
    let form = match (command.get_name(), unknown) {
        ("list", "--prefix") => Some("kv list PREFIX".to_owned()),
        (name @ ("get" | "delete" | "count"), "--prefix") => Some(format!("kv {name} prefix PREFIX")),
        (name @ ("get" | "delete" | "count"), "--range") => Some(format!("kv {name} range FROM TO")),
        (name @ ("get" | "count"), "--of-type") => Some(format!("kv {name} type TYPE")),
        ("watch", word) if !word.starts_with('-') => Some("kv watch --prefix PREFIX".to_owned()),
        ("history", word) if word == "--prefix" || !word.starts_with('-') => {
            Some("kv stream get --prefix PREFIX".to_owned())
        }
        _ => None,
    };
    if let Some(form) = form {
        return Some(format!("there is '{form}'"));
    }
    let position = words.iter().position(|word| word.starts_with(unknown));
    if position.is_some_and(|position| words[..position].iter().any(|word| word == "--")) {
        return Some("options stand in front of '--'".to_owned());
    }
    let is_known = suggested.is_some_and(|option| is_similar(option, unknown));
    let has_program = command.get_positionals().any(Arg::is_last_set);
    if is_known || has_program || !unknown.starts_with('-') {
        return None;
    }
    dash_tip(kv, words, unknown)
}

/// The tip for a word that begins with a hyphen and is not an option.
fn dash_tip(kv: &Command, words: &[String], unknown: &str) -> Option<String> {
    let position = words.iter().position(|word| word.starts_with(unknown))?;
    let (before, word) = (&words[..position], output::escaped(&words[position]));
    if let Some(option) = before.last().filter(|option| is_with_value(kv, before, option)) {
        return Some(format!("to pass '{word}' as a value, use '{option}={word}'"));
    }
    Some(format!("to pass '{word}' as a value, use '-- {word}', behind all options"))
}

/// The command that these words name.
fn addressed<'kv>(kv: &'kv Command, words: &[String]) -> &'kv Command {
    words.iter().fold(kv, |command, word| command.find_subcommand(word).unwrap_or(command))
}

/// Whether a word is an option of the command that has a value.
fn is_with_value(kv: &Command, words: &[String], option: &str) -> bool {
    let Some(name) = option.strip_prefix("--") else { return false };
    let command = addressed(kv, words);
    let is_it = |argument: &&Arg| argument.get_long() == Some(name) && argument.get_action().takes_values();
    command.get_arguments().find(is_it).is_some()
}
