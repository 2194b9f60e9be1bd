//! `kv completions`

use clap::{Args, Command};
use clap_complete::Shell;
use kv::store::Result;

use super::output;

/// `kv completions SHELL`: prints a script that the shell loads.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell that reads the script
    shell: Shell,
}

impl Completions {
    /// Prints the script. Those of bash, zsh and fish ask `kv complete` for every word, so they know names; the others have
    /// the commands of `kv` in them, as the command line defines them.
    pub(super) fn run(&self, mut kv: Command) -> Result<()> {
        let mut script = match self.shell {
            Shell::Bash => include_bytes!("completions/kv.bash").to_vec(),
            Shell::Zsh => include_bytes!("completions/kv.zsh").to_vec(),
            Shell::Fish => include_bytes!("completions/kv.fish").to_vec(),
            _ => Vec::new(),
        };
        if script.is_empty() {
            clap_complete::generate(self.shell, &mut kv, "kv", &mut script);
        }
        output::print_bytes(&script).map(|_reader| ())
    }
}
