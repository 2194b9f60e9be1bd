//! Paths and other words inside messages: the name of a file must not look like a message of kv, nor control a terminal.

use std::path::Path;

/// A path for people: as it is, or escaped and in quotes when it holds invisible characters.
pub(crate) fn shown(path: &Path) -> String {
    match path.to_str() {
        Some(text) if text.chars().all(is_visible) => text.to_owned(),
        _ => format!("{path:?}"),
    }
}

/// The words of somebody else, on one line, with what cannot be seen escaped.
#[cfg(feature = "rqlite")]
pub(crate) fn visible(words: &str) -> String {
    words
        .chars()
        .map(|character| {
            if is_visible(character) { character.to_string() } else { character.escape_default().to_string() }
        })
        .collect()
}

/// A path, or another text, as one word for a shell, because hints are copied.
#[must_use]
pub fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |character: char| character.is_ascii_alphanumeric() || "/._-+@%:,".contains(character);
    if text.chars().all(is_plain) && !text.is_empty() {
        text.into_owned()
    } else if text.chars().all(is_visible) {
        format!("'{}'", text.replace('\'', r"'\''"))
    } else {
        // $'…' of bash, ksh and zsh knows the escapes \n, \t, \r, \', \\ and \u….
        let escape = |character: char| match character {
            '\'' | '\\' | '\n' | '\r' | '\t' => character.escape_default().to_string(),
            _ if is_visible(character) => character.to_string(),
            _ => format!(r"\U{:08x}", u32::from(character)),
        };
        format!("$'{}'", text.chars().map(escape).collect::<String>())
    }
}

/// Whether a character is shown as itself. Those that are not: control characters, and those that change the direction
/// of text or cannot be seen.
fn is_visible(character: char) -> bool {
    // Behind another character, because a combining one is shown as part of that.
    "\"'\\".contains(character) || format!("x{character}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        for (path, expected) in [
            ("/a b/ü'€%.db", "/a b/ü'€%.db"),
            ("/e\u{301}", "/e\u{301}"),
            ("/a\nhint: rm", r#""/a\nhint: rm""#),
            ("/\u{1b}[31m", r#""/\u{1b}[31m""#),
            ("/\u{202e}x", r#""/\u{202e}x""#),
        ] {
            assert_eq!(shown(Path::new(path)), expected);
        }
    }

    #[test]
    fn a_shell_reads_a_word_as_the_path_that_it_was() {
        for path in [
            "/plain/a.db",
            "/a b",
            "/it's",
            "/$HOME`x`",
            "/a\nb\t'\\",
            "/\u{1b}[31m/\u{202e}ü",
            "-x",
            "~/x",
            "",
        ] {
            let word = shell_word(Path::new(path));
            assert!(word.chars().all(is_visible), "{word:?}");
            let script = format!("printf %s {word}");
            let told = std::process::Command::new("bash")
                .args(["-c", &script])
                .env("LC_ALL", "C.UTF-8")
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(told.stdout).unwrap(), path, "{word}");
        }
    }
}
