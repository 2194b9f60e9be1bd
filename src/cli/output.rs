//! The only door to stdout: data goes there, everything else to stderr.

mod display;
mod pager;
mod pages;
mod table;

use std::fs::File;
use std::io::{self, IsTerminal as _, Seek as _, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};

use clap::builder::StyledStr;
use kv::limits;
use kv::store::{Code, Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::PIPE_BUF;
use serde::Serialize;

pub(super) use self::display::{cut, escaped};
pub(super) use self::pages::{ListPrinter, Listed, print_items, print_one};
pub(super) use self::table::{Column, NOTHING};
use self::table::{Screen, Table};
use super::arguments::ColorMode;

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

/// Decides whether stdout and stderr are coloured.
pub(super) fn use_color(mode: ColorMode) {
    let choice = match mode {
        ColorMode::Auto => anstream::ColorChoice::Auto,
        ColorMode::Always => anstream::ColorChoice::Always,
        ColorMode::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
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

/// Prints rows below their headings.
pub(super) fn print_table(columns: &'static [Column], rows: Vec<Vec<String>>) -> Result<()> {
    let mut table = Table::new(columns, screen());
    print_bytes((table.lines(rows) + &table.rest()).as_bytes()).map(|_reader| ())
}

/// A line for people: what controls a terminal is escaped, and what does not fit the terminal is cut.
pub(super) fn fitted(line: &str) -> String {
    let line = escaped(line);
    screen().columns.map_or_else(|| line.clone(), |columns| display::cut(&line, columns))
}

/// The terminal that stdout is, if it is one.
fn screen() -> Screen {
    let stdout = io::stdout();
    let is_coloured = anstream::AutoStream::choice(&stdout) != anstream::ColorChoice::Never;
    let columns = stdout.is_terminal().then(|| {
        let size = rustix::termios::tcgetwinsize(&stdout).ok();
        size.map(|size| usize::from(size.ws_col))
            .filter(|&columns| columns > 0)
            .unwrap_or(limits::TERMINAL_COLUMNS)
    });
    Screen { columns, is_coloured }
}

/// Makes stdout another file, and answers what it was.
fn redirect(to: impl AsFd) -> io::Result<OwnedFd> {
    let stdout = io::stdout();
    let before = stdout.as_fd().try_clone_to_owned()?;
    rustix::stdio::dup2_stdout(to)?;
    Ok(before)
}

/// Prints a line for people on stderr. Control characters are escaped: keys and names of files may hold some.
pub(super) fn note(text: &str) {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    // By one write: other processes may write into the same file.
    let _ = anstream::stderr().write_all((lines.join("\n") + "\n").as_bytes());
}

/// Prints the words of clap: by one write, like everything that goes to stderr.
pub(super) fn print_styled(text: &StyledStr, is_error: bool) -> Result<()> {
    let choice = match is_error {
        true => anstream::AutoStream::choice(&io::stderr()),
        false => anstream::AutoStream::choice(&io::stdout()),
    };
    let text = match choice {
        anstream::ColorChoice::Never => text.to_string(),
        _ => text.ansi().to_string(),
    };
    if is_error {
        written(io::stderr().write_all(text.as_bytes()))
    } else {
        print_bytes(text.as_bytes()).map(drop)
    }
}

/// A number with its noun: `1 record`, `2 records`.
pub(super) fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { many })
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
