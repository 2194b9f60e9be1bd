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
    /// Prints the script for the commands of `kv`, as the command line defines them.
    pub(super) fn run(&self, mut kv: Command) -> Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut kv, "kv", &mut script);
        output::print_bytes(&script).map(|_reader| ())
    }
}
