//! The words of a command line of bash, and how a word is written so that bash reads it back.

use kv::environment::variable;

/// Characters without a meaning to bash, besides letters and digits.
const PLAIN: &str = "_/.,:=@%+-";

/// How the last word was begun.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    /// What it means so far, each character with whether it stands for itself, without a backslash or quotes.
    text: Vec<(char, bool)>,
    /// The quote that is open, and what the word means before it.
    open: Option<(char, usize)>,
}

/// The words of a command, of which the last one is to be completed; none when the line is more than words.
pub(super) fn split(line: &str) -> Option<(Vec<String>, Typed)> {
    let mut words = Vec::new();
    let mut characters = line.chars().peekable();
    loop {
        while characters.next_if(|character| " \t".contains(*character)).is_some() {}
        let mut typed = Typed { text: Vec::new(), open: None };
        loop {
            let Some(character) = characters.next() else {
                words.push(typed.meaning());
                return Some((words, typed));
            };
            match (character, typed.open) {
                (' ' | '\t', None) => break,
                (quote @ ('"' | '\''), None) => typed.open = Some((quote, typed.text.len())),
                (quote, Some((open, _))) if quote == open => typed.open = None,
                ('\\', None) => typed.text.extend(characters.next().map(|next| (next, false))),
                ('\\', Some(('"', _))) => {
                    let escaped = characters.next_if(|next| "\"\\$`".contains(*next));
                    typed.text.push((escaped.unwrap_or('\\'), false));
                }
                // An expansion, another command, or a redirection.
                ('$' | '`', None | Some(('"', _)))
                | (';' | '&' | '|' | '<' | '>' | '(' | ')' | '\n', None) => {
                    return None;
                }
                _ => typed.text.push((character, typed.open.is_none())),
            }
        }
        words.push(typed.meaning());
    }
}

impl Typed {
    fn meaning(&self) -> String {
        let text: String = self.text.iter().map(|(character, _)| character).collect();
        match (text.strip_prefix("~/"), self.text.first(), variable("HOME")) {
            (Some(rest), Some((_, true)), Some(home)) => format!("{}/{rest}", home.to_string_lossy()),
            _ => text,
        }
    }

    /// What readline puts in the place of what it takes for the word, which begins behind an open quote or else behind the
    /// last of the characters that break words, so that bash reads the prefix and the word. None when that cannot be written.
    pub(super) fn insert(&self, prefix: &str, word: &str, breaks: &str) -> Option<String> {
        let whole: Vec<char> = prefix.chars().chain(word.chars()).collect();
        let is_break = |(character, is_plain): &(char, bool)| *is_plain && breaks.contains(*character);
        let kept =
            match self.open {
                Some((_, before)) => before,
                // An @ begins the word itself: readline completes names of hosts behind it.
                None => self.text.iter().rposition(is_break).map_or(0, |position| {
                    position + usize::from(self.text.get(position) != Some(&('@', true)))
                }),
            };
        let rest = whole.get(kept..)?;
        match self.open {
            Some(('\'', _)) if rest.contains(&'\'') => None,
            Some(('\'', _)) => Some(rest.iter().collect()),
            // No backslash keeps the history out of these quotes.
            Some(_) if rest.contains(&'!') => None,
            Some(_) => Some(escaped(rest, |character| !"\"\\$`".contains(character))),
            None => Some(escaped(rest, is_plain)),
        }
    }
}

/// A text with a backslash before each character that is not plain.
fn escaped(text: &[char], is_plain: impl Fn(char) -> bool) -> String {
    let mut escaped = String::new();
    for &character in text {
        if !is_plain(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

fn is_plain(character: char) -> bool {
    character.is_alphanumeric() || PLAIN.contains(character) || !character.is_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BREAKS: &str = " \t\n\"'@><=;|&(:";

    /// What readline would leave of the line and the inserted text.
    fn completed(line: &str, prefix: &str, word: &str) -> Option<String> {
        split(line)?.1.insert(prefix, word, BREAKS)
    }

    #[test]
    fn words_are_those_that_bash_reads() {
        let words = |line| split(line).map(|(words, _)| words.join("|"));
        assert_eq!(words("kv  get us").as_deref(), Some("kv|get|us"));
        assert_eq!(words("kv get ").as_deref(), Some("kv|get|"));
        assert_eq!(words(r#"kv get "a b" 'c "d' e\ f"g h"#).as_deref(), Some(r#"kv|get|a b|c "d|e fg h"#));
        assert_eq!(words(r#"kv get "a\"\b" "#).as_deref(), Some(r#"kv|get|a"\b|"#));
        for line in ["kv get $x", "kv get \"$x", "kv a | kv b", "kv x <f ", "kv get `a"] {
            assert_eq!(words(line), None, "{line}");
        }
        assert_eq!(words("kv get '$x").as_deref(), Some("kv|get|$x"));
    }

    #[test]
    fn what_is_inserted_is_read_back() {
        for (line, word, inserted) in [
            ("kv get us", "user/1", Some("user/1")),
            ("kv get ", "a b$c", Some(r"a\ b\$c")),
            (r"kv get a\ ", "a b$c", Some(r"a\ b\$c")),
            ("kv get \"a", "a b$c!", None),
            ("kv get \"a", "a b$c", Some(r"a b\$c")),
            ("kv get 'a", "a b$c!", Some("a b$c!")),
            ("kv get 'a", "a'b", None),
            ("kv get user:", "user:1", Some("1")),
            (r"kv get user\:", "user:1", Some("user:1")),
            ("kv get user:x=", "user:x=é", Some("é")),
            ("kv get a@", "a@x", Some("@x")),
            ("kv get ", "~x", Some(r"\~x")),
        ] {
            assert_eq!(completed(line, "", word).as_deref(), inserted, "{line} {word}");
        }
        assert_eq!(completed("kv --profile=w", "--profile=", "work").as_deref(), Some("work"));
        assert_eq!(completed("kv get --key='a", "--key=", "a b").as_deref(), Some("a b"));
    }
}
