//! What commands read: values and lines, from stdin, files and words.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read, stdin};
use std::path::Path;

use kv::limits;
use kv::store::{Code, Error, Result};

use super::arguments::usage;
use super::output;

/// The word that stands for stdin.
pub(super) const STDIN: &str = "-";

/// What some editors put in front of UTF-8; it is not a part of the text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// A JSON text that is given as a word, which may stand for stdin.
pub(super) fn json_word(word: &str) -> Result<String> {
    if word == STDIN { json_of_stdin() } else { Ok(word.to_owned()) }
}

/// The JSON text on stdin.
pub(super) fn json_of_stdin() -> Result<String> {
    read_stdin("JSON").map(without_mark)
}

/// The JSON text in a file, which may be stdin.
pub(super) fn json_of(path: &Path) -> Result<String> {
    read_file(path, "JSON").map(without_mark)
}

/// A text that is given as a word, which may stand for stdin.
pub(super) fn text_word(word: &str) -> Result<String> {
    if word == STDIN { read_stdin("a text") } else { Ok(word.to_owned()) }
}

/// The text in a file, which may be stdin: every byte of it.
pub(super) fn text_of(path: &Path) -> Result<String> {
    read_file(path, "a text")
}

/// Tells who types at a terminal what the command waits for.
pub(super) fn tell_of_a_terminal(what: &str) {
    if stdin().is_terminal() {
        output::note(&format!("reading {what} from the terminal; end with Ctrl-D"));
    }
}

fn read_stdin(what: &str) -> Result<String> {
    tell_of_a_terminal(what);
    read(stdin().lock(), "stdin")
}

fn read_file(path: &Path, what: &str) -> Result<String> {
    if path == Path::new(STDIN) {
        return read_stdin(what);
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
    read(file, &name)
}

fn unreadable(name: &str, error: &io::Error) -> Error {
    usage(&format!("{name} cannot be read: {error}"), "check the path, or give the value as a word")
}

/// How much is read of the text of a value, in bytes: one more than it may have. White space is not stored, so the text may
/// be longer than the largest value.
pub(super) fn bytes_read() -> u64 {
    limits::VALUE_TEXT_BYTES as u64 + 1
}

/// Reads everything, up to a bound.
fn read(source: impl Read, name: &str) -> Result<String> {
    let mut bytes = Vec::new();
    source.take(bytes_read()).read_to_end(&mut bytes).map_err(|error| unreadable(name, &error))?;
    text(bytes, name)
}

/// The text that was read from a source, as far as [`bytes_read`].
///
/// # Errors
/// `too_large` when there is more; `bad_request` when it is not UTF-8.
pub(super) fn text(bytes: Vec<u8>, name: &str) -> Result<String> {
    let bytes_max = limits::VALUE_TEXT_BYTES;
    if bytes.len() > bytes_max {
        return Err(Error::new(Code::TooLarge, format!("{name} holds more than {bytes_max} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let position = error.utf8_error().valid_up_to();
        usage(
            &format!("{name} is not UTF-8 (at byte {position})"),
            "values are JSON in UTF-8: encode other bytes, as by base64",
        )
    })
}

fn without_mark(text: String) -> String {
    text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text)
}
