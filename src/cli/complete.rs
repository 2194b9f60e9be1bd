//! `kv complete`: what the scripts of `kv completions` ask while a command line is typed.
//!
//! It must never be in the way of who types: it prints nothing on stderr, starts no daemon, creates nothing, and ends after
//! [`limits::COMPLETION_TIMEOUT`]. The reasons are in `docs/decisions/0012-help.md`.

mod bash;
mod line;
mod names;

use std::sync::mpsc;
use std::time::Instant;

use clap::{Args, Command, Subcommand};
use kv::limits;
use kv::store::Result;

use self::line::{Candidates, Wanted};
use super::output;

/// `kv complete SHELL`: prints what a word can become, one candidate a line.
///
/// The first line tells what kind they are: `words`, which have a tab and a description behind them, `names`, or `files`,
/// which the shell knows better.
#[derive(Debug, Args)]
pub(super) struct Complete {
    #[command(subcommand)]
    shell: Shell,
}

#[derive(Debug, Subcommand)]
enum Shell {
    /// For bash, whose line is split here: bash itself splits it without regard to quotes
    Bash {
        /// The command up to the cursor
        #[arg(allow_hyphen_values = true)]
        line: String,
        /// The characters that end a word for bash (COMP_WORDBREAKS)
        breaks: String,
    },
    /// For zsh, which replaces only the value of --option=VALUE
    Zsh(Words),
    /// For fish, which replaces the whole word
    Fish(Words),
}

#[derive(Debug, Args)]
struct Words {
    /// The words of the command up to the cursor, without quotes; the last one is to be completed
    #[arg(last = true)]
    words: Vec<String>,
}

impl Complete {
    /// Prints the candidates, as the command line of `kv` defines them.
    pub(super) fn run(self, kv: Command) -> Result<()> {
        let lines = self.lines(kv).unwrap_or_default();
        let text: String = lines.into_iter().map(|line| line + "\n").collect();
        output::print_bytes(text.as_bytes()).map(|_reader| ())
    }

    fn lines(self, kv: Command) -> Option<Vec<String>> {
        match self.shell {
            Shell::Bash { line, breaks } => {
                let (words, typed) = bash::split(&line)?;
                let found = candidates(kv, &words)?;
                Some(found.lines(|word, _| typed.insert(&found.prefix, word, &breaks)))
            }
            Shell::Zsh(Words { words }) => Some(candidates(kv, &words)?.lines(described)),
            Shell::Fish(Words { words }) => {
                let found = candidates(kv, &words)?;
                Some(
                    found.lines(|word, description| {
                        described(&format!("{}{word}", found.prefix), description)
                    }),
                )
            }
        }
    }
}

/// A word with its description, which bash cannot show.
fn described(word: &str, description: &str) -> Option<String> {
    Some(format!("{word}\t{description}"))
}

/// What the last of these words can become.
fn candidates(mut kv: Command, words: &[String]) -> Option<Candidates> {
    kv.build();
    let (wanted, mut candidates) = line::complete(&kv, words)?;
    if let Wanted::Names(kind) = wanted {
        let deadline = Instant::now() + limits::COMPLETION_TIMEOUT;
        let (found, finding) = mpsc::channel();
        let (words, start) = (words.to_vec(), candidates.start.clone());
        // A disk or a daemon that does not answer must not keep the shell; the thread ends with the process.
        std::thread::spawn(move || names::look_up(kind, kv, &words, &start, &found));
        let left = || deadline.saturating_duration_since(Instant::now());
        let names = finding.recv_timeout(left()).unwrap_or_default();
        // The thread closes the store.
        let _ = finding.recv_timeout(left());
        candidates.add_names(names);
    }
    Some(candidates)
}
