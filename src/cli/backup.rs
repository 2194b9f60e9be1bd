//! `kv backup`

use std::path::{Path, PathBuf};

use clap::Args;
use kv::store::{Result, maintenance};

use super::arguments::usage;
use super::progress::{Completion, watched};
use super::settings::Settings;
use super::{connect, exit_code, output};

/// The argument that means stdin or stdout.
pub(super) const STREAM: &str = "-";

#[derive(Debug, Args)]
pub(super) struct Backup {
    /// Where to write; - = stdout
    file: PathBuf,
    /// Replace FILE when it exists
    #[arg(long)]
    force: bool,
}

impl Backup {
    pub(super) async fn run(self, settings: &Settings) -> Result<u8> {
        let address = connect::address_of_file(settings).await?;
        let Backup { file, force } = self;
        if file == Path::new(STREAM) {
            output::check_no_terminal()?;
            return ended(
                watched("backing up", move |watcher| {
                    let (mut copy, _) = maintenance::backup_unnamed(&address, watcher)?;
                    output::print_file(&mut copy)
                })
                .await?,
                |()| {},
            );
        }
        if file.as_os_str().is_empty() {
            return Err(usage("FILE is empty", "for example: kv backup backup.db"));
        }
        let name = file.display().to_string();
        let work = watched("backing up", move |watcher| maintenance::backup(&address, &file, force, watcher));
        ended(work.await?, |backup| {
            output::note(&format!(
                "backed up to {name}: {} bytes, up to change {}",
                backup.bytes, backup.seq
            ));
        })
    }
}

/// Reports what was done, and answers the exit code.
pub(super) fn ended<T>(ended: Completion<T>, tell: impl FnOnce(T)) -> Result<u8> {
    Ok(match ended {
        Completion::Finished(done) => {
            tell(done);
            exit_code::OK
        }
        Completion::Interrupted(code) => code,
    })
}
