//! Cuts a stream of bytes into lines, with a bound.
//!
//! tokio-util's own codec yields a last line without a newline, which here must never be executed, and ends the
//! stream on bytes that are not UTF-8.

use tokio_util::bytes::{Buf as _, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use crate::limits;

/// A piece of the input.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line, without its newline.
    Whole(Bytes),
    /// The present line is over [`limits::SMALL_MESSAGE_BYTES`]: yielded once before the rest of it is read, by
    /// [`LineCodec::telling_long_lines`].
    Long,
    /// A line over the limit, skipped to its newline.
    TooLong,
    /// The bytes after the last newline, at the end of the input.
    CutOff,
}

/// The decoder of lines.
#[derive(Debug)]
pub struct LineCodec {
    limit_bytes: usize,
    /// The part of the buffer that was searched for a newline.
    searched: usize,
    /// Whether [`Line::Long`] is yielded.
    tells_long: bool,
    /// Whether [`Line::Long`] was yielded for the present line.
    told_long: bool,
    /// Whether the present line is over the limit.
    skipping: bool,
}

impl Default for LineCodec {
    /// With the limit of the protocol, [`limits::LINE_BYTES`].
    fn default() -> LineCodec {
        LineCodec::with_limit(limits::LINE_BYTES)
    }
}

impl LineCodec {
    /// A decoder that yields [`Line::Long`] too: a reader of many connections has to wait for memory before it reads
    /// on.
    #[must_use]
    pub fn telling_long_lines() -> LineCodec {
        LineCodec { tells_long: true, ..LineCodec::default() }
    }
}

impl LineCodec {
    /// A decoder with another limit, in bytes without the newline.
    #[must_use]
    pub fn with_limit(limit_bytes: usize) -> LineCodec {
        LineCodec { limit_bytes, searched: 0, tells_long: false, told_long: false, skipping: false }
    }
}

impl Decoder for LineCodec {
    type Item = Line;
    type Error = std::io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> std::io::Result<Option<Line>> {
        let newline = memchr::memchr(b'\n', &buffer[self.searched..]);
        let Some(length) = newline.map(|offset| self.searched + offset) else {
            if buffer.len() > self.limit_bytes {
                self.skipping = true;
            }
            if self.skipping {
                buffer.clear();
            }
            self.searched = buffer.len();
            let is_news = self.tells_long && !self.told_long && buffer.len() > limits::SMALL_MESSAGE_BYTES;
            self.told_long |= is_news;
            return Ok(is_news.then_some(Line::Long));
        };
        self.searched = 0;
        self.told_long = false;
        if std::mem::take(&mut self.skipping) || length > self.limit_bytes {
            buffer.advance(length + 1);
            return Ok(Some(Line::TooLong));
        }
        let line = buffer.split_to(length).freeze();
        buffer.advance(1);
        Ok(Some(Line::Whole(line)))
    }

    fn decode_eof(&mut self, buffer: &mut BytesMut) -> std::io::Result<Option<Line>> {
        if let Some(line) = self.decode(buffer)? {
            return Ok(Some(line));
        }
        let cut_off = !buffer.is_empty() || self.skipping;
        buffer.clear();
        (self.searched, self.told_long, self.skipping) = (0, false, false);
        Ok(cut_off.then_some(Line::CutOff))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], at_once: usize) -> Vec<Line> {
        let mut codec = LineCodec::default();
        let mut buffer = BytesMut::new();
        let mut lines = Vec::new();
        for part in input.chunks(at_once) {
            buffer.extend_from_slice(part);
            while let Some(line) = codec.decode(&mut buffer).unwrap() {
                lines.push(line);
            }
        }
        lines.extend(codec.decode_eof(&mut buffer).unwrap());
        lines
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let whole = |text: &'static str| Line::Whole(Bytes::from_static(text.as_bytes()));
        for at_once in 1..8 {
            let expected = vec![whole("one"), whole(""), whole("two"), Line::CutOff];
            assert_eq!(lines(b"one\n\ntwo\nthr", at_once), expected);
        }
    }

    #[test]
    fn a_line_over_the_limit_is_skipped_and_the_next_one_is_read() {
        let mut input = vec![b'x'; limits::LINE_BYTES + 1];
        input.extend_from_slice(b"\nnext\n");
        for at_once in [4_096, input.len()] {
            assert_eq!(lines(&input, at_once), [Line::TooLong, Line::Whole(Bytes::from_static(b"next"))]);
        }
    }

    #[test]
    fn a_line_of_just_the_limit_is_read() {
        let mut input = vec![b'x'; limits::LINE_BYTES];
        input.push(b'\n');
        assert!(
            matches!(lines(&input, 65_536).as_slice(), [Line::Whole(line)] if line.len() == limits::LINE_BYTES)
        );
    }
}
