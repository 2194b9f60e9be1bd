//! The only door to stdout: data goes there, everything else to stderr.

use std::fs::File;
use std::io::{self, IsTerminal as _, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;

use kv::limits;
use kv::store::{Code, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PIPE_BUF;
use serde::Serialize;

use super::arguments::ListFormat;

/// Prints one line of data.
pub(super) fn print_line(line: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    written(writeln!(stdout, "{line}").and_then(|()| stdout.flush()))
}

/// Prints data as it is, and answers whether stdout still has a reader.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<ControlFlow<()>> {
    let mut stdout = io::stdout().lock();
    let outcome = stdout.write_all(bytes).and_then(|()| stdout.flush());
    let is_closed = outcome.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    written(outcome)?;
    Ok(if is_closed { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
}

/// As [`print_bytes`], without blocking: a slow reader does not keep the command from handling signals.
pub(super) async fn print_aside(bytes: Vec<u8>) -> Result<ControlFlow<()>> {
    // A writable pipe takes this many bytes at once (pipe(7)). The rest is written on a thread, which costs more.
    if bytes.len() <= PIPE_BUF && stdout_is(PollFlags::OUT) {
        return print_bytes(&bytes);
    }
    let printed = tokio::task::spawn_blocking(move || print_bytes(&bytes)).await;
    printed.unwrap_or_else(|error| Err(Error::new(Code::Internal, error.to_string())))
}

/// Prints a whole file. A reader that does not take all of it is an error: it does not have the file.
pub(super) fn print_file(file: &mut File) -> Result<()> {
    let mut copied = || -> io::Result<()> {
        // Bypasses Rust's buffer, which would search for line ends.
        let mut stdout = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        file.rewind()?;
        io::copy(file, &mut stdout)?;
        match stdout.sync_all() {
            // A pipe or a device cannot be synced.
            Err(error) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            _ => Ok(()),
        }
    };
    copied().map_err(|error| {
        let code = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Code::StoreFull
            }
            _ => Code::Unavailable,
        };
        let mut error = Error::new(code, format!("stdout cannot be written: {error}"));
        error.retry = false;
        error.hint("what was printed is not complete")
    })
}

/// Whether stdout is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Prints a text in the place of what was printed before, on a terminal; elsewhere, behind it.
pub(super) fn print_screen(text: &str) -> Result<()> {
    // Cursor home, clear the rest of each line, and then everything below (ECMA-48, CUP, EL and ED).
    let text = match is_terminal() {
        true => format!("\x1b[H{}\x1b[K\n\x1b[J", text.replace('\n', "\x1b[K\n")),
        false => format!("{text}\n\n"),
    };
    print_bytes(text.as_bytes()).map(drop)
}

/// Refuses to print a database on a terminal.
pub(super) fn check_no_terminal() -> Result<()> {
    if is_terminal() {
        return Err(Error::new(Code::BadRequest, "a database is not for a terminal")
            .hint("name a file, or redirect stdout"));
    }
    Ok(())
}

/// Waits until stdout has no reader any more; for ever when that cannot happen, as with a file.
pub(super) async fn reader_is_gone() {
    while !is_reader_gone() {
        tokio::time::sleep(limits::READER_INTERVAL).await;
    }
}

/// Whether stdout has no reader any more, as far as that is visible.
pub(super) fn is_reader_gone() -> bool {
    stdout_is(PollFlags::ERR | PollFlags::HUP)
}

/// Whether poll(2) reports one of these events. It always reports errors: that a pipe has lost its reader.
fn stdout_is(flags: PollFlags) -> bool {
    let stdout = io::stdout();
    let mut asked = [PollFd::new(&stdout, flags)];
    let told = poll(&mut asked, Some(&Timespec::default()));
    told.is_ok() && asked[0].revents().intersects(flags)
}

/// Prints a document for people and programs, indented.
pub(super) fn print_document(document: &impl Serialize) -> Result<()> {
    print_line(&to_document(document)?)
}

/// Data as one line of JSON.
pub(super) fn to_line(item: &impl Serialize) -> Result<String> {
    serde_json::to_string(item).map_err(unprintable)
}

/// Data as indented JSON.
pub(super) fn to_document(document: &impl Serialize) -> Result<String> {
    serde_json::to_string_pretty(document).map_err(unprintable)
}

fn unprintable(error: serde_json::Error) -> Error {
    Error::new(Code::Internal, error.to_string())
}

/// Treats a reader that has seen enough, as in `kv list | head -1`, as success.
fn written(outcome: io::Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(Code::Internal, format!("stdout cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one item as one line.
pub(super) fn print_item(item: &impl Serialize) -> Result<()> {
    print_line(&to_line(item)?)
}

/// Prints items as one JSON array with an item per line, or as one line each.
pub(super) fn print_items(items: &[impl Serialize], format: ListFormat) -> Result<()> {
    let mut printer = ItemPrinter::new(format);
    if printer.print(items)?.is_break() { Ok(()) } else { printer.finish() }
}

/// Prints items page by page, so that at most one page is held, and answers whether stdout still has a reader.
///
/// `next_page` reads a page, and answers none after the last one. Once the reader of stdout is gone, no further page is
/// read: the command has done its work. When a page cannot be read, those before it stay printed, and an array is left
/// open, so that it cannot be taken for the whole.
pub(super) async fn print_pages<T: Serialize>(
    format: ListFormat,
    mut next_page: impl AsyncFnMut() -> Result<Option<Vec<T>>>,
) -> Result<ControlFlow<()>> {
    let mut printer = ItemPrinter::new(format);
    // Whether the first page can be read is reported in any case.
    let mut page = next_page().await;
    loop {
        match page {
            Ok(Some(items)) if printer.print(&items)?.is_break() => return Ok(ControlFlow::Break(())),
            Ok(Some(_)) => {}
            Ok(None) => return printer.finish().map(ControlFlow::Continue),
            Err(error) => return printer.break_off().and(Err(error)),
        }
        page = tokio::select! {
            biased;
            () = reader_is_gone() => return Ok(ControlFlow::Break(())),
            page = next_page() => page,
        };
    }
}

/// Prints items in order, with the separators of a JSON array between them.
struct ItemPrinter {
    format: ListFormat,
    is_empty: bool,
}

impl ItemPrinter {
    fn new(format: ListFormat) -> ItemPrinter {
        ItemPrinter { format, is_empty: true }
    }

    /// Prints these items at once, and answers whether stdout still has a reader.
    fn print(&mut self, items: &[impl Serialize]) -> Result<ControlFlow<()>> {
        let mut text = Vec::new();
        for item in items {
            if self.format == ListFormat::Json {
                text.extend_from_slice(if self.is_empty { b"[\n  " } else { b",\n  " });
            }
            serde_json::to_writer(&mut text, item).map_err(unprintable)?;
            if self.format == ListFormat::Ndjson {
                text.push(b'\n');
            }
            self.is_empty = false;
        }
        print_bytes(&text)
    }

    /// Closes the array.
    fn finish(self) -> Result<()> {
        match (self.format, self.is_empty) {
            (ListFormat::Json, true) => print_line("[]"),
            (ListFormat::Json, false) => print_line("\n]"),
            (ListFormat::Ndjson, _) => Ok(()),
        }
    }

    /// Ends the line of the last item, so that an error that follows begins a line of its own.
    fn break_off(self) -> Result<()> {
        let is_in_line = self.format == ListFormat::Json && !self.is_empty;
        if is_in_line { print_line("") } else { Ok(()) }
    }
}

/// Prints rows below their headings, each column as wide as its widest cell.
pub(super) fn print_table<const COLUMNS: usize>(
    headings: [&str; COLUMNS],
    rows: impl Iterator<Item = [String; COLUMNS]>,
) -> Result<()> {
    let headings = std::iter::once(headings.map(str::to_owned));
    // A path may hold line breaks, and control characters of a terminal.
    let rows: Vec<_> = headings.chain(rows.map(|row| row.map(|cell| escaped(&cell)))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let line = |row: &[String; COLUMNS]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    print_line(&rows.iter().map(line).collect::<Vec<_>>().join("\n"))
}

/// Prints a line for people on stderr. Control characters are escaped: keys and names of files may hold some.
pub(super) fn note(text: &str) {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    // By one write: other processes may write into the same file.
    let _ = anstream::stderr().write_all((lines.join("\n") + "\n").as_bytes());
}

/// A number with its noun: `1 record`, `2 records`.
pub(super) fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { many })
}

/// A line in which each control character is escaped.
pub(super) fn escaped(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    for character in line.chars() {
        if character.is_control() {
            told.extend(character.escape_debug());
        } else {
            told.push(character);
        }
    }
    told
}

/// Indents the lines after the first one, so that text that a message quotes cannot be taken for a line of kv.
fn indented(text: &str) -> String {
    text.replace('\n', "\n    ")
}

/// Reports an error and its hint to people.
pub(super) fn print_error(error: &Error) {
    let position = error.details.index.map_or_else(String::new, |index| format!("mutation {}: ", index + 1));
    let mut text = format!("kv: {position}{} ({})", indented(&error.message), error.code);
    if error.maybe {
        text.push_str("\nthe outcome is unknown: the write may have been applied");
    }
    if let Some(hint) = &error.hint {
        text.push_str("\nhint: ");
        text.push_str(&indented(hint));
    }
    note(&text);
}

/// A body of the wire with a name, which its reply leaves out because the request had it.
#[derive(Serialize)]
pub(super) struct NamedBody<T> {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) body: T,
}
