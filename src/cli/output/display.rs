//! Text as a terminal shows it: what cannot be seen is escaped, and its width is counted in columns.

use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr as _};

/// A line in which each character is escaped that controls a terminal or changes the direction of text.
pub(in crate::cli) fn escaped(line: &str) -> String {
    let mut told = String::with_capacity(line.len());
    for character in line.chars() {
        if character.is_control() || is_directive(character) {
            told.extend(character.escape_debug());
        } else {
            told.push(character);
        }
    }
    told
}

/// Whether a character changes the direction of the text around it, or breaks a line (Unicode Annex 9 and 14).
fn is_directive(character: char) -> bool {
    matches!(character,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The most columns that a terminal needs for a text. Terminals differ in characters that are composed of several, such as
/// families of emoji: some show one picture, others each of its parts.
pub(super) fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    let cluster = |cluster: &str| {
        let parts: usize = cluster.chars().filter_map(UnicodeWidthChar::width).sum();
        parts.max(cluster.width())
    };
    text.graphemes(true).map(cluster).sum()
}

/// A text that fits so many columns: its end becomes `…` when it is longer. No character is cut in its middle, nor one
/// that is composed of several.
pub(in crate::cli) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let (mut kept, mut used) = (String::new(), 0);
    for cluster in text.graphemes(true) {
        used += width(cluster);
        if used > room {
            break;
        }
        kept.push_str(cluster);
    }
    kept.push('…');
    kept
}

/// As [`cut`], but of a text that is longer the begin is left out.
pub(super) fn cut_begin(text: &str, columns: usize) -> String {
    let clusters: Vec<&str> = text.graphemes(true).collect();
    let mut left = width(text);
    if left <= columns {
        return text.to_owned();
    }
    let mut kept = clusters.as_slice();
    while let [first, rest @ ..] = kept
        && left >= columns
    {
        left -= width(first);
        kept = rest;
    }
    format!("…{}", kept.concat())
}

/// The lines of a text that is broken between words. A longer word has a line of its own.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if width(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        assert_eq!(escaped("a\u{1b}[31m\n\u{202e}b"), "a\\u{1b}[31m\\n\\u{202e}b");
        assert_eq!(escaped("日本 👩‍👩‍👧 é"), "日本 👩‍👩‍👧 é");
    }

    #[test]
    fn a_text_is_cut_between_what_the_eye_sees_as_characters() {
        for (text, columns, expected) in [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("👩‍👩‍👧x", 7, "👩‍👩‍👧x"),
            ("👩‍👩‍👧xy", 7, "👩‍👩‍👧…"),
            ("👩‍👩‍👧xy", 6, "…"),
            ("❤️x", 3, "❤️x"),
            ("❤️xy", 3, "❤️…"),
            ("e\u{301}e\u{301}e\u{301}", 2, "e\u{301}…"),
            ("abc", 1, "…"),
        ] {
            assert_eq!(cut(text, columns), expected, "{text} in {columns}");
            assert!(width(&cut(text, columns)) <= columns, "{text} in {columns}");
            assert!(width(&cut_begin(text, columns)) <= columns, "{text} in {columns}");
        }
    }
}
