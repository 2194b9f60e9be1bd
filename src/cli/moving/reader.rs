//! Reads the lines of a file or of stdin, and makes batches of them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use kv::limits;
use kv::store::{Change, Code, Delete, Error, Import, Mutation, OnConflict, Result};
use tokio::sync::mpsc;

use super::batch::Batch;
use super::lines::{Line, Trailer};
use crate::cli::arguments::usage;
use crate::cli::backup::STREAM;
use crate::cli::output;

/// What to do about an export that is not complete.
const CUT_HINT: &str = "what is there was imported; export the store again, and import that for the rest";

/// What an import takes of its lines, and as what.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// Only keys that begin with this.
    pub(super) prefix: Option<String>,
    pub(super) on_conflict: OnConflict,
}

impl Selection {
    /// Whether a key is wanted.
    pub(super) fn covers(&self, key: &str) -> bool {
        self.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str()))
    }
}

/// Begins to read on a thread of its own, so that a terminal or a slow program on stdin keeps nobody waiting. Gives the batches
/// in order, and then the error that ended the reading, if one did.
///
/// # Errors
/// `bad_request` or `unavailable` when the file cannot be opened.
pub(super) fn batches(file: &Path, selection: Selection) -> Result<mpsc::Receiver<Result<Batch>>> {
    let input: Box<dyn Read + Send> = if file == Path::new(STREAM) {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(file).map_err(|error| unreadable(file, &error))?)
    };
    let name = if file == Path::new(STREAM) { "stdin".to_owned() } else { file.display().to_string() };
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut reader = Reader::new(name, selection, sender);
        if let Err(error) = reader.read(BufReader::with_capacity(limits::READ_BUFFER_BYTES, input)) {
            // Nobody waits for it when the import has ended.
            let _ = reader.sender.blocking_send(Err(error));
        }
    });
    Ok(receiver)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Error {
    let message = format!("{} cannot be read: {error}", file.display());
    match error.kind() {
        std::io::ErrorKind::NotFound => usage(&message, "FILE is what kv export wrote; - reads stdin"),
        _ => {
            let mut error = Error::new(Code::Unavailable, message);
            error.retry = false;
            error
        }
    }
}

struct Reader {
    name: String,
    selection: Selection,
    sender: mpsc::Sender<Result<Batch>>,
    batch: Batch,
    /// The number of the line that is being read, from 1.
    line: u64,
    /// The records and changes since the last header; none outside of an export.
    export: Option<Counted>,
}

#[derive(Default)]
struct Counted {
    records: u64,
    changes: u64,
}

impl Reader {
    fn new(name: String, selection: Selection, sender: mpsc::Sender<Result<Batch>>) -> Reader {
        Reader { name, selection, sender, batch: Batch::default(), line: 0, export: None }
    }

    /// Reads to the end, or to the first line that cannot be used: the batch that it would be in is not sent.
    fn read(&mut self, mut input: impl BufRead) -> Result<()> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let count = (&mut input)
                .take(limits::IMPORT_LINE_BYTES as u64 + 1)
                .read_until(b'\n', &mut bytes)
                .map_err(|error| {
                    Error::new(Code::Unavailable, format!("{} cannot be read: {error}", self.name))
                })?;
            if count == 0 {
                break;
            }
            self.line += 1;
            match self.take(&bytes) {
                Ok(true) => {}
                // The import has ended.
                Ok(false) => return Ok(()),
                Err(_) if self.export.is_some() && !bytes.ends_with(b"\n") => {
                    return Err(self.cut("inside"));
                }
                Err(error) => return Err(self.at_line(error)),
            }
        }
        if self.export.is_some() {
            return Err(self.cut("behind"));
        }
        self.send();
        Ok(())
    }

    /// The error of an export that ends inside of the present line, or behind it. What it has is imported.
    fn cut(&mut self, place: &str) -> Error {
        self.send();
        let (name, line) = (&self.name, self.line);
        usage(
            &format!("{name} is cut: it ends {place} line {line}, without the last line of an export"),
            CUT_HINT,
        )
    }

    /// An error of the present line.
    fn at_line(&self, mut error: Error) -> Error {
        error.message = format!("line {}: {}", self.line, error.message);
        error.code = Code::BadRequest;
        error
    }

    /// Takes a line; false when nobody wants more of them.
    fn take(&mut self, bytes: &[u8]) -> Result<bool> {
        if bytes.len() > limits::IMPORT_LINE_BYTES {
            return Err(Error::new(
                Code::TooLarge,
                format!("it has more than {} bytes", limits::IMPORT_LINE_BYTES),
            ));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Error::new(Code::BadRequest, "it is not UTF-8"))?;
        // Some programs begin a text with a byte order mark.
        let text = if self.line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.trim().is_empty() {
            return Ok(true);
        }
        match Line::parse(text)? {
            Line::Header if self.export.is_some() => Err(usage(
                "another export begins here, and the one before it has no last line",
                "that one is cut: export it again, and import each whole export",
            )),
            Line::Header => {
                self.export = Some(Counted::default());
                Ok(true)
            }
            Line::Record(import) => {
                self.export.iter_mut().for_each(|counted| counted.records += 1);
                let on_conflict = self.selection.on_conflict;
                Ok(self.add_import(import.on_conflict(on_conflict), false))
            }
            Line::Change(change) => {
                self.export.iter_mut().for_each(|counted| counted.changes += 1);
                Ok(self.add_change(change))
            }
            Line::Trailer(trailer) => self.end(&trailer).map(|()| true),
        }
    }

    fn add_change(&mut self, change: Change) -> bool {
        if change.action.removes() {
            let key = change.record.key;
            !self.selection.covers(&key) || self.add(Mutation::Delete(Delete::keys([key])), true)
        } else {
            self.add_import(Import::of(change.record).on_conflict(OnConflict::Overwrite), true)
        }
    }

    fn add_import(&mut self, import: Import, is_in_order: bool) -> bool {
        !self.selection.covers(&import.key) || self.add(Mutation::Import(import), is_in_order)
    }

    fn add(&mut self, mutation: Mutation, is_in_order: bool) -> bool {
        let goes_on = if self.batch.is_in_order != is_in_order || self.batch.is_full_for(&mutation) {
            self.send()
        } else {
            true
        };
        self.batch.is_in_order = is_in_order;
        self.batch.add(mutation, Some(self.line));
        goes_on
    }

    /// Sends what was gathered, and answers whether more is wanted.
    fn send(&mut self) -> bool {
        let batch = std::mem::take(&mut self.batch);
        batch.is_empty() || self.sender.blocking_send(Ok(batch)).is_ok()
    }

    fn end(&mut self, trailer: &Trailer) -> Result<()> {
        let Some(Counted { records, changes }) = self.export.take() else {
            return Err(usage(
                "an export ends here that has not begun",
                "its first line is missing: export it again",
            ));
        };
        let expected = (trailer.records, trailer.changes.unwrap_or(0));
        if (records, changes) == expected {
            return Ok(());
        }
        self.send();
        Err(usage(
            &format!(
                "the export should have {} and {}, and has {records} and {changes}",
                output::counted(expected.0, "record", "records"),
                output::counted(expected.1, "change", "changes"),
            ),
            CUT_HINT,
        ))
    }
}
