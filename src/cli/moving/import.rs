//! `kv import`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use kv::store::{Code, Error, OnConflict, Result, Store};

use super::ConflictMode;
use super::importer::Importer;
use super::reader::{self, Selection};
use super::work::{Counter, until_interrupted};
use crate::cli::arguments::StoreArguments;
use crate::cli::backup::STREAM;
use crate::cli::progress::Completion;
use crate::cli::settings::Settings;
use crate::cli::{connect, exit_code, input, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// What kv export wrote, or one record a line; - = stdin, which is the default
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// What happens when a key is there with another record
    #[arg(long, value_name = "MODE", default_value = "fail")]
    on_conflict: ConflictMode,
    /// Say what would happen, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Only keys that start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Take over the database of the Go original (a-h/kv): a file, a URL or a profile
    #[arg(long, value_name = "STORE", conflicts_with = "file", allow_hyphen_values = true)]
    from_go: Option<String>,
}

impl Import {
    pub(in crate::cli) async fn run(self, settings: &Settings, globals: &StoreArguments) -> Result<u8> {
        let store = connect::open(settings).await?;
        let mut importer = Importer::new(&store, self.dry_run, Counter::new("importing"));
        let outcome = until_interrupted(self.feed(&store, &mut importer, globals)).await;
        if matches!(outcome, Ok(Completion::Interrupted(_))) {
            importer.finish_soon().await;
        }
        let (tally, line) = (importer.tally(), importer.line());
        drop(importer);
        store.close().await;
        let up_to = if line > 0 { format!(" at line {line}") } else { String::new() };
        match outcome {
            Ok(Completion::Finished(())) => {
                output::note(&format!("{}{tally}", if self.dry_run { "would be: " } else { "" }));
                Ok(exit_code::OK)
            }
            Ok(Completion::Interrupted(code)) => {
                tally.tell_so_far(&format!("interrupted{up_to}"), None);
                Ok(code)
            }
            Err(error) => {
                tally.tell_so_far(&format!("ended{up_to}"), Some(&error));
                Err(error)
            }
        }
    }

    async fn feed(
        &self,
        store: &dyn Store,
        importer: &mut Importer<'_>,
        globals: &StoreArguments,
    ) -> Result<()> {
        let selection = Selection { prefix: self.prefix.clone(), on_conflict: self.on_conflict.into() };
        if let Some(original) = &self.from_go {
            return super::go::feed(original, globals, selection, importer).await;
        }
        // Whether the store is there is said before anything is read.
        let head = store.stream_seq().await?;
        let file = self.file.clone().unwrap_or_else(|| PathBuf::from(STREAM));
        if file == Path::new(STREAM) {
            input::tell_of_a_terminal("records as lines of JSON");
        }
        let mut batches = reader::batches(&file, selection)?;
        loop {
            let batch = tokio::select! {
                batch = batches.recv() => batch,
                failed = importer.settle_all() => failed.map(|never| match never {})?,
            };
            let Some(batch) = batch else { break };
            match batch {
                Ok(batch) if batch.is_in_order && head > 0 => {
                    importer.finish().await?;
                    self.check_may_repeat()?;
                    importer.push(batch).await?;
                }
                Ok(batch) => importer.push(batch).await?,
                Err(error) => {
                    importer.finish().await?;
                    return Err(error);
                }
            }
        }
        importer.finish().await
    }

    /// Refuses to repeat changes where they would change what is there.
    fn check_may_repeat(&self) -> Result<()> {
        if OnConflict::from(self.on_conflict) == OnConflict::Overwrite {
            return Ok(());
        }
        Err(Error::new(
            Code::VersionMismatch,
            "these are changes to be repeated, and the store has changes already",
        )
        .hint("repeat them in a new store; --on-conflict overwrite repeats all of them here"))
    }
}
