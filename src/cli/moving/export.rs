//! `kv export`

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use kv::protocol::{ChangeBody, RecordBody};
use kv::store::maintenance::NewFile;
use kv::store::{Code, Error, Filter, Identity, Read, Record, Reply, Result, Selector, Store, Stream};
use serde::Serialize;

use super::lines::{ChangeLine, FORMAT, Header, Trailer};
use super::listing::Listing;
use super::work::{Counter, until_interrupted};
use crate::cli::arguments::usage;
use crate::cli::backup::{STREAM, ended};
use crate::cli::connect::OpenStore;
use crate::cli::settings::Settings;
use crate::cli::{connect, output};

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    /// Where to write; - = stdout, which is the default
    #[arg(value_hint = ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Only records whose keys start with this
    #[arg(long, value_name = "PREFIX", allow_hyphen_values = true)]
    prefix: Option<String>,
    /// Only records of this type
    #[arg(long = "of-type", value_name = "TYPE", allow_hyphen_values = true)]
    of_type: Option<String>,
    /// The changes that the stream keeps, and before them the records that are older
    #[arg(long)]
    stream: bool,
    /// Replace FILE when it exists
    #[arg(long)]
    force: bool,
}

/// What was exported.
struct Exported {
    trailer: Trailer,
    /// How many changes of the selection were committed while the records were read; none when the stream does not tell.
    meanwhile: Option<u64>,
}

impl Export {
    pub(in crate::cli) async fn run(self, settings: &Settings) -> Result<u8> {
        let file = self.file.as_deref().filter(|file| *file != Path::new(STREAM));
        if file.is_some_and(|file| file.as_os_str().is_empty()) {
            return Err(usage("FILE is empty", "for example: kv export records.ndjson"));
        }
        let store = connect::open(settings).await?;
        let outcome = until_interrupted(self.export(&store, file, settings)).await;
        store.close().await;
        ended(outcome?, |exported| exported.iter().for_each(|exported| self.tell(file, exported)))
    }

    /// Exports the store; none when the reader of stdout has closed it.
    async fn export(
        &self,
        store: &OpenStore,
        file: Option<&Path>,
        settings: &Settings,
    ) -> Result<Option<Exported>> {
        let (header, first) = header(store, settings).await?;
        let mut sink = Sink::open(file, self.force, settings)?;
        sink.add(&header)?;
        let counter = Counter::new("exporting");
        let is_wanted = |record: &Record| {
            let is_of_type = self.of_type.is_none() || record.record_type == self.of_type;
            // The changes tell of those that were written since.
            is_of_type && !(self.stream && record.revision >= first)
        };
        let mut trailer = Trailer { kv_end: FORMAT, records: 0, changes: None, seq: header.seq };
        let mut listing = Listing::selected(store, self.selector());
        while let Some(page) = listing.page().await? {
            for record in page.items.into_iter().filter(is_wanted) {
                sink.add(&RecordBody::from(record))?;
                trailer.records += 1;
            }
            trailer.seq = page.seq;
            let Some(count) = sink.flush().await? else { return Ok(None) };
            counter.add(count);
        }
        let meanwhile = if self.stream {
            let changes = trailer.changes.insert(0);
            let mut next = Some(self.changes_from(first));
            while let Some(request) = next {
                let page = store.changes(request.clone()).await?;
                next = request.after_page(&page);
                trailer.seq = page.seq;
                *changes += page.changes.len() as u64;
                for change in page.changes {
                    sink.add(&ChangeLine { change: ChangeBody::from(change) })?;
                }
                let Some(count) = sink.flush().await? else { return Ok(None) };
                counter.add(count);
            }
            Some(0)
        } else {
            self.count_changes(store, header.seq, trailer.seq).await?
        };
        sink.add(&trailer)?;
        Ok(sink.finish().await?.map(|()| Exported { trailer, meanwhile }))
    }

    fn selector(&self) -> Selector {
        match (&self.prefix, &self.of_type) {
            (Some(prefix), _) => Selector::Prefix(prefix.clone()),
            (None, Some(of_type)) => Selector::Type(of_type.clone()),
            (None, None) => Selector::All,
        }
    }

    fn changes_from(&self, seq: u64) -> Stream {
        let filter = Filter { key: None, prefix: self.prefix.clone(), record_type: self.of_type.clone() };
        Stream { seq, filter, ..Stream::default() }
    }

    /// How many changes of the selection came behind one seq, up to another; none when they were trimmed.
    async fn count_changes(&self, store: &dyn Store, after: u64, up_to: u64) -> Result<Option<u64>> {
        let mut next = (after < up_to).then(|| self.changes_from(after + 1));
        let mut count = 0;
        while let Some(request) = next.take_if(|request| request.seq <= up_to) {
            let page = match store.changes(request.clone()).await {
                Err(error) if error.code == Code::Trimmed => return Ok(None),
                page => page?,
            };
            count += page.changes.iter().filter(|change| change.seq <= up_to).count() as u64;
            next = request.after_page(&page);
        }
        Ok(Some(count))
    }

    fn tell(&self, file: Option<&Path>, exported: &Exported) {
        let Exported { trailer: Trailer { records, changes, seq, .. }, meanwhile } = exported;
        let to = file.map_or_else(String::new, |file| format!(" to {}", file.display()));
        let records = output::counted(*records, "record", "records");
        let changes = changes.map_or_else(String::new, |count| {
            format!(" and {}", output::counted(count, "change", "changes"))
        });
        output::note(&format!("exported{to}: {records}{changes}, up to change {seq}"));
        let committed = match meanwhile {
            Some(0) => return,
            Some(count) => output::counted(*count, "change was", "changes were"),
            None => "changes that are trimmed by now were".to_owned(),
        };
        output::note(&format!("{committed} committed meanwhile: each record is as its page was read"));
    }
}

/// The first line of an export, and the first seq that the stream keeps.
async fn header(store: &OpenStore, settings: &Settings) -> Result<(Header, u64)> {
    let Reply::Head { seq, first } = store.call(Read::StreamSeq.into()).await? else {
        return Err(Error::new(Code::Internal, "the store did not tell the head of its stream"));
    };
    let Reply::Identity(Identity { store_id, epoch, .. }) = store.call(Read::Identity.into()).await? else {
        return Err(Error::new(Code::Internal, "the store did not tell its id"));
    };
    let engine = store.engine(settings)?;
    Ok((Header { kv_export: FORMAT, engine, store_id, epoch, seq }, first))
}

/// Where the lines go.
struct Sink {
    /// None = stdout.
    file: Option<NewFile>,
    /// The lines that were not written yet.
    lines: Vec<u8>,
    count: usize,
}

impl Sink {
    fn open(file: Option<&Path>, replace: bool, settings: &Settings) -> Result<Sink> {
        let address = connect::address(settings)?;
        let file = file.map(|file| NewFile::create(file, replace, address.file())).transpose()?;
        Ok(Sink { file, lines: Vec::new(), count: 0 })
    }

    fn add(&mut self, line: &impl Serialize) -> Result<()> {
        serde_json::to_writer(&mut self.lines, line)
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        self.lines.push(b'\n');
        self.count += 1;
        Ok(())
    }

    /// Writes the lines that were added, and answers how many; none when nobody reads them any more. What was read then has no
    /// last line, by which an import knows that it is cut.
    async fn flush(&mut self) -> Result<Option<usize>> {
        match &mut self.file {
            Some(file) => {
                file.write(&self.lines)?;
                self.lines.clear();
            }
            None if output::print_aside(std::mem::take(&mut self.lines)).await?.is_break() => {
                return Ok(None);
            }
            None => {}
        }
        Ok(Some(std::mem::take(&mut self.count)))
    }

    async fn finish(mut self) -> Result<Option<()>> {
        if self.flush().await?.is_none() {
            return Ok(None);
        }
        self.file.map_or(Ok(()), NewFile::publish).map(Some)
    }
}
