//! `kv manual`, which packages are made with

use std::path::PathBuf;

use clap::{Args, Command};
use kv::store::{Code, Error, Result};

/// `kv manual DIRECTORY`: writes the manual pages.
#[derive(Debug, Args)]
pub(super) struct Manual {
    /// The directory of the pages, which exists
    directory: PathBuf,
}

impl Manual {
    /// Writes kv.1, and a page such as kv-put.1 for each command of `kv`.
    pub(super) fn run(&self, kv: Command) -> Result<()> {
        clap_mangen::generate_to(kv, &self.directory).map_err(|error| {
            let directory = self.directory.display();
            Error::new(Code::Internal, format!("the pages cannot be written to {directory}: {error}"))
        })
    }
}
