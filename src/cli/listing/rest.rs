//! The command that prints the rest of a listing which a limit of the user ended.

use std::path::Path;

use kv::quote::shell_word;

use super::ListingArguments;
use crate::cli::config;
use crate::cli::output;
use crate::cli::settings::Settings;

/// A command line for the same listing.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Rest {
    command: &'static str,
    options: Vec<String>,
    words: Vec<String>,
}

impl Rest {
    /// The command with its words, which are not options.
    pub(in crate::cli) fn of(command: &'static str, words: &[&str]) -> Rest {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        Rest { command, options: Vec::new(), words }
    }

    /// This command with an option, if that was given.
    pub(in crate::cli) fn option(mut self, name: &str, value: Option<&str>) -> Rest {
        self.options.extend(value.into_iter().flat_map(|value| [name.to_owned(), value.to_owned()]));
        self
    }

    /// This command with an option that has no value, if that was given.
    pub(in crate::cli) fn flag(mut self, name: &str, is_given: bool) -> Rest {
        self.options.extend(is_given.then(|| name.to_owned()));
        self
    }

    /// This command, with the options of every listing, for what follows this item.
    pub(in crate::cli) fn after(self, last: &str, listing: &ListingArguments) -> Rest {
        self.option("--after", Some(last))
            .flag("--reverse", listing.reverse)
            .flag("--keys-only", listing.keys_only)
            .flag("--null", listing.null)
    }

    /// Tells the user, who gave a limit, how to go on.
    pub(in crate::cli) fn tell(self, settings: &Settings) {
        self.tell_when("there is more", settings);
    }

    /// Tells the user when to use this command.
    pub(in crate::cli) fn tell_when(self, when: &str, settings: &Settings) {
        output::note(&format!("{when}: {}", self.spell(config::given(settings))));
    }

    /// The command as it is typed into a shell, with these global options.
    fn spell(self, globals: Vec<String>) -> String {
        let mut spelled = vec!["kv".to_owned()];
        spelled.extend(globals);
        spelled.extend(self.command.split(' ').map(str::to_owned));
        spelled.extend(self.options);
        if self.words.iter().any(|word| word.starts_with('-')) {
            spelled.push("--".to_owned());
        }
        spelled.extend(self.words);
        spelled.iter().map(|word| shell_word(Path::new(word))).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_spelled_for_a_shell() {
        let rest =
            Rest::of("get", &["prefix", "it's"]).option("--after", Some("a b")).flag("--reverse", true);
        let rest = rest.option("--output", None).flag("--keys-only", false);
        let globals = vec!["--connection".to_owned(), "other.db".to_owned()];
        assert_eq!(
            rest.spell(globals),
            r"kv --connection other.db get --after 'a b' --reverse prefix 'it'\''s'"
        );
        let rest = Rest::of("get", &["prefix", "-x"]).option("--after", Some("-x\n"));
        assert_eq!(rest.spell(Vec::new()), r"kv get --after $'-x\n' -- prefix -x");
        assert_eq!(Rest::of("get", &["prefix", ""]).spell(Vec::new()), "kv get prefix ''");
    }
}
