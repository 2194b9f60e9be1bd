//! `kv daemon logs`

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use kv::client::Client;
use kv::daemon::log;
use kv::limits;
use kv::meeting::place::Place;
use kv::meeting::store_holder::last_socket;
use kv::store::{Address, Code, Error, Result};

use super::settings::Settings;
use super::{connect, number, output};

#[derive(Debug, Args)]
pub(super) struct Logs {
    /// Only the last lines, this many
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = number::count)]
    lines: Option<u64>,
    /// Go on with new lines
    #[arg(long, short)]
    follow: bool,
}

impl Logs {
    pub(super) async fn run(self, settings: &Settings) -> Result<()> {
        let log = log_of(settings).await?;
        let unreadable = |error: io::Error| {
            Error::new(Code::Unavailable, format!("{} cannot be read: {error}", log.display()))
        };
        let mut text = Vec::new();
        read(&log::older(&log), &mut text).map_err(unreadable)?;
        let mut file = read(&log, &mut text).map_err(unreadable)?;
        if file.is_none() && text.is_empty() {
            output::note(&format!("there is no log at {}: no command has started a daemon", log.display()));
            if !self.follow {
                return Ok(());
            }
        }
        let last = self
            .lines
            .map_or(text.as_slice(), |count| last_lines(&text, usize::try_from(count).unwrap_or(usize::MAX)));
        let mut reader = output::print_bytes(last)?;
        while self.follow && reader.is_continue() {
            tokio::select! {
                () = tokio::time::sleep(limits::FOLLOW_INTERVAL) => {}
                () = output::reader_is_gone() => break,
            }
            text.clear();
            read_on(&log, &mut file, &mut text).map_err(unreadable)?;
            reader = output::print_bytes(&text)?;
        }
        Ok(())
    }
}

/// The path of the log of the daemon that serves the store, or of the last one that did.
async fn log_of(settings: &Settings) -> Result<PathBuf> {
    let target = connect::running(settings)?;
    let own = target.place.socket().to_owned();
    // A daemon that was started in another environment may have its log elsewhere.
    let last = target.address.as_ref().and_then(Address::exclusive_file).and_then(last_socket);
    let running = Client::find(target).await.ok().flatten();
    if let Some(unit) = running.as_ref().and_then(|client| client.hello().unit) {
        output::note(&format!(
            "systemd runs the daemon as {unit}, whose log is in the journal: journalctl --unit {unit}"
        ));
    }
    let running = running.map(|client| client.socket());
    Ok(Place::at(&running.or(last).unwrap_or(own))?.log())
}

/// The last lines of the log, so many of them.
pub(super) async fn last(settings: &Settings, count: usize) -> Result<String> {
    let log = log_of(settings).await?;
    let mut text = Vec::new();
    read(&log, &mut text).map_err(|error| {
        Error::new(Code::Unavailable, format!("{} cannot be read: {error}", log.display()))
    })?;
    Ok(String::from_utf8_lossy(last_lines(&text, count)).into_owned())
}

/// Reads a whole file, and answers it for further reads; none when there is no file.
fn read(path: &Path, text: &mut Vec<u8>) -> io::Result<Option<File>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    file.read_to_end(text)?;
    Ok(Some(file))
}

/// Reads the lines since the last time. The log may have been started anew since then, in the same file or in another
/// one.
fn read_on(path: &Path, file: &mut Option<File>, text: &mut Vec<u8>) -> io::Result<()> {
    let Some(known) = file else {
        *file = read(path, text)?;
        return Ok(());
    };
    if known.metadata()?.len() < known.stream_position()? {
        known.rewind()?;
    }
    let is_current = is_at(path, known)?;
    known.read_to_end(text)?;
    // By now everything that was written to the old file before the new one was started has been read.
    if !is_current && let Some(next) = read(path, text)? {
        *file = Some(next);
    }
    Ok(())
}

fn is_at(path: &Path, file: &File) -> io::Result<bool> {
    let known = file.metadata()?;
    match path.metadata() {
        Ok(found) => Ok((found.dev(), found.ino()) == (known.dev(), known.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn last_lines(text: &[u8], count: usize) -> &[u8] {
    let ended = text.strip_suffix(b"\n").unwrap_or(text);
    let newlines = ended.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    match count {
        0 => &[],
        _ => newlines.map(|(position, _)| &text[position + 1..]).nth(count - 1).unwrap_or(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_counted_from_the_end() {
        let text = b"one\n\nthree\n";
        for (count, expected) in
            [(0, ""), (1, "three\n"), (2, "\nthree\n"), (3, "one\n\nthree\n"), (9, "one\n\nthree\n")]
        {
            assert_eq!(last_lines(text, count), expected.as_bytes(), "{count}");
        }
        assert_eq!(last_lines(b"one\ntwo", 1), b"two");
        assert_eq!(last_lines(b"", 1), b"");
    }
}
