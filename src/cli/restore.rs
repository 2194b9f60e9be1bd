//! `kv restore`

use std::path::{Path, PathBuf};

use clap::Args;
use kv::store::maintenance::{self, Source, Staged};
use kv::store::{Restored, Result, Store as _};

use super::backup::STREAM;
use super::progress::{Completion, watched};
use super::settings::Settings;
use super::{connect, exit_code, output};

#[derive(Debug, Args)]
pub(super) struct Restore {
    /// A backup, as kv backup makes it; - = stdin
    file: PathBuf,
}

impl Restore {
    pub(super) async fn run(self, settings: &Settings) -> Result<u8> {
        let address = connect::address_of_file(settings).await?;
        let file = self.file;
        let name = file.display().to_string();
        let work = watched("restoring", move |watcher| {
            let mut stdin = std::io::stdin().lock();
            let source =
                if file == Path::new(STREAM) { Source::Stream(&mut stdin) } else { Source::File(&file) };
            maintenance::stage(&address, source, watcher)
        });
        let staged = match work.await? {
            Completion::Finished(staged) => staged,
            Completion::Interrupted(code) => return Ok(code),
        };
        if let Some(leftover) = &staged.leftover {
            output::note(&format!("a restore was interrupted before: what it left is kept as {leftover}"));
        }
        let store = connect::open_running(settings).await?;
        let restored = put_in_place(&store, staged, &name).await;
        store.close().await;
        restored
    }
}

async fn put_in_place(store: &connect::OpenStore, staged: Staged, name: &str) -> Result<u8> {
    let records = staged.checked.records;
    let (epoch, seq, schema_before) = (staged.epoch.clone(), staged.seq, staged.schema_before);
    let claim = staged.hand_over();
    let Restored { replaced, .. } = match store.restore(&epoch).await {
        Ok(restored) => restored,
        Err(error) => {
            // When the outcome is unknown, the file may be the old store by now.
            if !error.maybe {
                claim.remove();
            }
            return Err(error);
        }
    };
    if let Some(schema) = schema_before {
        output::note(&format!("the backup had schema {schema}: it was brought up to date"));
    }
    output::note(&format!(
        "restored from {name}: {}, up to change {seq}",
        output::counted(records, "record", "records")
    ));
    if let Some(replaced) = replaced {
        output::note(&format!("the store of before is kept beside it as {replaced}"));
    }
    Ok(exit_code::OK)
}
