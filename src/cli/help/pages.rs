//! What the help and the manual say about each command besides its arguments.

mod changes;
mod daemon;
mod moving;
mod records;
mod upkeep;

/// The exit code of a command, and what it means there.
pub(in crate::cli) type ExitCode = (u8, &'static str);

/// What is said about one command.
#[derive(Debug)]
pub(in crate::cli) struct Page {
    /// The command, as it is written behind `kv`.
    pub(in crate::cli) command: &'static str,
    /// Paragraphs.
    pub(in crate::cli) notes: &'static [&'static str],
    /// Lines for a shell.
    pub(in crate::cli) examples: &'static [&'static str],
    /// Those that mean something of their own there; 0, 1, 2, 6 and 8 mean the same everywhere.
    pub(in crate::cli) exit_codes: &'static [ExitCode],
}

impl Page {
    const fn new(command: &'static str, examples: &'static [&'static str; 2]) -> Page {
        Page { command, notes: &[], examples, exit_codes: &[] }
    }

    const fn notes(self, notes: &'static [&'static str]) -> Page {
        Page { notes, ..self }
    }

    const fn exit_codes(self, exit_codes: &'static [ExitCode]) -> Page {
        Page { exit_codes, ..self }
    }
}

/// The page of `kv` itself. Its exit codes are those of every command.
pub(in crate::cli) const GENERAL: Page = Page {
    command: "",
    notes: &[
        "kv init creates a store. The first command that uses it starts its daemon, which commits the writes of many \
              commands together, pushes every change to those who follow, and ends when it is not used any more.",
        "A TIME is a number of seconds, or has units: 500ms, 10s, 1h30m, 7d or 2w. A day has 24 hours.",
    ],
    examples: &[
        "kv init",
        "kv put user/1 '{\"name\":\"Ada\"}'",
        "kv get user/1",
        "kv list --keys-only",
        "kv stream get",
        "kv delete user/1",
    ],
    exit_codes: &[
        (0, "done"),
        (1, "failure of another kind"),
        (2, "wrong usage"),
        (3, "not found"),
        (4, "another version, a patch that does not fit, or fenced"),
        (5, "locked, not the owner, the consumer is busy, or not as wanted in time"),
        (6, "no store, or the store or its daemon is unavailable"),
        (7, "changes that were trimmed, or of another epoch"),
        (8, "the outcome is unknown"),
        (130, "interrupted"),
    ],
};

/// The page of a command, which is written behind `kv` like this.
pub(in crate::cli) fn page(command: &str) -> Option<&'static Page> {
    let pages = [&[GENERAL], records::PAGES, changes::PAGES, upkeep::PAGES, moving::PAGES, daemon::PAGES];
    pages.into_iter().flatten().find(|page| page.command == command)
}
